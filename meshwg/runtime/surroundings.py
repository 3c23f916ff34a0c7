"""The network that a host is in, and its addresses, the likeliest to serve first."""

from collections import Counter
from collections.abc import Container, Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from meshwg.routing import INTERFACE_MASK, MAIN_TABLE, PROTOCOL, Action, interface_of
from meshwg.runtime.rtnetlink import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    IFF_UP,
    SCOPE_LINK,
    KernelAddress,
    KernelLink,
    KernelRoute,
    Snapshot,
)

_MOST = 3
"""Bits of a prefix that holds most of the internet: VPNs have two routes with one bit,
or 2000::/3, where they leave the default route alone."""
_UNUSABLE = IFA_F_TENTATIVE | IFA_F_DEPRECATED | IFA_F_DADFAILED


class Network(NamedTuple):
    """The network that the host is in."""

    addresses: tuple[str, ...]
    """Those at which other machines may reach this one, the likeliest first: without
    loopback, link-local ones, interfaces that are down, and those of meshes."""
    networks: tuple[str, ...]
    """The networks of these addresses, and of those of other meshes."""
    default_routes: tuple[tuple[int, str], ...]
    """Interface and gateway of each, the preferred one first."""
    outer: int = 0
    """How many of the addresses, the first ones, are neither inside this machine nor in
    tunnels."""
    tunnels: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Interfaces of other programs' tunnels, by number, and the addresses there. One
    with a default route is an uplink instead."""

    carriers: tuple[int, ...] = ()
    """Interfaces that some table sends most of the internet to, as VPNs have it."""

    def is_elsewhere(self, before: "Network") -> bool:
        """Tell whether the machine's own ways out are others than before."""
        return self._ways_out() != before._ways_out()

    def _ways_out(self) -> tuple[object, ...]:
        return self.default_routes, self.carriers, self.addresses[: self.outer]


class LinkRank(IntEnum):
    """How likely other machines are to reach an address of an interface.

    Peers look at the first few addresses only, and a machine with containers may have
    hundreds.
    """

    UPLINK = 0
    """It has the first default route of an IP version."""
    ORDINARY = 1
    """Hardware, and what is used as such."""
    INSIDE = 2
    """It leads to containers or virtual machines on this machine, or nowhere."""
    TUNNEL = 3
    """Another program's tunnel leads through it."""


_INSIDE = frozenset(("bridge", "openvswitch", "dummy", "ifb", "nlmon", "vrf"))
_TUNNELS = frozenset(
    (
        *("tun", "wireguard", "amneziawg", "ovpn", "ovpn-dco", "xfrm", "vti", "vti6"),
        *("vxlan", "geneve", "bareudp", "gre", "gretap", "erspan", "ip6gre"),
        *("ip6gretap", "ip6erspan", "ipip", "ip6tnl", "sit", "gtp", "l2tpeth"),
    )
)
"""Kinds of interfaces as the kernel calls them. ``tun`` are those of programs, as
OpenVPN, ZeroTier and Tailscale; ``ppp`` is not here since it may be a line."""


def network_in(snapshot: Snapshot, except_interface: int) -> Network:
    """Return the network that a snapshot shows."""
    meshes = {except_interface & INTERFACE_MASK, *_meshes_in(snapshot)}
    links = {
        link.number: link
        for link in snapshot.links
        if is_usable(link) and link.number != except_interface
    }
    defaults = _defaults_in(snapshot, meshes)
    usable = _usable_in(snapshot, links)
    uplinks, gateways = _first_of_each_version(defaults, links)
    ranks = {number: _rank(link, uplinks) for number, link in links.items()}
    ordered = _by_likelihood(usable, ranks, gateways)
    reachable = [each for each in ordered if each.link & INTERFACE_MASK not in meshes]
    tunnels = {number for number, rank in ranks.items() if rank is LinkRank.TUNNEL}
    carriers = _carriers(snapshot)
    tunnels -= carriers
    return Network(
        tuple(str(each.interface.ip) for each in reachable),
        tuple(dict.fromkeys(str(each.interface.network) for each in ordered)),
        tuple((route.link, route.gateway) for route in defaults),
        sum(ranks[each.link] < LinkRank.INSIDE for each in reachable),
        tuple((number, _addresses_of(number, ordered)) for number in sorted(tunnels)),
        tuple(sorted(carriers)),
    )


