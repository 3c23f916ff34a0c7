"""``meshwg ip`` and ``meshwg whois``: from names to addresses, and back."""

import json
from pathlib import Path

import pytest

from meshwg.cli.group import run
from tests.cli.daemon import FakeDaemon, a_peer, a_report, serving

CAROL = a_peer(name="carol", public_key="C" * 43 + "=", addresses=["100.64.0.3"])
DAVE = a_peer(name="dave", public_key="D" * 43 + "=", addresses=[]) | {
    "owner": "dave@example.org",
    "tags": ["web"],
}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ((), ["100.64.0.1", "fd00::1"]),
        (("-4",), ["100.64.0.1"]),
        (("-6",), ["fd00::1"]),
        (("alice",), ["100.64.0.1", "fd00::1"]),
        (("bob",), ["100.64.0.2", "fd00::2"]),
        (("100.64.0.2", "-6"), ["fd00::2"]),
        (("Bob.mesh.internal.", "-6"), ["fd00::2"]),
    ],
)
def test_addresses_are_printed_one_a_line(
    arguments: tuple[str, ...],
    lines: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(tmp_path, "ip", *arguments) == 0
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    "address",
    [
        *("100.64.0.2", "100.64.0.2:80", "fd00::2", "[fd00::2]:80", "fd00:0::2"),
        *("bob", "bob.mesh.internal", "BOB.Mesh.internal."),
    ],
)
def test_the_owner_of_an_address_is_named(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "whois", address) == 0
    assert capsys.readouterr().out == f"bob  {'B' * 43}=\n"


def test_to_whom_it_belongs_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "whois", "dave") == 0
    line = f"dave  {'D' * 43}=  dave@example.org tag:web\n"
    assert capsys.readouterr().out == line


def test_json_tells_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(tmp_path, "whois", "100.64.0.1", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "name": "alice",
        "full_name": "alice.mesh.internal",
        "public_key": "A" * 43 + "=",
        "addresses": ["100.64.0.1", "fd00::1"],
        "online": True,
        "owner": None,
        "tags": [],
        "self": True,
    }
    command(tmp_path, "ip", "carol", "--json")
    assert json.loads(capsys.readouterr().out)["addresses"] == ["100.64.0.3"]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("ip", "eve"), 1, "There is no peer 'eve': use one of bob, carol"),
        (("whois", "192.0.2.1"), 1, "No node of the mesh has the address 192.0.2.1"),
        (("whois", "b ob"), 2, "'b ob' is not an address: write one such as"),
        (("whois", "1.2.3"), 2, "'1.2.3' is not an address: write one such as"),
        (("whois", "eve.mesh.internal"), 1, "There is no peer 'eve'"),
    ],
)
def test_what_is_not_there_is_said(
    arguments: tuple[str, ...],
    status: int,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(tmp_path, *arguments) == status
    assert sentence in capsys.readouterr().err


def test_a_node_without_address_has_not_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = a_report(addresses=[])
    with serving(daemon, tmp_path / "sock"), pytest.raises(SystemExit) as ended:
        run(["ip", "--control-socket", str(tmp_path / "sock")])
    assert ended.value.code == 4


def command(directory: Path, *arguments: str) -> object:
    daemon = FakeDaemon()
    daemon.report = a_report(a_peer(), CAROL, DAVE)
    path = directory / "sock"
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run([*arguments, "--control-socket", str(path)])
    return ended.value.code
