"""The command line as a whole: help, wrong usage, and exit statuses."""

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from meshwg import __version__
from meshwg.cli import group, main
from meshwg.cli.group import COMMANDS, run
from meshwg.errors import ConfigError, MeshError, NotJoined


def test_unknown_commands_and_options_are_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["dance"], ["status", "--loud"], ["ping"]):
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        assert ended.value.code == 2
        assert "Error: " in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--help"])

    assert ended.value.code == 0
    text = capsys.readouterr().out
    for command in ("node", "status", "netcheck", "ping", "down"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(command, "--help") == 0
    assert f"meshwg {command} [OPTIONS]" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"meshwg, version {__version__}\n"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (MeshError("It broke"), 1, "meshwg: It broke\n"),
        (ConfigError("It is wrong"), 2, "meshwg: It is wrong\n"),
        (NotJoined("It is alone"), 4, "meshwg: It is alone\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.Abort(), 130, ""),
    ],
)
def test_errors_end_with_the_exit_status_of_their_kind(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    use_command(monkeypatch, fail)

    assert status_of("status") == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_the_exit_status(
    returned: int | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_command(monkeypatch, lambda: returned)

    assert status_of("status") == status


def test_a_reader_that_has_seen_enough_is_no_error_to_report() -> None:
    program = [sys.executable, "-c", "from meshwg.cli import main; main(['--help'])"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode in (0, 1)
    assert errors == b""


def use_command(
    monkeypatch: pytest.MonkeyPatch, callback: Callable[[], int | None]
) -> None:
    """Let a function be what ``meshwg status`` runs."""
    command = click.Command("status", callback=callback)
    monkeypatch.setattr(group.LazyGroup, "get_command", lambda *_: command)


def status_of(*arguments: str) -> object:
    """Run ``meshwg`` and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code
