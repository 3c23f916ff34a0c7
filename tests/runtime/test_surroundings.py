"""Which addresses of a host others may reach it at, and in which order."""

import json
from ipaddress import ip_interface, ip_network

import pytest

from meshwg.routing import MAIN_TABLE, PROTOCOL, Action, RoutingRule, table_of
from meshwg.runtime.rtnetlink import (
    IFA_F_SECONDARY,
    IFF_UP,
    SCOPE_LINK,
    SCOPE_UNIVERSE,
    KernelAddress,
    KernelLink,
    KernelRoute,
    Snapshot,
    take_snapshot,
)
from meshwg.runtime.surroundings import Network, network_in
from netlab.lab import Lab
from netlab.machine import Host

OWN = 99


def test_the_uplink_comes_first_and_tunnels_come_last() -> None:
    machine = Machine()
    machine.add("docker0", "bridge", "172.17.0.1/16")
    machine.add("wg0", "wireguard", "10.0.0.1/24")
    machine.add("eth1", "", "10.1.0.1/24")
    machine.add("eth0", "", "192.168.1.2/24", gateway="192.168.1.1")
    machine.add("kube", "dummy", "10.96.0.1/32")

    assert machine.addresses() == (
        "192.168.1.2",
        "10.1.0.1",
        "10.96.0.1",
        "172.17.0.1",
        "10.0.0.1",
    )


@pytest.mark.parametrize("kind", ["veth", "vlan", "bond", "macvlan", "bridge"])
def test_an_uplink_of_any_kind_comes_first(kind: str) -> None:
    machine = Machine()
    machine.add("eth1", "", "10.1.0.1/24")
    machine.add("uplink", kind, "192.168.1.2/24", gateway="192.168.1.1")

    assert machine.addresses() == ("192.168.1.2", "10.1.0.1")


@pytest.mark.parametrize("kind", ["tun", "wireguard", "vxlan", "gre", "sit", "xfrm"])
def test_a_tunnel_is_no_uplink(kind: str) -> None:
    machine = Machine()
    machine.add("vpn", kind, "10.0.0.1/24", gateway="10.0.0.2", metric=0)
    machine.add("br0", "bridge", "192.168.1.2/24", gateway="192.168.1.1", metric=50)

    assert machine.addresses() == ("192.168.1.2", "10.0.0.1")


def test_of_an_uplinks_addresses_the_one_beside_the_gateway_comes_first() -> None:
    machine = Machine()
    extra = [f"10.0.{n}.1/24" for n in range(20)]
    machine.add("eth0", "", *extra, "192.168.1.2/24", gateway="192.168.1.1")

    assert machine.addresses()[0] == "192.168.1.2"


def test_both_ip_versions_are_among_the_first() -> None:
    machine = Machine()
    ipv4 = [f"192.168.1.{n}/24" for n in range(2, 152)]
    ipv6 = [f"2001:db8::{n:x}/64" for n in range(2, 152)]
    machine.add("eth0", "", *ipv4, *ipv6, gateway="192.168.1.1")

    assert machine.addresses()[:4] == (
        "192.168.1.2",
        "2001:db8::2",
        "192.168.1.3",
        "2001:db8::3",
    )


def test_first_addresses_come_before_secondary_and_temporary_ones() -> None:
    machine = Machine()
    machine.add("eth0", "", "2001:db8::1/64", flags=IFA_F_SECONDARY)
    machine.add("eth0", "", "2001:db8::2/64")

    assert machine.addresses() == ("2001:db8::2", "2001:db8::1")


@pytest.mark.parametrize("is_apart", [True, False])
def test_another_mesh_is_no_way_to_this_machine(is_apart: bool) -> None:
    machine = Machine()
    machine.add("eth0", "", "192.168.1.2/24")
    other = machine.add("meshwg1", "tun", "100.64.0.5/10")
    if is_apart:
        machine.rules.append(RoutingRule(4, 5100, table_of(other), is_ours=True))
    else:
        machine.route("100.64.0.0/10", other, protocol=PROTOCOL)

    network = machine.network()

    assert network.addresses == ("192.168.1.2",)
    assert "100.64.0.0/10" in network.networks, "it may be this mesh's, too"


def test_tunnels_are_told_with_their_addresses() -> None:
    machine = Machine()
    machine.add("eth0", "", "192.168.1.2/24", gateway="192.168.1.1")
    vpn = machine.add("wg0", "wireguard", "10.0.0.1/24")
    mesh = machine.add("meshwg1", "tun", "100.64.0.5/10")
    machine.rules.append(RoutingRule(4, 5100, table_of(mesh), is_ours=True))

    assert machine.network().tunnels == (
        (vpn, ("10.0.0.1",)),
        (mesh, ("100.64.0.5",)),
    )


