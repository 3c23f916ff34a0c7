"""``meshwg route``: the list for people and programs, and what is changed."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from meshwg.cli.group import run
from meshwg.cli.route import render
from meshwg.errors import ConfigError
from tests.cli.daemon import FakeDaemon, serving

SITE = "10.1.0.0/16"


def test_the_list_shows_what_is_behind_this_node_and_behind_peers() -> None:
    lines = shown(a_report(), 100)

    assert lines[:6] == [
        "behind this node",
        "NETWORK      STATE       PRIORITY  OPTIONS",
        "10.1.0.0/16  approved    100       -",
        "10.2.0.0/16  advertised  5         really 192.168.0.0/16, probe 192.168.0.1, "
        "no snat",
        "10.2.0.0/16: nobody has looked.",
        "",
    ]
    assert lines[6] == "behind peers"
    assert [line.split() for line in lines[8:]] == [
        ["10.7.0.0/16", "router", "100", "-", "yes"],
        ["10.7.0.0/16", "spare", "(offline)", "200", "192.168.7.0/24", "no"],
    ]


@pytest.mark.parametrize("size", [60, 80, 200])
def test_the_list_fits_the_terminal(size: int) -> None:
    report = a_report()
    report["peers"][0]["peer"] = "a-machine-in-the-laboratory-of-the-institute-12"
    report["peers"][0]["prefix"] = "2001:db8:1234:5678::/64"

    lines = shown(report, size)

    assert max(map(len, lines)) <= size
    assert any("yes" in line for line in lines)


def test_where_there_is_nothing_the_list_says_so() -> None:
    assert shown({"own": [], "peers": []}, 80) == [
        "This node offers no network.",
        "",
        "No peer has an approved network behind it.",
    ]


def test_json_is_what_the_daemon_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = {"schema": 1, **a_report()}
    assert command(tmp_path, daemon, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.report
    assert command(tmp_path, daemon, "list") == 0
    assert SITE in capsys.readouterr().out


def test_a_network_is_added_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = a_report()["own"][1]
    assert command(tmp_path, daemon, "add", f"{SITE},priority=5") == 0
    assert capsys.readouterr().out == (
        "This node offers 10.2.0.0/16: nobody has looked.\n"
    )
    daemon.report = {"prefix": SITE}
    assert command(tmp_path, daemon, "remove", SITE) == 0
    assert capsys.readouterr().out == f"This node does not offer {SITE} any more.\n"
    assert command(tmp_path, daemon, "remove", SITE, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "route": {"prefix": SITE},
    }
    asked = [each["route"] for each in daemon.requests]
    assert asked == [f"{SITE},priority=5", SITE, SITE]


def test_what_is_wrong_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.refusal = ConfigError("10.1.0.1/16 has host bits set")
    assert command(tmp_path, daemon, "add", "10.1.0.1/16") == 2
    assert "host bits" in capsys.readouterr().err


def command(directory: Path, daemon: FakeDaemon, *arguments: str) -> int:
    """Run a command against a daemon; return the exit status."""
    path = directory / "sock"
    daemon.stopped.clear()
    with serving(daemon, path), pytest.raises(SystemExit) as end:
        run(["route", *arguments, "--control-socket", str(path)])
    return int(end.value.code or 0)


def shown(report: dict[str, Any], size: int) -> list[str]:
    return [click.unstyle(line) for line in render(report, size)]


def a_report() -> dict[str, Any]:
    usual = {"real": None, "probe": None, "priority": 100, "snat": True}
    mapped = {"real": "192.168.0.0/16", "probe": "192.168.0.1", "priority": 5}
    router = {"prefix": "10.7.0.0/16", "priority": 100, "real": None, "public_key": ""}
    spare = {"peer": "spare", "priority": 200, "real": "192.168.7.0/24"}
    return {
        "own": [
            {"prefix": SITE, "state": "approved", "reason": "", **usual},
            {
                "prefix": "10.2.0.0/16",
                "state": "advertised",
                "reason": "nobody has looked",
                **usual,
                **mapped,
                "snat": False,
            },
        ],
        "peers": [
            {**router, "peer": "router", "online": True, "used": True},
            {**router, **spare, "online": False, "used": False},
        ],
    }
