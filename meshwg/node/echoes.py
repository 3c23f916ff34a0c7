"""Echo requests of the node's own, by which ``meshwg ping`` asks through a tunnel."""

from collections import deque

from meshwg.node.events import EchoReceived, NodeEvent
from meshwg.node.members import Members
from meshwg.packet.icmp import echo_request, parse_echo_reply
from meshwg.peer import MeshPeer
from meshwg.transmit import Random
from meshwg.wireguard.datapath import Datapath

PAYLOAD = 32
"""Bytes of an echo request's payload, which is random."""


class Echoes:
    """Which echo replies are expected; those never reach the interface.

    :param events: where the answers are put.
    """

    def __init__(
        self,
        datapath: Datapath,
        members: Members,
        events: deque[NodeEvent],
        random: Random,
    ) -> None:
        self._datapath = datapath
        self._members = members
        self._events = events
        self._random = random
        self._identifiers: dict[int, None] = {}

    def request(self, peer: MeshPeer, identifier: int, sequence: int) -> bytes | None:
        """Return an echo request to a peer, and expect replies with its identifier.

        ``None`` means that one of the two nodes has no IPv4 address in the mesh.
        """
        own = next((a for a in self._members.own_addresses() if ":" not in a), None)
        other = next((a for a in peer.entry.addresses if ":" not in a), None)
        if own is None or other is None:
            return None
        self._identifiers[identifier] = None
        self._datapath.intercept_echoes(frozenset(self._identifiers))
        payload = self._random(PAYLOAD)
        return echo_request(own, other, identifier, sequence, payload)

    def end(self, identifier: int) -> None:
        """Expect no more replies with this identifier."""
        self._identifiers.pop(identifier, None)
        self._datapath.intercept_echoes(frozenset(self._identifiers))

    def drain(self) -> None:
        """Tell of the replies that the data path kept."""
        if not self._identifiers:
            return
        for packet in self._datapath.take_echoes():
            reply = parse_echo_reply(packet)
            if reply is not None:
                _, identifier, sequence = reply
                self._events.append(EchoReceived(identifier, sequence))
