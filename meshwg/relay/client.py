"""The client of one TURN server (RFC 8656): an allocation, its peers, their packets.

Theory of operation
-------------------

Packets may be sent at any time; what is sent before there is an
:mod:`allocation <meshwg.relay.allocation>` waits in a short queue.

A packet never waits for a channel. The first one to a peer follows right behind the
request that binds the channel, as a Send indication, which the permission that came
with the same request lets through. When the answer is there, runs of packets get their
ChannelData headers at C speed. Channels and permissions are renewed for peers in use,
see :mod:`meshwg.relay.peers`.

Which server to use, and when to ask whether it is alive, is decided by
:mod:`meshwg.relay.pool`.
"""

from collections import Counter, deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from meshwg.errors import InvalidMessage
from meshwg.relay.allocation import Allocated, Allocation, Event, RelayState, explain
from meshwg.relay.events import ChannelChanged
from meshwg.relay.peers import Peers, RelayPeer
from meshwg.relay.server import RelayServer, Transport
from meshwg.relay.transactions import Answer, Request, Transactions, TurnCredentials
from meshwg.transmit import UDP, Endpoint, Random, Transmit
from meshwg.wire.channeldata import (
    FIRST_CHANNEL,
    StreamFramer,
    runs,
    wrap,
    wrap_stream,
)
from meshwg.wire.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    Buffer,
    Class,
    Message,
    Method,
    encode,
    parse,
)

RENEW_AFTER = 120.0
"""Seconds between two binds of a channel in use: well below a permission's 300, and
cheap enough to survive some server's shorter ones."""
MAX_WAITING = 128
"""Packets kept for the time when there is an allocation."""


class RelayDrop(StrEnum):
    """Why something from a relay, or for a peer behind it, was dropped."""

    MALFORMED = "relay-malformed"
    """Not a well-formed message, or not one of TURN."""
    UNEXPECTED = "relay-unexpected"
    """A STUN message that is neither a Data indication nor answers a request."""
    UNKNOWN_CHANNEL = "relay-unknown-channel"
    """ChannelData on a channel that no peer is bound to."""
    QUEUE_FULL = "relay-queue-full"
    """Packets for which there was no allocation in time."""
    REFUSED = "relay-refused"
    """Packets to a peer that the server does not relay to."""


Received = list[tuple[Endpoint, list[Buffer]]]
"""Runs of packets, each with the peer they came from, on the relay's link."""


