"""``meshwg status`` tells people and programs how the mesh is doing, and why."""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from meshwg.cli.group import run
from meshwg.cli.status import _show, render
from tests.cli.daemon import FakeDaemon, Json, a_peer, a_report, serving

UNIX_TIME = 1060.0
NO_PATH = {"kind": "none", "method": None, "remote": None, "rtt_ms": None, "loss": None}


def test_the_node_itself_comes_first() -> None:
    assert shown(a_report())[:5] == [
        "alice        100.64.0.1, fd00::1",
        "interface    meshwg0, UDP port 41641, MTU 1400",
        "network      port restricted cone, seen as 203.0.113.1:41641",
        "coordinator  https://mesh.example connected for 1 min",
        "relay        turn:mesh.example:3478 over udp, 8.0 ms",
    ]


def test_a_peer_is_one_row_with_the_reason_below_it() -> None:
    lines = shown(a_report(a_peer()))

    assert "1 peer, 1 direct, 0 relayed" in lines
    row = re.split("  +", lines[-2])
    assert row == [
        "bob",
        "100.64.0.2",
        "direct reflexive 203.0.113.9:41641",
        "12 ms",
        "0%",
        "1.23 kB",
        "5.68 MB",
        "5 s ago",
    ]
    assert lines[-1] == "    Both sides' NATs keep one port for everyone."


def test_a_relayed_peer_shows_what_was_tried_and_when_it_will_be_retried() -> None:
    attempts = [
        {"at": 1000.0 + n, "method": f"method-{n}", "result": "failed", "detail": ""}
        for n in range(5)
    ]
    attempts[-1]["detail"] = "nobody answered"
    peer = a_peer(
        path={"kind": "relay", "method": "relay", "remote": "198.51.100.9:50000"},
        reason="Both sides are behind symmetric NATs.",
        attempts=attempts,
        next_attempt_in=54.2,
    )

    text = "\n".join(shown(a_report(peer)))

    assert "1 peer, 0 direct, 1 relayed" in text
    assert "relay 198.51.100.9:50000 " in text
    assert "behind symmetric NATs. Next attempt in 54 s." in text
    assert "method-1" not in text
    assert "56 s ago: method-4 failed (nobody answered)" in text


def test_a_direct_peer_does_not_bother_with_what_was_tried() -> None:
    attempt = {"at": 1000.0, "method": "punch", "result": "ok", "detail": ""}

    assert "punch" not in "\n".join(shown(a_report(a_peer(attempts=[attempt]))))


def test_peers_without_path_or_offline_say_so() -> None:
    offline = a_peer(name="carol", online=False, path=NO_PATH, last_handshake_age=None)
    hubbed = a_peer(path={"kind": "relay", "method": "relay", "via": "hub"})

    lines = shown(a_report(hubbed, offline))

    assert any("bob " in line and " relay via hub " in line for line in lines)
    (carol,) = [line for line in lines if line.startswith("carol")]
    assert re.split("  +", carol)[:5] == [
        "carol (offline)",
        "100.64.0.2",
        "idle",
        "-",
        "-",
    ]
    assert carol.endswith("never")


def test_what_is_wrong_stands_above_the_peers_with_its_mend() -> None:
    report = a_report(a_peer())
    report["health"] = [
        {
            "code": "disk-full",
            "severity": "failure",
            "text": "The disk is full, and what this node learns will be forgotten.",
            "mend": "Free some space.",
        },
        {"code": "hot", "severity": "warning", "text": "It is hot.", "mend": ""},
    ]

    lines = [click.unstyle(line) for line in render(report, UNIX_TIME, width=40)]

    at = lines.index("health")
    assert lines[at - 1 : at + 7] == [
        "",
        "health",
        "  failure  The disk is full, and what",
        "           this node learns will be",
        "           forgotten.",
        "           Free some space.",
        "  warning  It is hot.",
        "",
    ]
    assert lines[at + 7] == "1 peer, 1 direct, 0 relayed"


def test_health_is_not_mentioned_where_nothing_is_wrong() -> None:
    report = a_report(a_peer())
    assert "health" not in "\n".join(shown(report))
    del report["health"]  # as an older daemon answers
    assert "health" not in "\n".join(shown(report))


def test_sentences_fit_a_narrow_terminal() -> None:
    reason = "Both sides are behind symmetric NATs. " * 4
    peer = a_peer(reason=reason)
    at_most = 60
    assert all(
        len(click.unstyle(line)) <= at_most
        for line in render(a_report(peer), UNIX_TIME, at_most)
        if click.unstyle(line).startswith("    ")
    )


def test_a_fruitless_search_yields_no_path() -> None:
    attempt = {"at": 1000.0, "method": "punch", "result": "failed", "detail": ""}

    lines = shown(a_report(a_peer(path=NO_PATH, attempts=[attempt])))

    assert any(re.match(r"bob +100\.64\.0\.2 +none ", line) for line in lines)


def test_failures_are_shown() -> None:
    report = a_report(
        notice="This node is called alice-2 in the mesh",
        nat=None,
        addresses=[],
        coordinator={
            "url": "http://x:8443",
            "state": "offline",
            "since": 1000.0,
            "error": "It cannot be reached",
        },
        relay={"url": None, "state": "offline", "error": "No relay is offered"},
    )

    text = "\n".join(shown(report))

    assert "no address yet" in text
    assert "not examined yet" in text
    assert "http://x:8443 offline for 1 min: It cannot be reached" in text
    assert "relay        No relay is offered" in text
    assert "This node is called alice-2 in the mesh" in text
    assert text.endswith("No peers yet: let another machine join this mesh.")


def test_long_reasons_are_wrapped() -> None:
    lines = shown(a_report(a_peer(reason="word " * 60)))

    assert max(len(line) for line in lines[-4:]) <= 100
    assert all(line.startswith("    word") for line in lines[-3:])


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

    _show(["\x1b[31mone\x1b[0m", "two"], over=True)

    assert capsys.readouterr().out == "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J"


def output(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    report: Json,
    *arguments: str,
) -> str:
    daemon = FakeDaemon()
    daemon.report = report
    path = directory / "sock"
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["status", *arguments, "--control-socket", str(path)])
    assert ended.value.code == 0
    return capsys.readouterr().out


def shown(report: dict[str, Any]) -> list[str]:
    """Return the lines a person sees, without their colours."""
    text = "\n".join(render(report, UNIX_TIME))
    return re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n")
