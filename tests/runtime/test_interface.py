"""The node's own interface, as the kernel has it: addresses, routes and rules."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from meshwg.routing import (
    MARKS,
    PRIORITY,
    Configuration,
    ExitRoutes,
    answer_mark,
    mark_of,
)
from meshwg.runtime import rtnetlink
from meshwg.runtime.interface import MeshInterface, Settlement
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

MESH = "meshwg0"
MTU = 1400
INSIDE = "100.64.0.9"
INSIDE6 = "fd00::9"
BEHIND = "203.0.113.0/24"
"""What a peer announces, and the coordinator is in."""
COORDINATOR = "203.0.113.10"


@pytest.fixture
def host(lab: Lab) -> Host:
    made = lab.add_host(
        "host", lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    )
    made.run(["ip", "route", "add", "default", "via", "192.0.2.254"])
    made.run(["ip", "tuntap", "add", MESH, "mode", "tun"])
    return made


@pytest.fixture
def mesh(host: Host) -> Iterator[MeshInterface]:
    made = host.call(lambda: MeshInterface(MESH, MTU))
    yield made
    host.call(made.close)


def test_the_interface_gets_addresses_and_leads_into_the_mesh(
    host: Host, mesh: MeshInterface
) -> None:
    assert configure(host, mesh) == Settlement()

    assert f"mtu {MTU}" in shown(host, "link")
    for address in ("100.64.0.1/16", "fd00::1/48"):
        assert address in shown(host, "address")
    for destination in (INSIDE, INSIDE6, COORDINATOR):
        assert way(host, destination) == MESH
    assert way(host, "198.51.100.1") == "eth0"


def test_the_underlay_never_sees_the_mesh(host: Host, mesh: MeshInterface) -> None:
    configure(host, mesh)

    assert mesh.is_apart
    assert way(host, COORDINATOR, "mark", str(mesh.fwmark)) == "eth0"
    assert MESH not in host.run(["ip", "-4", "route"]).stdout
    on_mesh = host.run(["ip", "-6", "route", "show", "dev", MESH]).stdout
    assert "fd00" not in on_mesh


def test_what_came_over_the_physical_network_is_answered_there(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh, announced=["192.168.7.0/24"])
    host.run(["ip", "address", "add", "192.168.7.1/24", "dev", "eth0"])

    assert way(host, COORDINATOR, "from", host.address(4)) == "eth0"
    assert way(host, "2001:db8:1::1", "from", "fd00::1") != MESH
    # A peer accepts packets from what this node announces, so they go to it.
    assert way(host, COORDINATOR, "from", "192.168.7.1") == MESH
    assert way(host, INSIDE, "from", "100.64.0.1") == MESH
    assert way(host, INSIDE6, "from", "fd00::1") == MESH


def test_in_strict_mode_the_way_back_is_the_way_by_which_packets_came(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh)
    host.namespace.set_sysctl(
        {"net.ipv4.conf.all.rp_filter": 1, "net.ipv4.conf.eth0.rp_filter": 1}
    )

    assert comes_in(host, COORDINATOR, host.address(4), "eth0")
    assert comes_in(host, INSIDE, "100.64.0.1", MESH)
    assert not comes_in(host, INSIDE, "100.64.0.1", "eth0")


def test_the_machines_own_networks_keep_their_meaning(
    host: Host, mesh: MeshInterface
) -> None:
    host.run(["ip", "route", "add", "192.0.0.0/20", "via", "192.0.2.254"])
    outcome = configure(host, mesh, "192.0.0.0/16", "192.0.0.0/20")

    assert way(host, "192.0.2.7") == way(host, "192.0.2.254") == "eth0"
    assert way(host, "192.0.0.1") == "eth0"
    assert way(host, "192.0.99.1") == MESH
    assert outcome.shadowed == (ip_network("192.0.0.0/20"),)


def test_a_new_network_of_the_machine_counts_from_the_next_look_on(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh, "10.0.0.0/8")
    assert way(host, "10.7.0.9") == MESH

    host.run(["ip", "address", "add", "10.7.0.1/16", "dev", "eth0"])
    assert host.call(mesh.settle).restored == []

    assert way(host, "10.7.0.9") == "eth0"
    assert way(host, "10.8.0.9") == MESH


def test_where_the_mesh_has_the_lans_network_peers_are_reached(
    host: Host, mesh: MeshInterface
) -> None:
    host.run(["ip", "address", "add", "100.64.7.7/16", "dev", "eth0"])
    configure(host, mesh, f"{INSIDE}/32")

    assert way(host, INSIDE) == MESH
    assert way(host, "100.64.0.10") == "eth0"


def test_packets_to_an_address_that_nobody_has_are_refused_at_once(
    host: Host, mesh: MeshInterface
) -> None:
    mesh.want(
        replace(
            wanted("100.64.0.1/16", "fd00::1/48"),
            unreachable=(ip_network("fd00::7/128"), ip_network("100.64.0.7/32")),
        )
    )
    assert host.call(mesh.settle) == Settlement()
    for address in ("fd00::7", "100.64.0.7"):
        refused = host.run(["ip", "route", "get", address], check=False)
        assert refused.returncode == 2
        assert "No route to host" in refused.stderr
    assert way(host, INSIDE6) == MESH
    assert host.call(mesh.settle) == Settlement()


def test_the_gateway_is_not_taken_for_a_peer(host: Host, mesh: MeshInterface) -> None:
    outcome = configure(host, mesh, "192.0.2.254/32")

    assert way(host, "192.0.2.254") == "eth0"
    assert outcome.shadowed == (ip_network("192.0.2.254/32"),)


def test_what_is_no_longer_wanted_is_removed(host: Host, mesh: MeshInterface) -> None:
    configure(host, mesh)
    mesh.want(
        Configuration(
            (ip_interface("100.64.0.2/16"),), (ip_network("100.64.0.0/16"),), ()
        )
    )

    assert host.call(mesh.settle) == Settlement()

    assert "100.64.0.2/16" in shown(host, "address")
    assert "100.64.0.1/16" not in shown(host, "address")
    assert "fd00::1" not in shown(host, "address")
    assert way(host, COORDINATOR) == "eth0"
    assert way(host, INSIDE, "from", "100.64.0.2") == MESH
    assert "lookup" in rules(host, "-4")
    assert ours(host, "-6") == []


def test_what_other_programs_added_stays(host: Host, mesh: MeshInterface) -> None:
    host.run(["ip", "address", "add", "198.51.100.1/24", "dev", MESH])
    configure(host, mesh)
    mesh.want(Configuration())
    host.call(mesh.settle)

    assert "198.51.100.1/24" in shown(host, "address")


@pytest.mark.parametrize(
    ("damage", "restored"),
    [
        (["ip route flush dev meshwg0 table all"], "the route to 203.0.113.0/24"),
        (["ip -6 route flush dev meshwg0 table all"], "the route to fd00::/48"),
        (["ip addr flush dev meshwg0"], "the address fd00::1/48"),
        (["ip link set meshwg0 down"], "the link was down"),
        (["ip link set meshwg0 down", "ip link set meshwg0 up"], "the route to fd"),
        (["ip link set meshwg0 mtu 1280"], "the MTU was 1280"),
        ([f"ip -4 rule del priority {PRIORITY}"] * 3, "a rule"),
        ([f"ip -6 rule del priority {PRIORITY}"] * 2, "a rule"),
        (["ip rule flush", "ip rule add priority 32766 table main"], "a rule"),
    ],
)
def test_what_other_programs_remove_is_put_back(
    host: Host, mesh: MeshInterface, damage: list[str], restored: str
) -> None:
    configure(host, mesh)
    for command in damage:
        host.run(command.split())

    outcome = host.call(mesh.settle)

    assert outcome.problems == []
    assert any(restored in what for what in outcome.restored), outcome.restored
    assert f"mtu {MTU}" in shown(host, "link")
    for destination in (INSIDE, INSIDE6, COORDINATOR):
        assert way(host, destination) == MESH
    assert way(host, COORDINATOR, "mark", str(mesh.fwmark)) == "eth0"
    assert host.call(mesh.settle) == Settlement()


def test_an_exception_that_was_removed_comes_back(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh, "192.0.0.0/16")
    host.run(["ip", "route", "flush", "table", str(mesh.table)])

    host.call(mesh.settle)

    assert way(host, "192.0.2.7") == "eth0"
    assert way(host, "192.0.99.1") == MESH


def test_rules_that_would_take_everything_do_not_come_first(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh)
    # As wg-quick does for a tunnel to everywhere: the kernel chooses the priorities.
    host.run(["ip", "link", "add", "wg9", "type", "bridge"])
    host.run(["ip", "link", "set", "wg9", "up"])
    host.run(["ip", "route", "add", "default", "dev", "wg9", "table", "51820"])
    host.run(["ip", "rule", "add", "not", "fwmark", "51820", "table", "51820"])
    suppress = ["suppress_prefixlength", "0"]
    host.run(["ip", "rule", "add", "table", "main", *suppress])
    assert way(host, INSIDE) == "wg9"

    host.call(mesh.settle)

    assert way(host, INSIDE) == way(host, COORDINATOR) == MESH
    assert way(host, "198.51.100.1") == "wg9"
    assert way(host, COORDINATOR, "mark", str(mesh.fwmark)) == "wg9"

    host.run(["ip", "rule", "del", "not", "fwmark", "51820", "table", "51820"])
    host.call(mesh.settle)
    assert all(rule["priority"] == PRIORITY for rule in ours(host, "-4"))


def test_a_vpns_own_routes_to_single_machines_are_kept(
    host: Host, mesh: MeshInterface
) -> None:
    host.run(["ip", "link", "add", "ts9", "type", "bridge"])
    host.run(["ip", "link", "set", "ts9", "up"])
    host.run(["ip", "route", "add", "100.64.5.5/32", "dev", "ts9", "table", "52"])
    host.run(["ip", "rule", "add", "priority", "5270", "table", "52"])

    configure(host, mesh)

    assert way(host, "100.64.5.5") == "ts9"
    assert way(host, INSIDE) == MESH


def test_two_nodes_on_a_machine_do_without_each_other(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh)
    host.run(["ip", "tuntap", "add", "meshwg1", "mode", "tun"])
    second = host.call(lambda: MeshInterface("meshwg1", MTU))
    second.want(wanted("100.65.0.1/16", "fd01::1/48"))
    host.call(second.settle)

    assert (mesh.fwmark, second.fwmark) == (mark_of(MARKS[0]), mark_of(MARKS[1]))
    assert way(host, "100.65.0.9") == "meshwg1"
    assert way(host, INSIDE) == MESH
    assert host.call(mesh.settle) == host.call(second.settle) == Settlement()

    host.call(mesh.close)
    assert way(host, "100.65.0.9") == way(host, "fd01::9") == "meshwg1"
    assert way(host, COORDINATOR, "mark", str(second.fwmark)) == "eth0"
    host.call(second.close)
    assert ours(host, "-4") == ours(host, "-6") == []


def test_what_a_killed_node_left_is_removed_by_the_next_one(
    host: Host, mesh: MeshInterface
) -> None:
    configure(host, mesh, "192.0.0.0/16")
    host.run(["ip", "link", "del", MESH])
    assert ours(host, "-4") != []

    host.run(["ip", "tuntap", "add", "other0", "mode", "tun"])
    other = host.call(lambda: MeshInterface("other0", MTU))

    assert {rule["table"] for rule in ours(host, "-4")} == {str(other.table)}
    assert table(host, mesh.table) == ""
    host.call(other.close)


def test_once_closed_nothing_is_left(host: Host, mesh: MeshInterface) -> None:
    configure(host, mesh, "192.0.0.0/16")

    host.call(mesh.close)

    assert ours(host, "-4") == ours(host, "-6") == []
    assert table(host, mesh.table) == ""


def test_without_ipv6_there_is_ipv4(host: Host, mesh: MeshInterface) -> None:
    host.namespace.set_sysctl({f"net.ipv6.conf.{MESH}.disable_ipv6": 1})

    assert configure(host, mesh) == Settlement()

    assert not host.call(mesh.has_ipv6)
    assert "100.64.0.1/16" in shown(host, "address")
    assert way(host, INSIDE) == MESH
    assert ours(host, "-6") == []

    host.namespace.set_sysctl({f"net.ipv6.conf.{MESH}.disable_ipv6": 0})
    host.call(mesh.settle)
    assert way(host, INSIDE6) == MESH


def test_without_rules_routes_stand_where_all_packets_see_them(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_rules(monkeypatch):
        mesh = host.call(lambda: MeshInterface(MESH, MTU))
    host.run(["ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.254"])

    outcome = configure(host, mesh, "10.0.0.0/8")

    assert not mesh.is_apart
    assert "Operation not supported" in mesh.refusal
    assert outcome.shadowed == (ip_network("10.0.0.0/8"),)
    assert way(host, INSIDE) == way(host, COORDINATOR) == MESH
    assert way(host, "10.0.0.1") == "eth0"
    assert host.call(mesh.settle) == outcome
    mesh.want(Configuration())
    host.call(mesh.settle)
    assert way(host, INSIDE) == "eth0"
    host.call(mesh.close)


def test_what_the_system_refuses_is_named(host: Host, mesh: MeshInterface) -> None:
    host.run(["ip", "link", "del", MESH])

    outcome = configure(host, mesh)

    assert outcome.problems[0].what == "the address 100.64.0.1/16"
    assert outcome.problems[0].reason == "No such device"


ELSEWHERE, ELSEWHERE6 = "198.51.100.1", "2001:db8:1::1"


def test_with_an_exit_all_goes_into_the_mesh_but_not_the_underlay(
    host: Host, mesh: MeshInterface
) -> None:
    assert use_exit(host, mesh) == Settlement()

    for destination in (ELSEWHERE, ELSEWHERE6, COORDINATOR, INSIDE):
        assert way(host, destination) == MESH
    assert way(host, ELSEWHERE, "mark", str(mesh.fwmark)) == "eth0"
    assert way(host, ELSEWHERE, "from", host.address(4)) == "eth0"
    assert way(host, "192.168.9.9") == way(host, "fd99::9") == ""
    answer = str(answer_mark(MARKS[0]))
    assert way(host, ELSEWHERE, "mark", answer) == "eth0"
    assert host.call(mesh.settle) == Settlement()


def test_a_gateway_named_without_its_interface_is_not_looked_for_at_the_exit(
    host: Host, mesh: MeshInterface
) -> None:
    use_exit(host, mesh)
    host.run(["ip", "route", "del", "default"])

    host.run(["ip", "route", "replace", "default", "via", "192.0.2.254"])

    assert "dev eth0" in host.run(["ip", "route", "show", "default"]).stdout
    assert host.call(mesh.settle) == Settlement()


def test_without_its_interface_an_exit_lets_nothing_out(
    host: Host, mesh: MeshInterface
) -> None:
    use_exit(host, mesh)
    host.run(["ip", "link", "del", MESH])

    refused = host.run(["ip", "route", "get", ELSEWHERE], check=False)
    assert "No route to host" in refused.stderr


def test_an_exit_that_went_away_leaves_no_way(host: Host, mesh: MeshInterface) -> None:
    use_exit(host, mesh)
    use_exit(host, mesh, is_there=False)

    assert way(host, ELSEWHERE) == way(host, ELSEWHERE6) == ""
    use_exit(host, mesh)
    assert way(host, ELSEWHERE) == way(host, ELSEWHERE6) == MESH


def test_the_local_network_is_reached_beside_an_exit_if_that_is_wanted(
    host: Host, mesh: MeshInterface
) -> None:
    host.run(["ip", "address", "add", "192.168.9.1/24", "dev", "eth0"])
    use_exit(host, mesh)
    assert way(host, "192.168.9.9") == ""

    use_exit(host, mesh, lan=True)
    assert way(host, "192.168.9.9") == "eth0"
    assert way(host, "192.168.8.9") == ""


def test_without_an_exit_all_is_as_before(host: Host, mesh: MeshInterface) -> None:
    use_exit(host, mesh)
    assert configure(host, mesh) == Settlement()

    assert way(host, ELSEWHERE) == "eth0"
    assert "unreachable" not in table(host, mesh.table)
    assert host.call(mesh.settle) == Settlement()


def use_exit(
    host: Host, mesh: MeshInterface, *, is_there: bool = True, lan: bool = False
) -> Settlement:
    configuration = wanted("100.64.0.1/16", "fd00::1/48", more=[BEHIND])
    mesh.want(replace(configuration, exit=ExitRoutes(is_there, lan)))
    return host.call(mesh.settle)


def wanted(
    *addresses: str, more: Iterable[str] = (), announced: Iterable[str] = ()
) -> Configuration:
    interfaces = tuple(ip_interface(each) for each in addresses)
    return Configuration(
        interfaces,
        tuple(each.network for each in interfaces)
        + tuple(ip_network(each) for each in more),
        tuple(ip_network(each) for each in announced),
    )


def configure(
    host: Host, mesh: MeshInterface, *more: str, announced: Iterable[str] = ()
) -> Settlement:
    """Have two addresses, a network behind a peer, and more of them."""
    mesh.want(
        wanted("100.64.0.1/16", "fd00::1/48", more=(BEHIND, *more), announced=announced)
    )
    return host.call(mesh.settle)


@contextmanager
def without_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the system have no policy routing."""

    def refuse(rule: object) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patch:
        patch.setattr(rtnetlink, "add_rule", refuse)
        yield


def way(host: Host, destination: str, *more: str) -> str:
    """Return the interface by which packets to somewhere leave."""
    command = ["ip", "-json", "route", "get", destination, *more]
    found = json.loads(host.run(command, check=False).stdout or "[{}]")
    return str(found[0].get("dev", ""))


def comes_in(host: Host, source: str, destination: str, interface: str) -> bool:
    """Tell whether the kernel takes a packet that arrives on an interface."""
    command = ["ip", "route", "get", destination, "from", source, "iif", interface]
    return host.run(command, check=False).returncode == 0


def shown(host: Host, what: str) -> str:
    return host.run(["ip", what, "show", "dev", MESH]).stdout


def rules(host: Host, family: str) -> str:
    return host.run(["ip", family, "rule"]).stdout


def ours(host: Host, family: str) -> list[dict[str, object]]:
    """Return the rules that nodes made."""
    found = json.loads(host.run(["ip", family, "-json", "-details", "rule"]).stdout)
    return [rule for rule in found if str(rule.get("protocol")) == "77"]


def table(host: Host, number: int) -> str:
    command = ["ip", "route", "show", "table", str(number)]
    return host.run(command, check=False).stdout
