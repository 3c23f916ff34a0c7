"""Paths that lead through another tunnel: of a VPN, or of another mesh.

They answer at once, since no NAT is in their way, and look like the nearest of all.
But what such a tunnel runs over may be this mesh, and where it does not, there is a
way around it. So they are the last choice: they do not count as direct paths when it
comes to whether one is to be looked for, and they carry data only if they are clearly
faster than what there is.

A path leads through a tunnel if it leaves over the interface of one, or if the peer
says that it has the address on one. A tunnel that has a default route is none here:
everything runs through it, the relay, too.
"""

from dataclasses import dataclass

from meshwg.transmit import Endpoint

PATIENCE = 3.0
"""Seconds from the first answer through a tunnel, or from the loss of a direct path, to
when the tunnel may be used instead of the relay: by then other ways have answered, and
a tunnel that runs over this mesh has not."""

LIMIT = 16
"""Addresses in tunnels that a peer may have."""


@dataclass(slots=True)
class OwnTunnels:
    """The tunnels that end at this machine."""

    interfaces: frozenset[int] = frozenset()
    """Their numbers."""
    addresses: frozenset[str] = frozenset()
    """This machine's addresses there."""


class Tunnels:
    """Tells which paths to one peer lead through tunnels.

    :param own: shared by the agents of a node, and kept up to date by it.
    :ivar peers: the peer's addresses that are in tunnels.
    """

    def __init__(self, own: OwnTunnels | None = None) -> None:
        self.own = own or OwnTunnels()
        self.peers: frozenset[str] = frozenset()

    def carry(self, endpoint: Endpoint) -> bool:
        """Tell whether a tunnel leads to an endpoint, as far as is known."""
        source = endpoint.source
        leaves_by_one = source is not None and source.interface in self.own.interfaces
        return leaves_by_one or endpoint.host in self.peers
