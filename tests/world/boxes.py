"""Boxes on the way that inspect packets, and drop some of them."""

from collections.abc import Iterable

from tests.sim.realm import Packet
from tests.world.internet import address_outside
from tests.world.node import SimNode
from tests.world.sendlog import Sent, kind_of
from tests.world.world import World

DATA = frozenset({Sent.DATA})
HANDSHAKES = frozenset({Sent.INITIATION, Sent.RESPONSE})


class Box:
    """Drops the tunnel's messages of some kinds on their direct way.

    :param kinds: what it drops; checks, and what goes to a relay, it lets pass.
    :param only_from: the one node whose messages it drops.
    :param longest: the length of messages that it lets pass all the same, in bytes.
    :param streams: whether it looks into streams, too; what it drops there comes again
        and again, and holds up all that follows.
    """

    def __init__(
        self,
        world: World,
        kinds: Iterable[Sent],
        *,
        only_from: SimNode | None = None,
        longest: int = 0,
        streams: bool = False,
    ) -> None:
        self.dropped = 0
        self.is_on = True
        self._kinds = frozenset(kinds)
        self._relays = {relay.address for relay in world.relays}
        self._only_from = only_from
        self._longest = longest
        self._streams = streams
        self._world = world
        world.network.lose = self._loses

    def _loses(self, packet: Packet) -> bool:
        ends = {packet.source[0], packet.destination[0]}
        if not self.is_on or ends & self._relays:
            return False
        if packet.tcp is not None and not self._streams:
            return False
        sender = self._only_from
        if sender is not None and packet.source[0] not in _addresses(sender):
            return False
        if len(packet.payload) <= self._longest:
            return False
        is_lost = kind_of(packet.payload) in self._kinds
        self.dropped += is_lost
        return is_lost


def _addresses(node: SimNode) -> set[str]:
    return {*node.host.addresses, address_outside(node.host)}
