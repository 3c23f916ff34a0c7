"""``meshwg netcheck`` says what it found, to people and to programs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from meshwg.cli import netcheck as module
from meshwg.cli.netcheck import netcheck, render
from meshwg.errors import DaemonNotRunning
from meshwg.nat.behaviour import NatBehavior
from meshwg.runtime.netcheck import NetcheckReport, PortMappingSummary
from meshwg.transmit import Endpoint
from tests.cli.daemon import FakeDaemon, serving
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
        "age_s",
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


@pytest.mark.parametrize(("options", "fresh"), [([], False), (["--fresh"], True)])
def test_the_daemon_measures_anew_if_asked_to(
    tmp_path: Path, options: list[str], fresh: bool
) -> None:
    daemon, path = FakeDaemon(), tmp_path / "sock"
    daemon.report = NetcheckReport(kinds.SYMMETRIC_RANDOM.behaviour, None).to_json()

    with serving(daemon, path):
        result = CliRunner().invoke(netcheck, [*options, "--control-socket", str(path)])

    assert result.exit_code == 0
    assert daemon.requests == [{"timeout": 5.0, "lifetime": False, "fresh": fresh}]


def test_what_was_measured_a_while_ago_says_so() -> None:
    report = NetcheckReport(kinds.SYMMETRIC_RANDOM.behaviour, None, age=12.34)

    assert report.to_json()["age_s"] == 12.3
    assert "Measured  12 s ago  anew with --fresh" in squeezed(report.to_json())


@pytest.mark.parametrize("age", [0.0, None])
def test_what_is_fresh_or_unknown_has_no_age_to_speak_of(age: float | None) -> None:
    report = NetcheckReport(kinds.SYMMETRIC_RANDOM.behaviour, None, age=age)

    assert "Measured" not in squeezed(report.to_json())


def test_a_daemon_that_does_not_know_of_ages_is_understood() -> None:
    report = NetcheckReport(kinds.SYMMETRIC_RANDOM.behaviour, None).to_json()
    del report["age_s"]

    assert "symmetric" in squeezed(report)


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


def squeezed(report: dict[str, Any]) -> str:
    """Return what people see, with at most two spaces between cells."""
    return re.sub(r" {2,}", "  ", plain(render(report)))


def plain(lines: list[str]) -> str:
    from click import unstyle

    return unstyle("\n".join(lines))
