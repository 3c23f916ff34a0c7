"""What ``meshwg status`` says of a node and its peers, at any width."""

import re
from typing import Any

import click
import pytest

from meshwg.cli.overview import render
from tests.cli.daemon import a_peer, a_report

UNIX_TIME = 1060.0
NO_PATH = {"kind": "none", "method": None, "remote": None, "rtt_ms": None, "loss": None}


def test_the_node_itself_comes_first() -> None:
    assert shown(a_report())[:7] == [
        "alice        100.64.0.1, fd00::1",
        f"public key   {'A' * 43}=",
        "interface    meshwg0, UDP port 41641, MTU 1400",
        "data path    compiled core",
        "network      easy NAT (port restricted cone), seen as 203.0.113.1:41641",
        "coordinator  https://mesh.example connected for 1 min",
        "relay        turn:mesh.example:3478 over udp, 8.0 ms",
    ]


def test_a_peer_is_one_line_with_all_there_is_room_for() -> None:
    lines = shown(a_report(a_peer()), size=120)

    assert lines[-3] == "1 peer, 1 direct, 0 relayed"
    assert re.split("  +", lines[-1]) == [
        "bob",
        "100.64.0.2",
        "direct reflexive 203.0.113.9:41641",
        "12 ms",
        "0%",
        "1.23 kB",
        "5.68 MB",
        "5 s ago",
    ]


def test_verbosely_the_reason_stands_below_a_peer() -> None:
    lines = shown(a_report(a_peer()), verbose=True)

    assert lines[-2].startswith("bob ")
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

    text = "\n".join(shown(a_report(peer), size=120, verbose=True))

    assert "1 peer, 0 direct, 1 relayed" in text
    assert "relay 198.51.100.9:50000 " in text
    assert "behind symmetric NATs. Next attempt in 54 s." in text
    assert "method-1" not in text
    assert "56 s ago: method-4 failed (nobody answered)" in text


def test_a_direct_peer_does_not_bother_with_what_was_tried() -> None:
    attempt = {"at": 1000.0, "method": "punch", "result": "ok", "detail": ""}
    report = a_report(a_peer(attempts=[attempt]))

    assert "punch" not in "\n".join(shown(report, verbose=True))


def test_peers_without_path_or_offline_say_so() -> None:
    offline = a_peer(name="carol", online=False, path=NO_PATH, last_handshake_age=None)
    idle = a_peer(name="dave", path=NO_PATH)
    hubbed = a_peer(path={"kind": "relay", "method": "relay", "via": "hub"})

    lines = shown(a_report(hubbed, idle, offline), size=120)

    assert any("bob " in line and " relay via hub " in line for line in lines)
    carol, dave = (row_of(name, lines) for name in ("carol", "dave"))
    assert carol[:5] == ["carol", "100.64.0.2", "offline", "-", "-"]
    assert carol[-1] == "never"
    assert dave[2] == "idle"


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

    lines = [click.unstyle(line) for line in render(report, UNIX_TIME, 40)]

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


@pytest.mark.parametrize("size", [40, 60, 80, 92, 120, 200])
@pytest.mark.parametrize("count", [1, 3, 300])
@pytest.mark.parametrize("length", [3, 20, 63])
def test_no_line_is_longer_than_the_terminal_is_wide(
    size: int, count: int, length: int
) -> None:
    attempt = {"at": 1000.0, "method": "punch", "result": "failed", "detail": "no " * 9}
    hub = {"kind": "relay", "method": "relay", "via": "h" * length}
    peers = [
        a_peer(name=f"{number:0{length}}", path=hub if number % 2 else {})
        | {
            "reason": "Both sides are behind symmetric NATs. " * 4,
            "attempts": [attempt],
        }
        for number in range(count)
    ]
    report = a_report(*peers, name="n" * length, notice="A notice for you. " * 9)

    plain, verbose = (shown(report, size=size, verbose=each) for each in (False, True))

    assert max(map(len, plain + verbose)) <= size
    assert len(plain) <= count + 24


def test_long_names_lose_their_middle_before_the_address_is_left_out() -> None:
    name = "a-machine-in-the-laboratory-of-the-institute-number-12"

    row = row_of("a-machine", shown(a_report(a_peer(name=name)), size=80))

    assert "…" in row[0]
    assert row[0].endswith("-12")
    assert row[1] == "100.64.0.2"


def test_a_fruitless_search_yields_no_path() -> None:
    attempt = {"at": 1000.0, "method": "punch", "result": "failed", "detail": ""}

    lines = shown(a_report(a_peer(path=NO_PATH, attempts=[attempt])))

    assert any(re.match(r"bob +100\.64\.0\.2 +none ", line) for line in lines)


@pytest.mark.parametrize(
    ("nat", "text"),
    [
        ({"type": "unknown", "difficulty": "none"}, "no NAT"),
        ({"type": "unknown", "difficulty": "easy"}, "easy NAT"),
        ({"type": "unknown", "difficulty": "unknown"}, "NAT of unknown kind"),
        ({"type": "symmetric", "difficulty": "hard"}, "hard NAT (symmetric)"),
        ({"type": "open-internet", "difficulty": "none"}, "no NAT, no firewall"),
        ({"type": "symmetric-udp-firewall"}, "no NAT, but a firewall"),
        ({"type": "udp-blocked", "difficulty": "unknown"}, "UDP is blocked"),
        ({"type": "full-cone"}, "easy NAT (full cone)"),
    ],
)
def test_a_nat_is_named_by_what_it_means(nat: dict[str, str], text: str) -> None:
    report = a_report(nat={"public": None, **nat})
    assert f"network      {text}" in shown(report)


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


def test_a_node_that_is_alone_says_what_to_do() -> None:
    text = "\n".join(shown(a_report()))
    assert text.endswith("No peers yet: let another machine join this mesh.")


def test_a_node_that_has_not_joined_does_not_ask_for_other_machines() -> None:
    text = "\n".join(shown(a_report(addresses=[])))
    assert text.endswith("not joined its mesh yet: see the coordinator's line.")


def test_a_node_that_was_taken_down_says_how_to_connect_it() -> None:
    lines = shown(a_report(state="down"))
    assert "state       down: 'meshwg up' connects it" in lines
    assert lines[-1] == "This node is not connected to its mesh."


def shown(
    report: dict[str, Any], size: int = 80, *, verbose: bool = False
) -> list[str]:
    """Return the lines a person sees, without their colours."""
    text = "\n".join(render(report, UNIX_TIME, size, verbose=verbose))
    return click.unstyle(text).split("\n")


def row_of(name: str, lines: list[str]) -> list[str]:
    (row,) = [line for line in lines if line.startswith(name)]
    return re.split("  +", row)
