"""Plain WireGuard peers that this node was told of on its own machine.

No coordinator knows of them: whoever embeds the node says which ones there are. To the
node each is as a plain peer whose hub it is itself: a key, the networks behind it, and
wherever it was last heard from. What the mesh has, they do not get: a key that becomes
a member's is a static peer no longer.
"""

from collections.abc import Iterable

from meshwg.peer import PLAIN, MeshPeer
from meshwg.staticpeer import StaticPeer
from meshwg.wire.control import PeerEntry
from meshwg.wireguard.device import Device

KEEPALIVE = 25
"""Seconds between two messages to each, so that it reaches this node through a NAT, as
WireGuard's own documentation has it."""


def entry_of(static: StaticPeer, own_key: str) -> PeerEntry:
    """Return a static peer as a netmap would have it.

    :param own_key: the public key of this node.
    """
    return PeerEntry(
        public_key=static.public_key,
        name=static.name,
        addresses=(),
        version=0,
        online=True,
        role=PLAIN,
        routes=static.networks,
        via=own_key,
    )


class StaticPeers:
    """The static peers of one node."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[str, StaticPeer] = {}

    def change(
        self, wanted: Iterable[StaticPeer]
    ) -> tuple[list[StaticPeer], list[str]]:
        """Have these, and no others; return those with news, and keys that are gone."""
        before = self._known
        self._known = {each.public_key: each for each in wanted}
        news = [each for k, each in self._known.items() if before.get(k) != each]
        return news, [key for key in before if key not in self._known]

    def forget(self, key: str) -> bool:
        """Take note that a key is a member's now; return whether it was one of them."""
        return self._known.pop(key, None) is not None

    def steer(self, static: StaticPeer, peer: MeshPeer, now: float) -> None:
        """Send to a peer where it is said to be, and let it hear of this node."""
        self._device.set_endpoint(peer.tunnel, static.endpoint)
        self._device.set_persistent_keepalive(peer.tunnel, KEEPALIVE, now)
