"""What leads into the mesh: a tunnel must not run through itself.

A node may announce the network that it is in, or one on its bridge. Its own address
in there is a good candidate for its neighbours; everybody else would send the check
through the mesh, to that very node: it would be answered, and be the nearest of all.
"""

import ipaddress
from collections.abc import Iterable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Overlay:
    """The addresses that this machine reaches through the mesh.

    :ivar mesh: the mesh's own networks.
    :ivar own: networks that the machine is in itself, and not through the mesh.
    """

    def __init__(self, mesh: Iterable[IPNetwork] = ()) -> None:
        self.mesh = frozenset(mesh)
        self.own: frozenset[IPNetwork] = frozenset()
        self._announced: frozenset[IPNetwork] = frozenset()

    def announce(self, routes: Iterable[str]) -> None:
        """Know these networks to be behind peers, and no others."""
        self._announced = frozenset(ipaddress.ip_network(text) for text in routes)

    @property
    def routes(self) -> frozenset[IPNetwork]:
        """What to route to peers: not the very networks that the machine is in."""
        return self._announced - self.own

    @property
    def hidden(self) -> frozenset[IPNetwork]:
        """What peers announce and is not routed to them."""
        return self._announced & self.own

    def __contains__(self, address: object) -> bool:
        """Tell whether packets to an address go into the mesh: the longest prefix wins.

        :param address: an :data:`IPAddress`; nothing else is ever inside.
        """
        if not isinstance(address, IPAddress):
            return False
        inside = _longest(address, self.mesh | self.routes)
        return inside is not None and inside > (_longest(address, self.own) or 0)


def _longest(address: IPAddress, networks: Iterable[IPNetwork]) -> int | None:
    """Return the length of the longest prefix that an address has, if any."""
    return max(
        (
            network.prefixlen
            for network in networks
            if network.version == address.version and address in network
        ),
        default=None,
    )