@pytest.mark.parametrize("prefix", ["0.0.0.0/0", "128.0.0.0/1", "2000::/3"])
@pytest.mark.parametrize("table", [MAIN_TABLE, 51820])
def test_a_tunnel_for_everything_is_the_way_out(prefix: str, table: int) -> None:
    machine = Machine()
    vpn = machine.add("wg0", "wireguard", "10.0.0.1/24")
    before = machine.network()
    machine.route(prefix, vpn, table=table)

    assert machine.network().tunnels == ()
    assert machine.network().is_elsewhere(before)


def test_containers_that_come_and_go_leave_the_machine_where_it_is() -> None:
    machine = Machine()
    machine.add("eth0", "", "192.168.1.2/24", gateway="192.168.1.1")
    before = machine.network()
    machine.add("docker0", "bridge", "172.17.0.1/16")
    machine.add("wg0", "wireguard", "10.0.0.1/24")
    now = machine.network()
    machine.add("eth1", "", "10.1.0.1/24")

    assert now != before
    assert not now.is_elsewhere(before)
    assert machine.network().is_elsewhere(now)


def test_neither_loopback_nor_link_local_addresses_nor_the_own_ones_count() -> None:
    machine = Machine()
    machine.add("eth0", "", "fe80::1/64", scope=SCOPE_LINK)
    machine.add("down0", "", "10.0.0.1/24", is_up=False)
    machine.add("meshwg0", "tun", "100.64.0.1/10", number=OWN)

    assert machine.network() == Network((), (), ())


# On a real host


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host(
        "host", lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    )


@pytest.mark.netns
def test_surrounding_addresses_are_those_that_others_can_reach(host: Host) -> None:
    for name, address in (("mesh0", "100.64.0.1/16"), ("off0", "198.51.100.1/24")):
        host.run(["ip", "link", "add", name, "type", "bridge"])
        host.run(["ip", "address", "add", address, "dev", name])
    host.run(["ip", "link", "set", "mesh0", "up"])
    host.run(["ip", "route", "add", "default", "via", "192.0.2.254"])

    network = surroundings(host, "mesh0")

    assert network.addresses == (host.address(4), host.address(6))
    assert network.networks == ("192.0.2.0/24", "2001:db8::/64")
    assert network.default_routes == ((number(host, "eth0"), "192.0.2.254"),)


@pytest.mark.netns
def test_of_two_default_routes_the_preferred_one_comes_first(host: Host) -> None:
    seen = []
    for first, second in ((100, 200), (200, 100)):
        host.run(["ip", "route", "flush", "default"])
        for gateway, metric in (("192.0.2.254", first), ("192.0.2.253", second)):
            route = ["ip", "route", "add", "default", "via", gateway]
            host.run([*route, "metric", str(metric)])
        found = surroundings(host, "lo")
        seen.append([gateway for _, gateway in found.default_routes])

    assert seen == [["192.0.2.254", "192.0.2.253"], ["192.0.2.253", "192.0.2.254"]]


class Machine:
    """What the kernel would say of a machine."""

    def __init__(self) -> None:
        self.links: dict[str, KernelLink] = {}
        self.rules: list[RoutingRule] = []
        self._addresses: list[KernelAddress] = []
        self._routes: list[KernelRoute] = []

    def add(
        self,
        name: str,
        kind: str,
        *addresses: str,
        gateway: str | None = None,
        metric: int = 100,
        scope: int = SCOPE_UNIVERSE,
        flags: int = 0,
        is_up: bool = True,
        number: int | None = None,
    ) -> int:
        """Give the machine an interface, or an interface more addresses."""
        number = number or len(self.links) + 1
        link = KernelLink(number, name, IFF_UP if is_up else 0, 1500, kind)
        number = self.links.setdefault(name, link).number
        self._addresses += [
            KernelAddress(number, ip_interface(each), scope, flags)
            for each in addresses
        ]
        if gateway is not None:
            self.route("0.0.0.0/0", number, gateway=gateway, metric=metric)
        return number

    def route(
        self,
        prefix: str,
        link: int,
        *,
        gateway: str = "",
        metric: int = 0,
        protocol: int = 3,
        table: int = MAIN_TABLE,
    ) -> None:
        """Give the machine a route."""
        where = table, ip_network(prefix), link, gateway, metric
        self._routes.append(KernelRoute(*where, Action.UNICAST, None, protocol))

    def network(self) -> Network:
        rules = {4: self.rules, 6: []}
        return network_in(
            Snapshot(list(self.links.values()), self._addresses, self._routes, rules),
            OWN,
        )

    def addresses(self) -> tuple[str, ...]:
        return self.network().addresses


def surroundings(host: Host, own: str) -> Network:
    index = number(host, own)
    return host.call(lambda: network_in(take_snapshot(), index))


def number(host: Host, interface: str) -> int:
    shown = host.run(["ip", "-json", "link", "show", "dev", interface]).stdout
    return int(json.loads(shown)[0]["ifindex"])
