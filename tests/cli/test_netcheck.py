"""``meshwg netcheck`` says what it found, to people and to programs."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from meshwg.cli import netcheck as module
from meshwg.cli.netcheck import netcheck, render
from meshwg.errors import DaemonNotRunning
from meshwg.nat.behaviour import NatBehavior
from meshwg.runtime.netcheck import NetcheckReport, PortMappingSummary
from meshwg.transmit import Endpoint
from tests.sim import KINDS, Kind, kinds


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_shown_with_its_verdict(kind: Kind) -> None:
    report = NetcheckReport(kind.behaviour, None)

    text = plain(render(report.to_json()))

    assert kind.behaviour.type.value.replace("-", " ") in text
    assert " ".join(report.verdict.split()) in " ".join(text.split())


def test_steps_ports_and_protocols_are_reported() -> None:
    report = NetcheckReport(
        kinds.SYMMETRIC_SEQUENTIAL_DOWN.behaviour,
        NatBehavior(reachable=True, lifetime=28.0, hairpinning=True),
        port_mapping=PortMappingSummary(
            nat_pmp=True, upnp=True, external=Endpoint("203.0.113.1", 5000)
        ),
        unresolved={"nothing.invalid:3478": "its name has no address"},
    )

    text = plain(render(report.to_json()))

    assert "sequential, in steps of -2" in text
    assert "NAT-PMP, UPnP, forwards 203.0.113.1:5000" in text
    assert "idle mappings live 28 s" in text
    assert "its name has no address" in text


def test_json_is_one_object_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "_look")

    result = CliRunner().invoke(netcheck, ["--json", "--stun", "192.0.2.1"])

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(report) == [
        "schema",
        "udp",
        "ipv4",
        "ipv6",
        "servers",
        "port_mapping",
        "verdict",
    ]


def test_without_a_server_the_daemon_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "_ask")

    result = CliRunner().invoke(netcheck, [])

    assert result.exit_code == 0
    assert "symmetric" in result.stdout


def test_without_daemon_and_server_the_remedy_is_named() -> None:
    result = CliRunner().invoke(netcheck, ["--control-socket", "/nowhere/mesh.sock"])

    assert isinstance(result.exception, DaemonNotRunning)
    assert "name a STUN server with --stun HOST:PORT" in str(result.exception)


def test_a_timeout_out_of_range_is_wrong_usage() -> None:
    result = CliRunner().invoke(netcheck, ["--timeout", "0"])

    assert result.exit_code == 2


def test_no_colour_reaches_what_is_not_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, "_ask")

    assert "\x1b" not in CliRunner().invoke(netcheck, []).stdout


def answer(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Have a function of the command return a report."""

    def reply(*args: Any) -> dict[str, Any]:
        return NetcheckReport(kinds.SYMMETRIC_RANDOM.behaviour, None).to_json()

    monkeypatch.setattr(module, function, reply)


def plain(lines: list[str]) -> str:
    from click import unstyle

    return unstyle("\n".join(lines))