def _addresses_of(link: int, addresses: list[KernelAddress]) -> tuple[str, ...]:
    return tuple(str(each.interface.ip) for each in addresses if each.link == link)


def _usable_in(snapshot: Snapshot, links: Container[int]) -> list[KernelAddress]:
    """Return the addresses of some interfaces that others may reach."""
    return [
        each
        for each in snapshot.addresses
        if each.link in links and each.scope < SCOPE_LINK and not each.flags & _UNUSABLE
    ]


def _defaults_in(snapshot: Snapshot, meshes: Container[int]) -> list[KernelRoute]:
    """Return the default routes that lead into no mesh, the preferred one first."""
    found = [
        route
        for route in snapshot.routes
        if route.table == MAIN_TABLE
        and not route.prefix.prefixlen
        and route.link & INTERFACE_MASK not in meshes
        and route.action == Action.UNICAST
    ]
    return sorted(found, key=lambda each: (each.metric, each.link, each.gateway))


def _meshes_in(snapshot: Snapshot) -> Iterator[int]:
    """Yield the interfaces of nodes, by the lower bits of their numbers.

    What goes to an address there would go through another mesh.
    """
    rules = (rule for rules in snapshot.rules.values() for rule in rules)
    tables = {rule.table for rule in rules if rule.is_ours}
    for route in snapshot.routes:
        if route.protocol == PROTOCOL:
            tables.add(route.table)
            if route.link:
                yield route.link & INTERFACE_MASK
    for table in tables:
        number = interface_of(table)
        if number is not None:
            yield number


def _carriers(snapshot: Snapshot) -> set[int]:
    """Return the interfaces that some table sends most of the internet to."""
    return {
        route.link
        for route in snapshot.routes
        if route.prefix.prefixlen <= _MOST
        and route.action == Action.UNICAST
        and interface_of(route.table) is None
    }


def _by_likelihood(
    usable: list[KernelAddress],
    ranks: dict[int, LinkRank],
    gateways: list[IPv4Address | IPv6Address],
) -> list[KernelAddress]:
    """Return addresses in the order in which others may reach them.

    Those beside the gateway come first, and within a rank both IP versions take turns.
    """
    keys = {}
    for each in usable:
        beside = any(gateway in each.interface.network for gateway in gateways)
        rank = ranks[each.link]
        keys[each] = (
            rank,
            not (rank is LinkRank.UPLINK and beside),
            each.flags & IFA_F_SECONDARY,
            each.interface.version,
            int(each.interface.ip),
        )
    seen: Counter[tuple[int, int]] = Counter()
    order = {}
    for each in sorted(usable, key=keys.__getitem__):
        group = keys[each][0], each.interface.version
        order[each] = (group[0], seen[group], group[1])
        seen[group] += 1
    return sorted(order, key=order.__getitem__)


def _first_of_each_version(
    defaults: list[KernelRoute], links: dict[int, KernelLink]
) -> tuple[set[int], list[IPv4Address | IPv6Address]]:
    """Return interfaces and gateways of the first default routes not in tunnels."""
    first: dict[int, KernelRoute] = {}
    for route in defaults:
        link = links.get(route.link)
        if link is not None and link.kind not in _TUNNELS:
            first.setdefault(route.prefix.version, route)
    gateways = [ip_address(each.gateway) for each in first.values() if each.gateway]
    return {each.link for each in first.values()}, gateways


def _rank(link: KernelLink, uplinks: set[int]) -> LinkRank:
    if link.kind in _TUNNELS:
        return LinkRank.TUNNEL
    if link.number in uplinks:
        return LinkRank.UPLINK
    return LinkRank.INSIDE if link.kind in _INSIDE else LinkRank.ORDINARY


def is_usable(link: KernelLink) -> bool:
    """Tell whether an interface is up and leads anywhere."""
    return bool(link.flags & IFF_UP and not link.flags & IFF_LOOPBACK)
