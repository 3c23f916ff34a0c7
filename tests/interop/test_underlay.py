"""Nodes whose peers announce the very networks that their own packets need."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_network

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.meshes import MESHWG, Coordinator, Json, Member, leftovers

pytestmark = pytest.mark.netns

MESH = "meshwg0"


def test_a_route_over_coordinator_relay_and_gateway_cuts_nobody_off(lab: Lab) -> None:
    settings = lab.directory / "coordinator.toml"
    settings.write_text('approve_routes = ["0.0.0.0/0"]\n')
    coordinator = Coordinator.on_the_internet(lab, "--config", str(settings))
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    bob = Member(lab.add_host("bob", lab.add_router("home")))
    router = Member(lab.add_host("router", lab.internet))
    bob.join(token)
    networks = {around(each.host) for each in (coordinator, alice)}
    router.join(token, *(option for n in networks for option in ("--route", n)))

    for member in (alice, bob):
        member.host.wait_until(
            partial(leads_into_mesh, member.host, coordinator.host.address(4)),
            f"{member.name} routes the announced network into the mesh",
        )
        with counting(member.host, coordinator.host.address(4)) as entered:
            member.kill()
            member.start()
            member.wait_until_connected()
            member.wait_until(has_relay, f"{member.name} has its relay")
            member.reaches(router)
            assert leads_into_mesh(member.host, coordinator.host.address(4))
            sockets = member.host.run(["ss", "-tunpe"]).stdout
            lost = [line for line in sockets.splitlines() if is_unmarked(line)]
            assert lost == []
            assert entered() == 0
    alice.reaches(bob)
    alice.wait_until(lambda status: is_direct_to(status, "bob"), "alice is direct")
    server = ("--stun", coordinator.host.address(4))
    seen = alice.host.run([*MESHWG, "netcheck", "--json", *server]).stdout
    assert json.loads(seen)["ipv4"]["public"].startswith(alice.host.address(4))

    for member in (alice, bob, router):
        member.meshwg("down")
        assert member.wait_for_end() == 0
        assert leftovers(member.host) == []


def test_a_killed_node_leaves_nothing_to_the_next_and_two_do_not_collide(
    lab: Lab,
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    peer = Member(lab.add_host("peer", lab.internet)).join(token)
    host = lab.add_host("host", lab.internet)
    first = Member(host, "first").join(token)
    first.reaches(peer)
    first.kill()
    assert first.process is not None
    first.process.wait()
    assert rules(host) != []

    second = Member(host, "second", suffix="-2").join(token, "--interface", "work1")
    host.wait_until(lambda: len(tables(host)) == 1, "only the second has rules")
    of_second = tables(host)
    first.start().wait_until_connected()

    host.wait_until(lambda: len(tables(host)) == 2, "both have rules")
    second.meshwg("down")
    second.wait_for_end()
    first.reaches(peer)
    assert not tables(host) & of_second


def test_what_other_programs_do_to_the_interface_is_put_back_and_said(
    lab: Lab,
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    peer = Member(lab.add_host("peer", lab.internet)).join(token)
    member = Member(lab.add_host("member", lab.internet)).join(token)
    member.reaches(peer)
    assert member.status()["health"] == []

    for damage in ("addr flush dev meshwg0", "link set meshwg0 down"):
        member.host.run(["ip", *damage.split()])
        member.reaches(peer)

    member.wait_until(lambda status: len(status["health"]) == 1, "it is said")
    (complaint,) = member.status()["health"]
    assert complaint["code"] == "interface-changed-by-others"
    assert complaint["severity"] == "warning"
    assert "health" in member.meshwg("status").stdout


def test_the_lans_network_is_the_meshs_and_a_peer_has_no_ipv6(lab: Lab) -> None:
    lan = "10.55.0.0/16"
    coordinator = Coordinator.on_the_internet(lab, "--network4", lan)
    token = coordinator.token(reusable=True)
    home = lab.add_router("home", subnet4=lan)
    alice = Member(lab.add_host("alice", home)).join(token)
    bob = Member(lab.add_host("bob", lab.internet))
    off = dict.fromkeys(("all", "default"), 1)
    bob.host.namespace.set_sysctl(
        {f"net.ipv6.conf.{name}.disable_ipv6": value for name, value in off.items()}
    )
    bob.join(token)

    alice.wait_until_sees("bob")
    alice.wait_until(
        lambda status: len(status["peers"][0]["addresses"]) == 1, "IPv6 is not told"
    )
    (inside,) = alice.peers()["bob"]["addresses"]
    alice.host.ping(inside)
    assert way(alice.host, inside) == MESH
    assert codes(alice) == ["network-collision"]
    assert codes(bob) == ["ipv6-disabled"]
    assert bob.status()["self"]["addresses"] == [inside]


@contextmanager
def counting(host: Host, destination: str) -> Iterator[Callable[[], int]]:
    """Count packets to an address that a host routes into its tunnel."""
    chain = "type filter hook output priority 0;"
    rule = f'oifname "{MESH}" ip daddr {destination} counter'
    host.run(["nft", f"add table ip seen; add chain ip seen out {{ {chain} }}"])
    host.run(["nft", f"add rule ip seen out {rule}"])

    def entered() -> int:
        listed = json.loads(
            host.run(["nft", "-j", "list", "table", "ip", "seen"]).stdout
        )
        (found,) = [each["rule"] for each in listed["nftables"] if "rule" in each]
        counter = next(each["counter"] for each in found["expr"] if "counter" in each)
        return int(counter["packets"])

    yield entered
    host.run(["nft", "delete", "table", "ip", "seen"])


def around(host: Host) -> str:
    """Return a network that a host is in, with its gateway and its neighbours."""
    return str(ip_network(f"{host.address(4)}/16", strict=False))


def codes(member: Member) -> list[str]:
    return [complaint["code"] for complaint in member.status()["health"]]


def way(host: Host, destination: str) -> str:
    shown = host.run(["ip", "-json", "route", "get", destination], check=False).stdout
    return str(json.loads(shown or "[{}]")[0].get("dev"))


def leads_into_mesh(host: Host, destination: str) -> bool:
    return way(host, destination) == MESH


def rules(host: Host) -> list[Json]:
    """Return the rules that nodes have made."""
    found: list[Json] = [
        rule
        for family in ("-4", "-6")
        for rule in json.loads(
            host.run(["ip", family, "-json", "-details", "rule"]).stdout
        )
        if str(rule.get("protocol")) == "77"
    ]
    return found


def tables(host: Host) -> set[str]:
    """Return the tables that these rules lead to."""
    return {str(rule["table"]) for rule in rules(host)}


def is_unmarked(line: str) -> bool:
    """Tell whether ``ss`` shows a node's socket without a mark."""
    return "users:" in line and "python" in line and "fwmark:" not in line


def has_relay(status: Json) -> bool:
    return bool(status["self"]["relay"]["state"] == "allocated")


def is_direct_to(status: Json, name: str) -> bool:
    return any(
        peer["name"] == name and peer["path"]["kind"] == "direct"
        for peer in status["peers"]
    )