class RelayClient:
    """One allocation at one TURN server, over UDP or a stream."""

    def __init__(
        self,
        server: RelayServer,
        link: int,
        *,
        random: Random,
        ip_version: int = 4,
        renew_after: float = RENEW_AFTER,
        former: TurnCredentials | None = None,
    ) -> None:
        """Make a client that does nothing yet.

        :param link: the number that stands for this client in endpoints: peers that
            are reached through it, and the server if it is reached over a stream.
        :param ip_version: of the relayed address, where the server has a choice.
        :param former: what this node's last process may have used at the server.
        """
        self.server = server
        self.link = link
        self.is_stream = server.transport is not Transport.UDP
        self.destination = Endpoint(
            server.address, server.url.port, link if self.is_stream else UDP
        )
        self.round_trip: float | None = None
        """Seconds, smoothed."""
        self.heard_at = 0.0
        """When the server said anything last."""
        self.drops: Counter[RelayDrop] = Counter()
        self._random = random
        self._transactions = Transactions(
            TurnCredentials(server.username, server.password),
            random=random,
            reliable=self.is_stream,
        )
        self._allocation = Allocation(
            self._transactions, ip_version, server.transport, former
        )
        self._peers = Peers(link, renew_after)
        self._channels: dict[Endpoint, int] = {}
        self._channel_changes: list[ChannelChanged] = []
        self._framer = StreamFramer()
        self._waiting: deque[tuple[Endpoint, bytes]] = deque()
        self._to_send: list[bytes] = []
        self._events: deque[Event] = deque()
        self._timer: float | None = None

    @property
    def state(self) -> RelayState:
        """Whether there is an allocation."""
        return self._allocation.state

    @property
    def relayed(self) -> Endpoint | None:
        """The relayed address, the last one if there is none now."""
        return self._allocation.relayed

    @property
    def credentials(self) -> TurnCredentials:
        """What the allocation was made with, while there is one."""
        return self._transactions.credentials

    @property
    def error(self) -> str | None:
        """Why there is no allocation, in a sentence for the user."""
        return self._allocation.error

    def start(self, now: float) -> None:
        """Ask for an allocation; over a stream, when the stream is open."""
        self._framer = StreamFramer()
        self._allocation.start(now)
        self._settle(now)

    def stop(self, now: float) -> None:
        """Give the allocation back, and do nothing until the next start."""
        self._allocation.stop(now)
        self._waiting.clear()
        self._settle(now)
        self._transactions.forget_all()
        self._timer = None

    def set_credentials(self, credentials: TurnCredentials, now: float) -> None:
        """Use other credentials as soon as the present ones are no longer good."""
        if self._transactions.set_credentials(credentials):
            self.hasten(now)

    def hasten(self, now: float) -> None:
        """Make the next attempt now, if the client waits for its time."""
        self._allocation.hasten(now)
        self._settle(now)

    def connecting(self) -> None:
        """Count as connecting while the stream is opened."""
        self._allocation.state = RelayState.CONNECTING

    def probe(self, now: float) -> None:
        """Ask the server whether it and the allocation are alive."""
        if self.state is RelayState.ALLOCATED:
            self._allocation.refresh(now)
            self._settle(now)

    def seen_at(self, mapped: Endpoint, now: float) -> None:
        """Learn where the server sees this node now, outside of the allocation."""
        self._allocation.seen_at(Endpoint(mapped.host, mapped.port), now)
        self._settle(now)

    @property
    def is_probing(self) -> bool:
        """Whether the server's silence would mean that it is dead."""
        is_allocated = self.state is RelayState.ALLOCATED
        return not is_allocated or self._transactions.is_open(Method.REFRESH)

    def give_up(self, now: float) -> None:
        """Take the server for dead until it answers again."""
        self._allocation.give_up(now)
        self._settle(now)

    def silent_since(self) -> float | None:
        """Return since when an answer of the server has been outstanding."""
        oldest = self._transactions.oldest
        return None if oldest is None else max(oldest, self.heard_at)

    # Peers.

    def open(self, peer: Endpoint, now: float) -> None:
        """Keep a channel to a peer until :meth:`close`, used or not."""
        self._open(_address_of(peer), now, with_channel=True)

    def permit(self, host: str, now: float) -> None:
        """Let packets from every port of a host in until :meth:`forbid`."""
        self._open(Endpoint(host, 0), now, with_channel=False)

    def close(self, peer: Endpoint) -> None:
        """Let the channel run out once it is no longer used."""
        record = self._peers.find(_address_of(peer))
        if record is not None:
            record.is_open = False

    def forbid(self, host: str) -> None:
        """Let the permission for a host run out."""
        self.close(Endpoint(host, 0))

    def refusal_of(self, peer: Endpoint) -> str | None:
        """Return why the server does not relay to a peer, if it said so."""
        record = self._peers.find(_address_of(peer))
        return record.refusal if record is not None else None

    # Packets.

    def send(self, peer: Endpoint, datagrams: Sequence[bytes], now: float) -> None:
        """Send packets to a peer through the relay."""
        address = _address_of(peer)
        record = self._peers.find(address)
        if record is None or record.channel is None or record.bound_until <= now:
            self._send_without_channel(address, datagrams, now)
            return
        record.used_at = now
        if self.is_stream:
            self._to_send.append(wrap_stream(record.channel, datagrams))
        else:
            self._to_send += wrap(record.channel, datagrams)

    def receive(self, messages: Sequence[Buffer], now: float) -> Received:
        """Take what the server sent over UDP; return the packets in it."""
        received: Received = []
        for number, run in runs(messages):
            if number >= FIRST_CHANNEL:
                peer = self._peers.on_channel(number)
                if peer is None:
                    self.drops[RelayDrop.UNKNOWN_CHANNEL] += len(run)
                    continue
                peer.used_at = self.heard_at = now
                received.append((peer.tagged, run))
                continue
            for message in run:
                self._receive_stun(message, received, now)
        return received

    def receive_stream(self, data: Buffer, now: float) -> Received:
        """Take bytes of the stream; return the packets in them."""
        try:
            messages = self._framer.receive(data)
        except InvalidMessage:
            self.drops[RelayDrop.MALFORMED] += 1
            self.stream_closed("it carries something other than TURN", now)
            return []
        return self.receive(messages, now)

    def stream_closed(self, reason: str, now: float) -> None:
        """Learn that the stream is gone, and the allocation with it."""
        self._allocation.fail(f"The connection to the relay was lost: {reason}", now)
        self._allocation.relayed = None
        self._settle(now)

    def note_received(self, peer: Endpoint, now: float) -> None:
        """Note that packets of a peer came through its channel, opened elsewhere."""
        self.heard_at = now
        record = self._peers.find(_address_of(peer))
        if record is not None:
            record.used_at = now

    def claims(self, transaction_id: bytes) -> bool:
        """Tell whether a STUN response is one that this client waits for."""
        return self._transactions.has(transaction_id)

    # Output and time.

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what to send to the server, as one batch in order.

        For a stream each item is bytes for the stream, cut between messages.
        """
        if not self._to_send:
            return []
        datagrams, self._to_send = self._to_send, []
        return [Transmit(self.destination, datagrams)]

    def next_event(self) -> Event | None:
        """Return what happened to the allocation."""
        return self._events.popleft() if self._events else None

    def take_channel_changes(self) -> list[ChannelChanged]:
        """Return what became of channels over UDP since the last call."""
        changes, self._channel_changes = self._channel_changes, []
        return changes

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        """Retransmit, refresh, renew and retry what is due."""
        for request in self._transactions.handle_timer(now):
            self._on_timeout(request, now)
        self._allocation.handle_timer(now)
        if self.state is RelayState.ALLOCATED:
            for peer in self._peers.due(now):
                self._renew(peer, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Take what the parts have to say, after anything but plain packets."""
        self._flush_requests()
        while event := self._allocation.next_event():
            self._events.append(event)
            if isinstance(event, Allocated):
                self._on_allocated(event.is_new, now)
        self._compare_channels(now)
        deadlines = [self._transactions.get_timer(), self._allocation.get_timer()]
        if self.state is RelayState.ALLOCATED:
            deadlines.append(self._peers.next_due())
        self._timer = min(
            (each for each in deadlines if each is not None), default=None
        )

    def _compare_channels(self, now: float) -> None:
        """Note which channels were bound and lost since this was last done."""
        is_usable = self.state is RelayState.ALLOCATED and not self.is_stream
        if is_usable and not self._peers.has_changed:
            return
        self._peers.has_changed = False
        before, self._channels = self._channels, {}
        if is_usable:
            self._channels = self._peers.channels(now)
        for peer in before:
            if peer not in self._channels:
                self._note_channel(peer, None)
        for peer, number in self._channels.items():
            if number != before.get(peer):
                self._note_channel(peer, number)

    def _note_channel(self, peer: Endpoint, number: int | None) -> None:
        change = ChannelChanged(peer, self.destination, number)
        self._channel_changes.append(change)

    def _flush_requests(self) -> None:
        """Put requests among the packets, in the order in which they were made."""
        self._to_send += self._transactions.datagrams_to_send()

    def _on_allocated(self, is_new: bool, now: float) -> None:
        """Set up the peers in use, and send what waited."""
        if is_new:
            self._peers = self._peers.survivors(now)
            self._peers.has_changed = True
        else:
            self._peers.forget_requests(now)
        for peer in self._peers.due(now):
            self._renew(peer, now)
        self._flush_requests()
        waiting, self._waiting = self._waiting, deque()
        for address, datagram in waiting:
            self._send_without_channel(address, [datagram], now)

    # Sending without a channel.

    def _send_without_channel(
        self, address: Endpoint, datagrams: Sequence[bytes], now: float
    ) -> None:
        if self.state is not RelayState.ALLOCATED:
            self._keep(address, datagrams)
            return
        peer = self._peers.get(address, now)
        peer.used_at = now
        if peer.refusal is not None and now < peer.due_at:
            self.drops[RelayDrop.REFUSED] += len(datagrams)
            return
        self._renew_if_needed(peer, now)
        self._to_send += [self._send_indication(address, each) for each in datagrams]

    def _keep(self, address: Endpoint, datagrams: Sequence[bytes]) -> None:
        """Keep packets for later; of too many, the oldest are dropped."""
        self._waiting.extend((address, each) for each in datagrams)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self.drops[RelayDrop.QUEUE_FULL] += 1

    def _send_indication(self, address: Endpoint, datagram: bytes) -> bytes:
        attributes: dict[Attribute, Any] = {
            Attribute.XOR_PEER_ADDRESS: address,
            Attribute.DATA: datagram,
        }
        transaction_id = self._random(TRANSACTION_ID_LENGTH)
        return encode(
            Message(Method.SEND, Class.INDICATION, transaction_id, attributes)
        )

    # Channels and permissions.

    def _open(self, address: Endpoint, now: float, with_channel: bool) -> None:
        peer = self._peers.get(address, now, with_channel)
        peer.is_open = True
        self._renew_if_needed(peer, now)

    def _renew_if_needed(self, peer: RelayPeer, now: float) -> None:
        """Ask for what a peer lacks, unless that is under way already."""
        if self.state is not RelayState.ALLOCATED or peer.is_asking:
            return
        if peer.is_ready(now) or (peer.refusal is not None and now < peer.due_at):
            return
        self._renew(peer, now)
        self._settle(now)

    def _renew(self, peer: RelayPeer, now: float) -> None:
        """Ask for the channel of a peer, or just for the permission."""
        peer.is_asking = True
        attributes: dict[Attribute, Any] = {}
        method = Method.CREATE_PERMISSION
        if peer.channel is not None:
            attributes[Attribute.CHANNEL_NUMBER] = peer.channel
            method = Method.CHANNEL_BIND
        attributes[Attribute.XOR_PEER_ADDRESS] = peer.address
        self._transactions.start(Request(method, attributes, peer.address), now)

    def _on_renewed(self, answer: Answer, now: float) -> None:
        request, error = answer.request, answer.error
        if error is not None and error.code == 437:
            self._allocation.is_gone(error, now)
            return
        peer = self._peers.find(request.peer) if request.peer is not None else None
        if peer is None or not peer.is_asking:
            return
        if error is None:
            self._peers.renewed(peer, request.started)
        elif error.code != 400 or not self._peers.renumber(peer, now):
            self._peers.refused(peer, explain(error), now)

    def _on_timeout(self, request: Request, now: float) -> None:
        if request.peer is None:
            self._allocation.give_up(now)
            return
        peer = self._peers.find(request.peer)
        if peer is not None:
            self._peers.unanswered(peer, now)

    # Messages of the server.

    def _receive_stun(self, data: Buffer, received: Received, now: float) -> None:
        try:
            message = parse(data)
        except InvalidMessage:
            self.drops[RelayDrop.MALFORMED] += 1
            return
        if message.method == Method.DATA and message.cls == Class.INDICATION:
            self._receive_data(message, received, now)
        elif self._transactions.has(message.transaction_id):
            self._receive_response(message, now)
        else:
            self.drops[RelayDrop.UNEXPECTED] += 1

    def _receive_data(self, message: Message, received: Received, now: float) -> None:
        """Take a packet from a permitted host without a channel."""
        payload = message.attributes.get(Attribute.DATA)
        if payload is None or len(message.peers) != 1 or message.unknown_required:
            self.drops[RelayDrop.MALFORMED] += 1
            return
        self.heard_at = now
        address = message.peers[0]
        peer = self._peers.find(address)
        if peer is not None:
            peer.used_at = now
        received.append((address._replace(link=self.link), [payload]))

    def _receive_response(self, message: Message, now: float) -> None:
        answer = self._transactions.receive(message, now)
        self.heard_at = now
        if answer is not None:
            self._smooth(answer.round_trip)
            if answer.request.peer is None:
                self._allocation.receive(answer, now)
            else:
                self._on_renewed(answer, now)
        self._settle(now)

    def _smooth(self, sample: float | None) -> None:
        """Take a measurement of the round trip into account (RFC 6298 section 2)."""
        if sample is None:
            return
        last = self.round_trip
        self.round_trip = sample if last is None else last + (sample - last) / 8


def _address_of(peer: Endpoint) -> Endpoint:
    """Return a peer's endpoint as the relay knows it."""
    return Endpoint(peer.host, peer.port)
