"""``meshwg status`` shows what is asked for, once or again and again."""

import json
from pathlib import Path

import pytest

from meshwg.cli.group import run
from meshwg.cli.status import _show
from tests.cli.daemon import FakeDaemon, Json, a_peer, a_report, serving

NO_PATH = {"kind": "none", "method": None, "remote": None, "rtt_ms": None, "loss": None}


def test_one_peer_is_shown_with_all_that_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = a_report(a_peer(), a_peer(name="carol", addresses=["100.64.0.3"]))

    for wanted in ("bob", "BOB", "100.64.0.2", "fd00::2", "B" * 43 + "="):
        text = output(tmp_path, capsys, report, wanted)
        assert "path        direct reflexive 203.0.113.9:41641" in text
        assert "reason      Both sides' NATs keep one port for everyone." in text
        assert "carol" not in text
    (peer,) = json.loads(output(tmp_path, capsys, report, "carol", "--json"))["peers"]
    assert peer["name"] == "carol"


def test_a_peer_that_there_is_not_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(tmp_path, capsys, a_report(a_peer()), "eve", status=1)
    assert "There is no peer 'eve': use one of bob" in capsys.readouterr().err


def test_only_active_peers_are_shown_if_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = a_peer(name="carol", path=NO_PATH, last_handshake_age=500.0)
    recent = a_peer(name="dave", path=NO_PATH, last_handshake_age=5.0)
    report = a_report(a_peer(), idle, recent)

    text = output(tmp_path, capsys, report, "--active")

    assert "bob" in text
    assert "dave" in text
    assert "carol" not in text
    assert "1 more without a path" in text
    text = output(tmp_path, capsys, a_report(idle), "--active")
    assert "None of the 1 peers is active" in text


def test_json_is_what_the_daemon_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = a_report(a_peer())
    assert json.loads(output(tmp_path, capsys, report, "--json")) == report


def test_a_pipe_gets_no_colour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "\x1b" not in output(tmp_path, capsys, a_report(a_peer()))


def test_watching_shows_it_again_until_the_daemon_is_gone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon, path = FakeDaemon(), tmp_path / "sock"
    daemon.report = a_report()
    shows = []

    def next_second(_: float) -> None:
        shows.append(capsys.readouterr().out)
        if len(shows) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", next_second)
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["status", "--watch", "--json", "--control-socket", str(path)])

    assert ended.value.code == 130
    assert [json.loads(show) for show in shows] == [daemon.report] * 3


def test_watching_in_a_terminal_overwrites_the_previous_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    _show(["\x1b[31mone\x1b[0m", "two"], height=2)

    assert capsys.readouterr().out == "\x1b[Hone\x1b[K\ntwo\x1b[K\x1b[J"


def test_watching_never_scrolls(capsys: pytest.CaptureFixture[str]) -> None:
    _show([f"line {number}" for number in range(300)], height=24)

    out = capsys.readouterr().out
    assert out.count("\n") == 23
    assert "line 22" in out
    assert "… 277 more lines" in out


def test_watching_leaves_the_terminal_as_it_was(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("time.sleep", interrupt)

    text = output(tmp_path, capsys, a_report(), "--watch", status=130)

    assert text.startswith("\x1b[?1049h")
    assert text.endswith("\x1b[?1049l")


def output(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    report: Json,
    *arguments: str,
    status: int = 0,
) -> str:
    daemon = FakeDaemon()
    daemon.report = report
    path = directory / "sock"
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["status", *arguments, "--control-socket", str(path)])
    assert ended.value.code == status
    return capsys.readouterr().out if status != 1 else ""
