"""What the system does with packets of the mesh, on machines made of files."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from meshwg.cli import hostchecks as module
from meshwg.cli.hostchecks import (
    firewall,
    forwarding,
    machine_findings,
    reverse_paths,
    tunnels,
)
from meshwg.firewall import Ruleset

OWN: dict[str, Any] = {
    "state": "up",
    "interface": "meshwg0",
    "addresses": ["100.67.0.3", "fd00:6d::3"],
    "role": "node",
}
HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"


class Files:
    """The files by which a system says how it is set up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def forward(self, ipv4: str, ipv6: str) -> None:
        self.write("ipv4/ip_forward", ipv4)
        self.write("ipv6/conf/all/forwarding", ipv6)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    for name in ("SETTINGS", "INTERFACES"):
        monkeypatch.setattr(module, name, tmp_path)
    monkeypatch.setattr(module, "ROUTES", tmp_path / "route")
    return Files(tmp_path)


def have_rules(monkeypatch: pytest.MonkeyPatch, ruleset: Ruleset | None) -> None:
    async def read() -> Ruleset | None:
        return ruleset

    monkeypatch.setattr(module, "read_ruleset", read)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/sbin/nft")


def input_chain(policy: str, table: str = "filter") -> Ruleset:
    chain = {
        "family": "inet",
        "table": table,
        "name": "input",
        "hook": "input",
        "policy": policy,
    }
    return Ruleset(json.dumps({"nftables": [{"chain": chain}]}))


def test_a_firewall_that_lets_the_mesh_in_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have_rules(monkeypatch, input_chain("accept"))

    found = firewall(OWN)

    assert (found.severity, found.text) == ("ok", "lets in what comes by meshwg0")


@pytest.mark.parametrize(
    ("table", "mend"),
    [
        ("filter", "insert rule inet filter input iifname meshwg0 accept"),
        ("firewalld", "firewall-cmd --zone=trusted --add-interface=meshwg0"),
    ],
)
def test_one_that_was_not_told_of_the_mesh_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, table: str, mend: str
) -> None:
    have_rules(monkeypatch, input_chain("drop", table))
    monkeypatch.setattr(Path, "exists", lambda _: False)

    found = firewall(OWN)

    assert found.severity == "warning"
    assert f"only what its rules name, in inet {table} input" in found.text
    assert mend in (found.mend or "")


@pytest.mark.parametrize(("user", "severity"), [(0, "warning"), (1000, "warning")])
def test_rules_that_cannot_be_read_are_said_to_be(
    monkeypatch: pytest.MonkeyPatch, user: int, severity: str
) -> None:
    have_rules(monkeypatch, None)
    monkeypatch.setattr(os, "geteuid", lambda: user)

    found = firewall(OWN)

    assert found.severity == severity
    assert ("sudo" in (found.mend or "")) == (user != 0)


def test_without_nft_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)

    assert firewall(OWN).text.startswith("not known")


def test_what_the_node_complains_of_is_not_looked_at_again(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_rules(monkeypatch, input_chain("drop"))
    known = [{"code": "firewall-drops-mesh"}]

    assert "firewall" in [each.code for each in machine_findings(OWN)]
    assert "firewall" not in [each.code for each in machine_findings(OWN, known)]
    assert "forwarding" not in [each.code for each in machine_findings(None)]


def test_a_node_that_passes_nothing_on_needs_no_forwarding(files: Files) -> None:
    files.forward("0", "0")
    waiting = {"state": "advertised", "reason": "nobody has looked"}

    assert forwarding(OWN).severity == "ok"
    assert forwarding({**OWN, "hub": waiting}).severity == "ok"
    assert forwarding({**OWN, "routes": [waiting]}).severity == "ok"


@pytest.mark.parametrize(
    "change",
    [
        {"hub": {"state": "approved", "reason": ""}},
        {"routes": [{"prefix": "10.0.0.0/8", "state": "approved", "reason": ""}]},
        {"exit": {"using": None, "offering": {"state": "approved", "reason": ""}}},
    ],
)
@pytest.mark.parametrize(
    ("ipv4", "ipv6", "severity", "mend"),
    [
        ("1", "1", "ok", None),
        ("0", "1", "failure", "'sysctl -w net.ipv4.ip_forward=1'."),
        ("1", "0", "warning", "'sysctl -w net.ipv6.conf.all.forwarding=1'."),
    ],
)
def test_one_that_does_needs_it(
    files: Files,
    change: dict[str, Any],
    ipv4: str,
    ipv6: str,
    severity: str,
    mend: str | None,
) -> None:
    files.forward(ipv4, ipv6)

    found = forwarding({**OWN, **change})

    assert (found.severity, found.mend) == (severity, mend)


def test_a_strict_filter_of_sources_is_named(files: Files) -> None:
    assert reverse_paths().text == "loose or off"

    files.write("ipv4/conf/eth0/rp_filter", "1")
    files.write("ipv4/conf/eth1/rp_filter", "2")

    assert reverse_paths().text == "strict on eth0; the mesh works with that"


def test_other_tunnels_are_named_with_whose_they_are(files: Files) -> None:
    for name, kind in (("eth0", "1"), ("tailscale0", "65534"), ("meshwg0", "65534")):
        files.write(f"{name}/type", kind)

    assert tunnels("meshwg0").text.startswith("tailscale0 (Tailscale): paths")
    assert tunnels("tailscale0").text.startswith("meshwg0: paths")


def test_a_tunnel_that_takes_everything_is_told_apart(files: Files) -> None:
    files.write("wg0/type", "65534")
    files.write("route", f"{HEAD}wg0\t00000000\t0\t1\t0\t0\t0\t00000000")

    assert tunnels("").text.endswith("all that leaves this machine goes through wg0")
