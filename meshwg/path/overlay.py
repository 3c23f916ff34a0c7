"""What leads into the mesh: a tunnel must not run through itself.

Where the runtime keeps the underlay apart, only the mesh's own networks do: datagrams
to what peers announce go past the mesh, whatever the routes say. Elsewhere:

A node may announce the network that it is in, or one on its bridge. Its own address
in there is a good candidate for its neighbours; everybody else would send the check
through the mesh, to that very node: it would be answered, and seem the nearest of all.
"""

import ipaddress
from collections.abc import Iterable

from meshwg import prefixes

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Overlay:
    """The addresses that this machine reaches through the mesh.

    :ivar mesh: the mesh's own networks.
    :ivar collisions: those of them that overlap networks which the machine is in.
    :ivar routes: what to route to peers: not the very networks that the machine is in.
    :ivar hidden: what peers announce and is not routed to them.
    """

    def __init__(self, mesh: Iterable[IPNetwork] = ()) -> None:
        self.mesh = tuple(mesh)
        self._own: dict[IPNetwork, None] = {}
        self._announced: dict[IPNetwork, None] = {}
        self._is_apart = False
        self._settle()

    @property
    def own(self) -> tuple[IPNetwork, ...]:
        """The networks that the machine is in itself."""
        return tuple(self._own)

    def set_apart(self, is_apart: bool) -> None:
        """Know whether the node's own datagrams never go where routes to peers lead."""
        self._is_apart = is_apart
        self._settle()

    def set_mesh(self, networks: Iterable[IPNetwork]) -> None:
        """Know these to be the mesh's own networks."""
        self.mesh = tuple(networks)
        self._settle()

    def set_own(self, networks: Iterable[str]) -> None:
        """Know the machine to be in these networks itself, and not through the mesh."""
        self._own = _parse(networks)
        self._settle()

    def announce(self, routes: Iterable[str]) -> None:
        """Know these networks to be behind peers, and no others."""
        announced = _parse(routes)
        if announced != self._announced:
            self._announced = announced
            self._settle()

    def _settle(self) -> None:
        own, announced = self._own, self._announced
        self.routes = tuple(each for each in announced if each not in own)
        self.hidden = tuple(each for each in announced if each in own)
        shared = [each for each in own if each.prefixlen < each.max_prefixlen]
        self.collisions = tuple(
            each for each in self.mesh if any(_overlap(each, other) for other in shared)
        )
        routes = () if self._is_apart else self.routes
        self._inside = _Prefixes((*self.mesh, *routes))
        self._outside = _Prefixes(own)

    def __contains__(self, address: object) -> bool:
        """Tell whether packets to an address go into the mesh: the longest prefix wins.

        :param address: an :data:`IPAddress`; nothing else is ever inside.
        """
        if not isinstance(address, IPAddress):
            return False
        inside = self._inside.longest(address)
        return inside is not None and inside > (self._outside.longest(address) or 0)


class _Prefixes:
    """Networks by length: peers may announce thousands, in few different lengths."""

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        self._by_length: dict[tuple[int, int], set[int]] = {}
        for each in networks:
            host_bits = each.max_prefixlen - each.prefixlen
            known = self._by_length.setdefault((each.version, each.prefixlen), set())
            known.add(int(each.network_address) >> host_bits)

    def longest(self, address: IPAddress) -> int | None:
        """Return the length of the longest prefix that an address has, if any."""
        bits, number = address.max_prefixlen, int(address)
        lengths = (
            length
            for (version, length), known in self._by_length.items()
            if version == address.version and number >> (bits - length) in known
        )
        return max(lengths, default=None)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and one.overlaps(other)
    return isinstance(other, ipaddress.IPv6Network) and one.overlaps(other)


def _parse(networks: Iterable[str]) -> dict[IPNetwork, None]:
    """Return networks, each once and in their order."""
    return dict.fromkeys(map(prefixes.network, networks))
