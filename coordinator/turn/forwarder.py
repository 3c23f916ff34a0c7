"""The path of packets through a relay: client to peer, and peer to client.

Data moves in batches, as the kernel's receive offload delivers them. A run of
ChannelData for one channel becomes one :class:`~meshwg.transmit.Transmit`:

* to the client of another allocation, if the peer's address is one that this server
  relays for. The packets are handed over here; no relay port has to be open;
* else to the peer, from the socket that is bound to the relayed address.
"""

from collections.abc import Sequence
from typing import Any

from coordinator.turn.allocation import Allocation, Socket
from coordinator.turn.counters import Counters, Traffic, TurnDrop
from coordinator.turn.limits import MAX_SENDERS, Limits
from coordinator.turn.table import AllocationTable
from meshwg.limits import RateLimiter
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wire.channeldata import wrap, wrap_stream
from meshwg.wire.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    Buffer,
    Class,
    Message,
    Method,
    encode,
)


class Forwarder:
    """Forwards payloads that permissions and bandwidth allow; drops the others."""

    def __init__(
        self,
        table: AllocationTable,
        limits: Limits,
        counters: Counters,
        random: Random,
    ) -> None:
        self._table = table
        self._counters = counters
        self._random = random
        rate = limits.bytes_per_second
        self._outbound = self._inbound = None
        if rate is not None:
            self._outbound = RateLimiter(rate, rate, max_keys=MAX_SENDERS)
            self._inbound = RateLimiter(rate, rate, max_keys=MAX_SENDERS)
        self._to_clients: list[Transmit] = []
        self._to_peers: list[tuple[Endpoint, Transmit]] = []

    def relay_channel_data(
        self,
        allocation: Allocation | None,
        number: int,
        payloads: Sequence[Buffer],
        now: float,
    ) -> None:
        """Carry ChannelData of a client to the peer that its channel is bound to."""
        if allocation is None:
            self._counters.drop(TurnDrop.NO_ALLOCATION, len(payloads))
            return
        peer = allocation.peer_of(number, now)
        if peer is None:
            self._counters.drop(TurnDrop.NO_CHANNEL, len(payloads))
            return
        self.relay(allocation, peer, payloads, now)

    def relay(
        self,
        allocation: Allocation,
        peer: Endpoint,
        payloads: Sequence[Buffer],
        now: float,
    ) -> None:
        """Carry packets from a client to a peer that it may talk to."""
        if self._is_too_much(self._outbound, allocation, payloads, now):
            return
        target = self._table.at(peer)
        if target is not None:
            traffic = self._counters.internal
            self._deliver(target, allocation.relayed, payloads, traffic, now)
        elif self._table.is_own_host(peer.host):
            self._counters.drop(TurnDrop.NO_ALLOCATION, len(payloads))
        elif allocation.socket is not Socket.OPEN:
            self._counters.drop(TurnDrop.NO_SOCKET, len(payloads))
        else:
            self._counters.to_peers.add(len(payloads), sum(map(len, payloads)))
            # A view dies with the receive buffer, and the socket may have to wait.
            transmit = Transmit(peer, list(map(bytes, payloads)))
            self._to_peers.append((allocation.relayed, transmit))

    def receive_from_peer(
        self, relayed: Endpoint, payloads: Sequence[Buffer], peer: Endpoint, now: float
    ) -> None:
        """Carry packets that arrived at a relayed address to its client."""
        allocation = self._table.at(relayed)
        if allocation is None:
            self._counters.drop(TurnDrop.NO_ALLOCATION, len(payloads))
        elif not self._is_too_much(self._inbound, allocation, payloads, now):
            source = Endpoint(peer.host, peer.port)
            self._deliver(allocation, source, payloads, self._counters.from_peers, now)

    def send(self, client: Endpoint, message: bytes) -> None:
        """Send a message of the server itself to a client."""
        self._to_clients.append(Transmit(client, [message]))

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what is to be sent to clients, on the link of each destination.

        To a client on a stream each item is bytes for the stream, cut between frames.
        """
        transmits, self._to_clients = self._to_clients, []
        return transmits

    def relayed_to_send(self) -> list[tuple[Endpoint, Transmit]]:
        """Return what is to be sent to peers, each from which relayed address."""
        transmits, self._to_peers = self._to_peers, []
        return transmits

    def _deliver(
        self,
        allocation: Allocation,
        peer: Endpoint,
        payloads: Sequence[Buffer],
        traffic: Traffic,
        now: float,
    ) -> None:
        """Carry packets from a peer to a client, if it talks to that peer."""
        if not allocation.permits(peer.host, now):
            self._counters.drop(TurnDrop.NO_PERMISSION, len(payloads))
            return
        traffic.add(len(payloads), sum(map(len, payloads)))
        channel = allocation.channel_of(peer, now)
        if channel is None:
            messages = [self._data_indication(peer, each) for each in payloads]
        elif allocation.stream:
            messages = [wrap_stream(channel, payloads)]
        else:
            messages = wrap(channel, payloads)
        self._to_clients.append(Transmit(allocation.client, messages))

    def _is_too_much(
        self,
        bandwidth: RateLimiter | None,
        allocation: Allocation,
        payloads: Sequence[Buffer],
        now: float,
    ) -> bool:
        """Count what one node sends, or receives; return whether to drop it."""
        if bandwidth is None:
            return False
        if bandwidth.take(allocation.node, now, sum(map(len, payloads))):
            return False
        self._counters.drop(TurnDrop.OVER_QUOTA, len(payloads))
        return True

    def _data_indication(self, peer: Endpoint, payload: Buffer) -> bytes:
        attributes: dict[Attribute, Any] = {
            Attribute.XOR_PEER_ADDRESS: peer,
            Attribute.DATA: bytes(payload),
        }
        transaction_id = self._random(TRANSACTION_ID_LENGTH)
        return encode(
            Message(Method.DATA, Class.INDICATION, transaction_id, attributes)
        )
