"""``meshwg ping`` says which path each answer took, and whether there was one."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshwg.cli.group import run
from meshwg.cli.ping import render
from meshwg.errors import MeshError
from tests.cli.daemon import FakeDaemon, Json, a_peer, serving

RELAY = {"kind": "relay", "method": "relay", "remote": "198.51.100.9:50000"}
HUB = {"kind": "relay", "method": "relay", "via": "hub"}


def test_every_answer_names_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [
        answer(1, 58.26, **RELAY),
        answer(2, 20.0, **HUB),
        answer(3, 6.26),
        answer(4, None),
        summary(4, 3, 6.26),
    ]

    status, out = ping(tmp_path, capsys, answers, "bob", "-c", "4")

    assert status == 0
    assert out.splitlines() == [
        "answer from bob (100.64.0.2): 58 ms over relay 198.51.100.9:50000",
        "answer from bob (100.64.0.2): 20 ms over relay via hub",
        "answer from bob (100.64.0.2): 6.3 ms over direct 203.0.113.9:41641 "
        "(reflexive)",
        "no answer from bob to 4",
        "4 sent, 3 received, 25% lost, median 6.3 ms",
    ]


def test_without_any_answer_it_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = [answer(1, None, kind="none"), summary(1, 0, None)]

    status, out = ping(tmp_path, capsys, nothing, "bob")

    assert status == 1
    assert out.endswith("1 sent, 0 received, 100% lost, median -\n")


def test_until_direct_fails_on_a_relay_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relayed = [answer(1, 5.0, **RELAY), summary(1, 1, 5.0, **RELAY)]
    direct = [answer(1, 5.0), summary(1, 1, 5.0)]

    status, out = ping(tmp_path, capsys, relayed, "bob", "--until-direct")
    assert status == 1
    assert out.endswith("There is no direct path yet. Both are symmetric.\n")
    assert ping(tmp_path, capsys, direct, "bob", "--until-direct")[0] == 0


def test_it_stops_when_the_path_has_become_direct(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [answer(1, 5.0, **RELAY), *(answer(n, 2.0 * n) for n in range(2, 9))]

    status, out = ping(tmp_path, capsys, answers, "bob")

    assert status == 0
    lines = out.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "4 sent, 4 received, 0% lost, median 5.5 ms"


def test_interrupted_it_sums_up(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [answer(1, 5.0, **RELAY), answer(2, None, **RELAY), answer(3, 7.0)]
    shown = 0

    def interrupt_the_third(event: Json) -> str:
        nonlocal shown
        shown += 1
        if shown == 3:
            raise KeyboardInterrupt
        return render(event)

    monkeypatch.setattr("meshwg.cli.ping.render", interrupt_the_third)

    status, out = ping(tmp_path, capsys, answers, "bob")

    assert status == 0
    assert out.endswith("\n\n2 sent, 1 received, 50% lost, median 5.0 ms\n")


def test_a_firewall_on_the_peers_system_is_told_from_a_bad_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = {"kind": "direct", "answered": True, "carries": True, "rtt_ms": 1.23}
    below = {"checks": [check], "verdict": "The direct path answers below IP."}

    status, out = ping(tmp_path, capsys, [answer(1, None) | below], "bob", "-c", "1")

    assert status == 1
    assert out.splitlines() == [
        "no answer from bob to 1 (below IP: direct 1.2 ms)",
        "1 sent, 0 received, 100% lost, median -",
        "The direct path answers below IP.",
    ]


def test_json_is_one_object_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [answer(1, 6.26), summary(1, 1, 6.26)]

    _, out = ping(tmp_path, capsys, answers, "bob", "--json")

    assert [json.loads(line) for line in out.splitlines()] == [
        {"schema": 1, **each} for each in answers
    ]


def test_the_request_says_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.answers = [answer(1, 1.0)]
    wanted = ["--timeout", "7", "--until-direct"]
    with serving(daemon, tmp_path / "sock"), pytest.raises(SystemExit):
        run(["ping", "bob", *wanted, "--control-socket", str(tmp_path / "sock")])

    assert daemon.requests == [
        {"peer": "bob", "count": None, "until_direct": True, "timeout": 7.0}
    ]


def test_an_unknown_peer_is_an_error_before_anything_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    refused: list[Json | MeshError] = [MeshError("There is no peer 'eve': use bob")]
    daemon.answers = refused
    with serving(daemon, tmp_path / "sock"), pytest.raises(SystemExit) as ended:
        run(["ping", "eve", "--control-socket", str(tmp_path / "sock")])

    assert ended.value.code == 1
    assert capsys.readouterr().err == "meshwg: There is no peer 'eve': use bob\n"


def ping(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[Json],
    *arguments: str,
) -> tuple[Any, str]:
    """Run ``meshwg ping`` and return its exit status and what it printed."""
    daemon = FakeDaemon()
    daemon.answers = list(answers)
    path = str(directory / "sock")
    with serving(daemon, directory / "sock"), pytest.raises(SystemExit) as ended:
        run(["ping", *arguments, "--control-socket", path])
    return ended.value.code, capsys.readouterr().out


def answer(sequence: int, rtt_ms: float | None, **path: Any) -> Json:
    return {
        "peer": "bob",
        "address": "100.64.0.2",
        "sequence": sequence,
        "rtt_ms": rtt_ms,
        "path": a_peer(path=path)["path"],
    }


def summary(sent: int, received: int, median_ms: float | None, **path: Any) -> Json:
    total = {"sent": sent, "received": received, "median_ms": median_ms}
    reason = "Both are symmetric."
    return {"summary": total, "path": a_peer(path=path)["path"], "reason": reason}
