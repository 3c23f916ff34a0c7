"""Echo requests of the node's own, by which ``meshwg ping`` asks through a tunnel."""

from collections import deque

from meshwg.node.events import EchoReceived, NodeEvent
from meshwg.node.hubs import Diversions
from meshwg.node.members import Members
from meshwg.packet.icmp import echo_request, parse_echo_reply
from meshwg.peer import MeshPeer
from meshwg.transmit import Random
from meshwg.wireguard.datapath import Datapath

PAYLOAD = 32
"""Bytes of an echo request's payload, which is random."""


class Echoes:
    """Which echo replies are expected; those never reach the interface.

    :param hubs: what has to know of answers that came through hubs.
    :param events: where the other answers are put.
    """

    def __init__(
        self,
        datapath: Datapath,
        members: Members,
        hubs: Diversions,
        events: deque[NodeEvent],
        random: Random,
    ) -> None:
        self._datapath = datapath
        self._members = members
        self._hubs = hubs
        self._events = events
        self._random = random
        self._identifiers: dict[int, None] = {}
        self._far_ends: int | None = None
        """The identifier of requests through hubs."""

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

    def request_far_end(self, peer: MeshPeer, sequence: int) -> bytes | None:
        """Return an echo request that shows whether a hub forwards, if one can be.

        The answer is no event: only what measures hubs is told of it.
        """
        if self._far_ends is None:
            self._far_ends = int.from_bytes(self._random(2))
        return self.request(peer, self._far_ends, sequence)

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
            if reply is None:
                continue
            source, identifier, sequence = reply
            if identifier == self._far_ends:
                self._hubs.far_ends.answered(sequence, source)
            else:
                self._events.append(EchoReceived(identifier, sequence))
