"""Machines with more addresses than anybody wants to try."""

import json
import re
import time
from collections.abc import Sequence

import pytest

from meshwg.runtime.host_network import REPORT_BURST
from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import PORT_RESTRICTED
from netlab.wireguard import WIREGUARD_GO, Config, Peer, Tunnel, make_keys
from tests.interop.meshes import PATIENCE, Coordinator, Json, Member

pytestmark = pytest.mark.netns


def test_bridges_and_hundreds_of_addresses_hide_nobody_behind_a_nat(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice, bob = (
        Member(
            lab.add_host(
                name, lab.add_router(f"{name}-home", PORT_RESTRICTED), ipv6=False
            )
        )
        for name in ("alice", "bob")
    )
    add_bridges(alice.host, bridges=20, addresses=1)
    add_bridges(bob.host, bridges=20, addresses=15)
    for member in (alice, bob):
        member.join(token)
        member.wait_until(
            lambda status: bool((status["self"]["nat"] or {}).get("public")),
            "its public address is known",
        )

    alice.ping(bob, "-i", "0.2")
    for member in (alice, bob):
        member.wait_until(is_punched, f"{member.name} is direct, and not by TCP")


@pytest.mark.parametrize("other", ["another VPN", "another mesh"])
def test_another_tunnel_between_both_is_not_the_way(lab: Lab, other: str) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    home = lab.add_router("home", PORT_RESTRICTED)
    hosts = [
        lab.add_host("alice", home, ipv6=False),
        lab.add_host("bob", lab.internet, ipv6=False),
    ]
    inside = connect(lab, hosts) if other == "another VPN" else join(lab, hosts)
    alice, bob = (Member(host).join(token) for host in hosts)
    alice.wait_until_sees("bob")

    ping = alice.ping(bob, "-i", "0.1", "-c", "60")
    for member in (alice, bob):
        member.wait_until(is_direct, f"{member.name} has a direct path")
    ping.wait(timeout=PATIENCE)

    assert " 0% packet loss" in ping.output()
    for member in (alice, bob):
        assert not set(paths_in(member.log())) & set(inside)


def add_bridges(host: Host, *, bridges: int, addresses: int) -> None:
    """Give a host what it would have with as many networks for containers.

    Their addresses come before its own one, sorted as numbers.
    """
    lines = []
    for n in range(bridges):
        lines += [f"link add br{n} type bridge", f"link set br{n} up"]
        lines += [f"address add 10.{n}.{m}.1/24 dev br{n}" for m in range(addresses)]
    batch = host.write_file("bridges", "\n".join(lines) + "\n")
    host.run(["ip", "-batch", str(batch)])


def is_punched(status: Json) -> bool:
    method = status["peers"][0]["path"]["method"]
    return method in ("reflexive", "peer-reflexive")


def test_routes_and_addresses_that_come_and_go_cost_no_packet(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice, bob = (
        Member(lab.add_host(name, lab.internet)).join(token)
        for name in ("alice", "bob")
    )
    alice.reaches(bob)
    alice.wait_until(is_direct, "alice has a direct path")
    host, gateway = alice.host, gateway_of(alice.host)
    host.run(["ip", "link", "add", "br0", "type", "bridge"])
    host.run(["ip", "link", "set", "br0", "up"])

    ping = alice.ping(bob, "-i", "0.1", "-c", "60")
    while ping.returncode is None:
        for verb in ("add", "del"):
            for change in (
                f"route {verb} {bob.host.address(4)}/32 via {gateway} dev eth0",
                f"route {verb} default via {gateway} dev eth0 metric 500",
                f"address {verb} 10.88.0.1/24 dev br0",
                f"address {verb} 10.89.0.1/24 dev eth0",
            ):
                host.run(["ip", *change.split()])
            time.sleep(0.05)

    assert " 0% packet loss" in ping.output()
    assert alice.log().count("The network changed") <= REPORT_BURST + 1


def connect(lab: Lab, hosts: Sequence[Host]) -> list[str]:
    """Connect two hosts by plain WireGuard, and return their addresses there."""
    first, second = hosts
    addresses = ["10.9.0.1", "10.9.0.2"]
    keys = [make_keys(host) for host in hosts]
    endpoints = f"{second.address(4)}:51820", ""
    for own, host in enumerate(hosts):
        peer = keys[1 - own].public, f"{addresses[1 - own]}/32", endpoints[own]
        config = Config(keys[own], f"{addresses[own]}/24", Peer(*peer), 51820)
        Tunnel(host, "vpn0", config, WIREGUARD_GO)
    first.ping(addresses[1])
    return addresses


def join(lab: Lab, hosts: Sequence[Host]) -> list[str]:
    """Join two hosts to a mesh of its own, and return their addresses there."""
    coordinator = Coordinator(lab.add_host("elsewhere", lab.internet))
    coordinator.start()
    token = coordinator.token(reusable=True)
    first, second = (
        Member(host, suffix="-other").join(token, "--interface", "meshwg1")
        for host in hosts
    )
    first.reaches(second)
    return [*first.addresses, *second.addresses]


def gateway_of(host: Host) -> str:
    shown = host.run(["ip", "-json", "-4", "route", "show", "default"]).stdout
    return str(json.loads(shown)[0]["gateway"])


def paths_in(log: str) -> list[str]:
    """Return the hosts that a node's log says its paths lead to, in order."""
    return re.findall(r"path \S+ \[?([0-9a-f.:]+?)\]?:\d+$", log, re.MULTILINE)


def is_direct(status: Json) -> bool:
    return bool(status["peers"][0]["path"]["kind"] == "direct")
