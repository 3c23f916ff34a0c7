"""``meshwg down``: it returns when the daemon is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.cli import down as module
from meshwg.cli.group import run
from meshwg.errors import NotPermitted
from tests.cli.daemon import FakeDaemon, a_report, serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "meshwg.sock"


def test_down_returns_when_the_daemon_is_gone(path: Path) -> None:
    daemon = FakeDaemon()
    with serving(daemon, path):
        with pytest.raises(SystemExit) as ended:
            run(["down", "--control-socket", str(path)])

        assert ended.value.code == 0
        assert daemon.stopped.is_set()
        assert not path.exists()


def test_while_the_daemon_still_answers_it_waits(path: Path) -> None:
    daemon = StubbornDaemon(more=3)
    with serving(daemon, path):
        with pytest.raises(SystemExit) as ended:
            run(["down", "--control-socket", str(path)])

        assert ended.value.code == 0
        assert daemon.answers_left == 0


def test_a_daemon_that_does_not_stop_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with serving(StubbornDaemon(more=99), path), pytest.raises(SystemExit) as ended:
        run(["down", "--control-socket", str(path)])

    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "meshwg: The daemon has not stopped within 0 s: look at its log\n"
    )


def test_without_a_daemon_there_is_nothing_to_stop(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["down", "--control-socket", str(path)])

    assert ended.value.code == 3
    assert "No meshwg daemon listens at" in capsys.readouterr().err


def test_a_refusal_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(request: object) -> None:
        raise NotPermitted("Only root may do that")

    monkeypatch.setattr("meshwg.runtime.admin._require_owner", refuse)
    daemon = FakeDaemon()
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["down", "--control-socket", str(path)])

    assert ended.value.code == 5
    assert capsys.readouterr().err == "meshwg: Only root may do that\n"


def test_a_daemon_that_goes_on_but_is_down_will_do(path: Path) -> None:
    daemon = StubbornDaemon(more=99)
    daemon.report = a_report(state="down")
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["down", "--control-socket", str(path)])

    assert ended.value.code == 0


def test_up_returns_when_the_node_is_up(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = a_report(state="down")
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["up", "--control-socket", str(path)])

    assert ended.value.code == 0
    assert capsys.readouterr().out == "alice is up: 100.64.0.1, fd00::1\n"


def test_without_a_daemon_it_is_remembered_that_the_node_is_to_be_up(
    tmp_path: Path,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "start_service", lambda: False)
    (tmp_path / "down").touch()
    where = ("--state-dir", str(tmp_path), "--control-socket", str(path))
    with pytest.raises(SystemExit) as ended:
        run(["up", *where])

    assert ended.value.code == 3
    assert "start it with 'meshwg node'" in capsys.readouterr().err
    assert not (tmp_path / "down").exists()


class StubbornDaemon(FakeDaemon):
    """A daemon that answers a few more times after it was told to stop."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.answers_left = more

    def shut_down(self) -> None:
        pass

    def status(self, *, brief: bool = False) -> Iterator[bytes]:
        self.answers_left -= 1
        if self.answers_left == 0:
            self.stopped.set()
        return super().status(brief=brief)
