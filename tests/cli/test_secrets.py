"""Secrets come from files and the standard input, and leave the command line."""

import io
import subprocess
import sys
from pathlib import Path

import click
import pytest

from meshwg.cli.secrets import MAX_LENGTH, read_secret
from meshwg.errors import ConfigError


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  mwg1-x\n\n")
    assert read_secret(f"@{tmp_path}/token", "join token") == "mwg1-x"


def test_a_secret_comes_from_the_standard_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("mwg1-x\n"))
    assert read_secret("-", "join token") == "mwg1-x"


def test_a_terminal_is_asked_without_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def prompt(text: str, **how: object) -> str:
        asked.update(how, text=text)
        return "mwg1-x"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "prompt", prompt)
    assert read_secret("-", "join token") == "mwg1-x"
    assert asked == {"text": "Join token", "hide_input": True}


def test_a_secret_may_stand_for_itself() -> None:
    assert read_secret("mwg1-x", "join token") == "mwg1-x"


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"\xff\xfe", b"x" * (MAX_LENGTH + 1)]
)
def test_a_file_without_one_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=str(file)):
        read_secret(f"@{file}", "join token")


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(f"@{tmp_path}", "join token")


def test_nothing_on_the_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ConfigError, match="standard input"):
        read_secret("-", "join token")


def test_what_was_given_as_it_is_leaves_the_command_line() -> None:
    shown = (
        "import sys; from meshwg.cli.secrets import read_secret;"
        "assert read_secret(sys.argv[1], 'x') == sys.argv[1];"
        "print(open('/proc/self/cmdline').read().replace(chr(0), ' '))"
    )
    command = [sys.executable, "-c", shown, "hunter2", "--database=p:hunter2@h", "b"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "hunter2" not in done.stdout
    assert done.stdout.endswith("xxxxxxx --database=p:xxxxxxx@h b \n")
