"""``meshwg why``: what it asks, what the far end says, and what it shows."""

import socket
from typing import Any

import click
import pytest

from meshwg.cli.client import DaemonClient
from meshwg.cli.why import ask, far_end, look_up, render, split
from meshwg.errors import ConfigError


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("db", ("db", "icmp")),
        ("db:22", ("db", "tcp/22")),
        ("db:53/udp", ("db", "udp/53")),
        ("10.0.5.1:22", ("10.0.5.1", "tcp/22")),
        ("fd00::1", ("fd00::1", "icmp")),
        ("[fd00::1]", ("fd00::1", "icmp")),
        ("[fd00::1]:22", ("fd00::1", "tcp/22")),
    ],
)
def test_a_target_is_a_name_and_perhaps_a_port(
    target: str, parts: tuple[str, str]
) -> None:
    assert split(target) == parts


@pytest.mark.parametrize("target", ["db:ssh", "db:", "db:22/tcp/x", "db:٢٢"])
def test_a_port_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="has no port that can be read"):
        split(target)


def test_the_far_end_listens_or_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert far_end("127.0.0.1", port)["ok"]

    refused = far_end("127.0.0.1", port)
    assert not refused["ok"]
    assert refused["text"].startswith("nothing listens")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "says nothing at port 22"),
        (OSError(113, "No route to host"), "cannot be connected to: No route to host"),
    ],
)
def test_what_else_happens_is_said(
    error: OSError, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)

    found = far_end("100.64.0.2", 22)

    assert found["text"].startswith(text)
    assert found["mend"]


def test_the_first_obstacle_is_marked_and_its_mend_stands_below() -> None:
    report = {
        "target": "db:22",
        "verdict": "denied",
        "steps": [
            a_step("name", True, "db is db, 100.64.0.2"),
            a_step("policy", False, "No rule allows it", "Ask."),
            a_step("path", False, "none", "Start it."),
        ],
    }

    lines = [click.unstyle(line).rstrip() for line in render(report, 80)]

    assert lines == [
        "db:22: DENIED",
        "  name    db is db, 100.64.0.2",
        "✗ policy  No rule allows it",
        "          Ask.",
        "  path    none",
        "          Start it.",
    ]


class StandInClient(DaemonClient):
    """A daemon that knows some targets, with the steps that it says of each."""

    def __init__(self, known: dict[str, list[dict[str, Any]]]) -> None:
        super().__init__("/nowhere")
        self.known = known

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        target = (body or {})["target"]
        steps = self.known.get(target)
        address = None if steps is None else target
        unknown = [a_step("name", False, f"There is no peer {target}")]
        return {"address": address, "steps": unknown if steps is None else steps}


def test_a_name_that_is_no_peers_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [a_step("name", True, "in the internet"), a_step("route", True, "by bob")]
    client = StandInClient({"127.0.0.1": known})
    monkeypatch.setattr("meshwg.cli.why.look_up", lambda name: "127.0.0.1")

    report = ask(client, "www.example.org", "tcp/443")

    assert report["address"] == "127.0.0.1"
    assert report["steps"][0]["text"] == "www.example.org is 127.0.0.1"
    assert [each["layer"] for each in report["steps"]] == ["name", "route"]


def test_why_a_name_leads_nowhere_is_still_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshwg.cli.why.look_up", lambda name: "192.0.2.1")

    steps = ask(StandInClient({}), "www.example.org", "icmp")["steps"]

    assert steps[0]["text"] == "www.example.org is 192.0.2.1"
    assert steps[1]["text"] == "There is no peer 192.0.2.1"


def test_peers_addresses_and_single_words_are_not_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshwg.cli.why.look_up", lambda name: name)
    client = StandInClient({"db.mesh.internal": [a_step("name", True, "db")]})

    assert ask(client, "db.mesh.internal", "icmp")["address"] == "db.mesh.internal"
    for name in ("x", "192.0.2.1"):
        (step,) = ask(client, name, "icmp")["steps"]
        assert step["text"] == f"There is no peer {name}"


def test_a_name_has_an_address_or_none() -> None:
    assert look_up("127.0.0.1") == "127.0.0.1"
    assert look_up("no.such.name.invalid") is None


def a_step(layer: str, ok: bool, text: str, mend: str | None = None) -> dict[str, Any]:
    return {"layer": layer, "ok": ok, "text": text, "mend": mend}
