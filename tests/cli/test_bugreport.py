"""``meshwg bugreport``: all that helps, and no secret."""

from pathlib import Path

import pytest

from meshwg.cli import bugreport as module
from meshwg.cli.bugreport import redacted
from meshwg.cli.group import run
from tests.cli.daemon import FakeDaemon, a_peer, a_report, serving

KEY = "qL5x0b9B0mJ6x6jJ9Q1xN8X2m5p0o3v7kq2d1fTt4WE="
TOKEN = "mwg1-Rbdhj7-9IokxsgQk4ER8tfKkgcKCJ5nejwQM"


@pytest.mark.parametrize(
    "text",
    [
        f"private key: {KEY}",
        f'"public_key": "{KEY}"',
        f"meshwg node --join {TOKEN}",
        "postgresql://mesh:hunter2@db/mesh",
        'password = "hunter2"',
        "MESHWG_SECRET=hunter2",
        "private_key=" + "ab" * 32,
        "Authorization: Bearer hunter2",
    ],
)
def test_secrets_are_left_out(text: str) -> None:
    assert not any(s in redacted(text) for s in (KEY, TOKEN, "hunter2", "ab" * 32))


def test_equal_keys_are_seen_to_be_equal() -> None:
    first, second, other = redacted(f"{KEY} {KEY} {'B' * 43}=").split()
    assert first == second != other


def test_what_is_no_secret_stays() -> None:
    text = "203.0.113.9:41641 alice https://mesh.example/x token of 3 uses: none"
    assert redacted(text).startswith("203.0.113.9:41641 alice https://mesh.example/x")


def test_a_report_has_the_status_and_what_the_system_says(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = (("echo", "hello", TOKEN), ("no-such-program",), ("sh", "-c", "exit 3"))
    monkeypatch.setattr(module, "_PROGRAMS", programs)
    daemon, file = FakeDaemon(), tmp_path / "report"
    daemon.report = a_report(a_peer(public_key=KEY))
    path = str(tmp_path / "sock")
    with serving(daemon, tmp_path / "sock"):
        assert status_of("bugreport", str(file), "--control-socket", path) == 0

    text = file.read_text()
    assert '"name": "bob"' in text
    assert "hello mwg-token-left-out" in text
    assert "not installed" in text
    assert KEY not in text
    assert "is written: read it before" in capsys.readouterr().err


def test_it_works_without_a_daemon(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PROGRAMS", ())
    path = str(tmp_path / "nowhere")
    assert status_of("bugreport", "--control-socket", path) == 0
    assert "No meshwg daemon listens at" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PROGRAMS", ())
    file = str(tmp_path / "nowhere" / "report")
    assert status_of("bugreport", file, "--control-socket", str(tmp_path / "x")) == 1
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


def status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code
