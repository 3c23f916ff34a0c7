"""A TURN server (RFC 8656) without sockets: every decision of a relay, and its data.

Theory of operation
-------------------

A client is known by the :class:`~meshwg.transmit.Endpoint` its messages come from:
address, port and link, where the link tells sockets and streams apart. Requests pass
the :class:`~coordinator.turn.gate.Gate`; a stranger costs no memory, and gets only
so many answers, which are hardly longer than the questions.

Packets take the way of :mod:`coordinator.turn.forwarder`. Those for peers outside this
server need a socket that is bound to the relayed address. It is asked for with
:class:`OpenSocket` when the client first permits such a peer; the request that did, and
what follows it, waits until the runtime says :meth:`TurnServer.socket_opened` or
:meth:`TurnServer.socket_failed`.

Drain :meth:`TurnServer.datagrams_to_send`, :meth:`TurnServer.relayed_to_send` and
:meth:`TurnServer.next_event` after every call in.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.turn.allocation import Allocation, Refusal, Socket
from coordinator.turn.counters import Counters, TurnDrop
from coordinator.turn.forwarder import Forwarder
from coordinator.turn.gate import Gate
from coordinator.turn.limits import MAX_SENDERS, Limits
from coordinator.turn.requests import RequestHandler
from coordinator.turn.rules import Everybody, Membership, PeerRules
from coordinator.turn.table import AllocationTable
from meshwg.errors import InvalidMessage
from meshwg.limits import RateLimiter, site_of
from meshwg.transmit import Endpoint, Random
from meshwg.wire.channeldata import FIRST_CHANNEL, runs
from meshwg.wire.stun import (
    Attribute,
    Buffer,
    Class,
    Message,
    Method,
    StunErrorCode,
    encode,
    parse,
)

RELAY_PORTS = range(49152, 65536)
"""RFC 8656 section 7.2."""

MAX_WAITING = 32
"""Messages of one client that wait for its socket."""


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Bind a UDP socket to this address, then say ``socket_opened`` or ``_failed``."""

    relayed: Endpoint


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close the socket of this address."""

    relayed: Endpoint


Event = OpenSocket | CloseSocket


class TurnServer:
    """Relays for clients who know a time-limited password."""

    def __init__(
        self,
        *,
        realm: str,
        secrets: Sequence[bytes],
        hosts: Mapping[int, str],
        random: Random,
        unix_time: Callable[[float], float],
        ports: range = RELAY_PORTS,
        rules: PeerRules | None = None,
        limits: Limits | None = None,
        membership: Membership | None = None,
        is_local: Callable[[str], bool] = lambda host: False,
    ) -> None:
        """Make a server without allocations.

        :param secrets: what credentials are minted with, see
            :mod:`coordinator.credentials`.
        :param hosts: the public address relayed addresses have, by IP version.
        :param unix_time: returns the Unix time of a moment; clocks may be set.
        :param membership: whom to serve, and to where; by default everybody with
            credentials, to all addresses that the rules permit.
        :param is_local: whether an address is this machine's; nobody is let in there.
        """
        self.counters = Counters()
        self._limits = limits or Limits()
        self._membership = membership or Everybody()
        self._gate = Gate(realm, secrets, random, unix_time)
        self._table = AllocationTable(hosts, ports, self._limits, random)
        self._handler = RequestHandler(
            self._table,
            rules or PeerRules(),
            self._limits,
            self.counters,
            self._membership,
            is_local,
        )
        self._forwarder = Forwarder(self._table, self._limits, self.counters, random)
        # Packets that come one by one take these ways: each without one more call.
        self.receive_from_peer = self._forwarder.receive_from_peer
        self.datagrams_to_send = self._forwarder.datagrams_to_send
        self.relayed_to_send = self._forwarder.relayed_to_send
        self._strangers = RateLimiter(
            self._limits.strangers_per_second,
            self._limits.strangers_burst,
            max_keys=MAX_SENDERS,
        )
        self._events: deque[Event] = deque()

    def receive(
        self,
        messages: Sequence[Buffer],
        client: Endpoint,
        now: float,
        *,
        stream: bool = False,
    ) -> None:
        """Take a batch from one client: datagrams, or the frames of a stream.

        :param stream: whether the client is connected over TCP or TLS.
        """
        known = client.unpinned()
        for number, run in runs(messages):
            allocation = self._table.of(known)
            if allocation is not None:
                allocation.heard_at = now
            if number >= FIRST_CHANNEL:
                self._forwarder.relay_channel_data(allocation, number, run, now)
                continue
            for message in run:
                self._receive_stun(message, client, stream, now)

    def socket_opened(self, relayed: Endpoint, now: float) -> None:
        """The socket that :class:`OpenSocket` asked for is open."""
        self._resume(relayed, Socket.OPEN, now)

    def socket_failed(self, relayed: Endpoint, now: float) -> None:
        """There is no such socket: the client gets 508 for peers outside."""
        self._resume(relayed, Socket.FAILED, now)

    def forget(self, client: Endpoint) -> None:
        """Drop the allocation of a client whose stream was closed."""
        allocation = self._table.of(client.unpinned())
        if allocation is not None:
            self._table.remove(allocation)
            self._close(allocation)

    def drop_strangers(self) -> None:
        """Drop the allocations of those who are no longer members."""
        for allocation in self._table.all():
            if not self._membership.has_user(allocation.node):
                self._table.remove(allocation)
                self._close(allocation)

    def handle_timer(self, now: float) -> None:
        """Drop the allocations that were not refreshed."""
        for allocation in self._table.expire(now):
            self.counters.expired += 1
            self._close(allocation)

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        return self._table.next_expiry()

    def next_event(self) -> Event | None:
        """Return what the runtime has to do about sockets."""
        return self._events.popleft() if self._events else None

    def has_allocation(self, client: Endpoint) -> bool:
        """Return whether a client has an allocation."""
        return self._table.of(client.unpinned()) is not None

    @property
    def allocations(self) -> int:
        """How many allocations there are."""
        return len(self._table)

    # Messages.

    def _receive_stun(
        self, data: Buffer, client: Endpoint, stream: bool, now: float
    ) -> None:
        if self._asks_too_often(client, now):
            self.counters.drop(TurnDrop.RATE_LIMITED)
            return
        try:
            message = parse(data)
        except InvalidMessage:
            self.counters.drop(TurnDrop.MALFORMED)
            return
        if message.cls == Class.REQUEST:
            self._receive_request(message, client, stream, now)
        elif message.cls == Class.INDICATION and message.method == Method.SEND:
            self._receive_send(message, client, now)
        elif message.method != Method.BINDING:
            self.counters.drop(TurnDrop.UNEXPECTED)

    def _receive_send(self, message: Message, client: Endpoint, now: float) -> None:
        """Relay the packet of a Send indication (RFC 8656 section 11.2)."""
        allocation = self._table.of(client.unpinned())
        payload = message.attributes.get(Attribute.DATA)
        if message.unknown_required or Attribute.DONT_FRAGMENT in message.attributes:
            self.counters.drop(TurnDrop.NOT_SUPPORTED)
        elif payload is None or len(message.peers) != 1:
            self.counters.drop(TurnDrop.MALFORMED)
        elif allocation is None:
            self.counters.drop(TurnDrop.NO_ALLOCATION)
        elif allocation.socket is Socket.OPENING:
            # The request for the permission may be waiting, too.
            self._hold(allocation, message, b"")
        elif not allocation.permits(message.peers[0].host, now):
            self.counters.drop(TurnDrop.NO_PERMISSION)
        else:
            self._forwarder.relay(allocation, message.peers[0], [payload], now)

    def _receive_request(
        self, request: Message, client: Endpoint, stream: bool, now: float
    ) -> None:
        self.counters.requests[request.method.name.lower()] += 1
        if request.method == Method.BINDING:
            answer: dict[Attribute, Any] = {Attribute.XOR_MAPPED_ADDRESS: client}
            self._answer_stranger(request, client, Class.SUCCESS, answer, now)
            return
        try:
            proof = self._gate.admit(request, client, now)
        except Refusal as refusal:
            error = self._error(refusal.code, refusal.reason)
            if refusal.code != 400:
                error |= self._gate.challenge(client, now)
            self._answer_stranger(request, client, Class.ERROR, error, now)
            return
        self._handle(request, proof.node, proof.key, client, stream, now)

    def _asks_too_often(self, client: Endpoint, now: float) -> bool:
        """Return whether a stranger has had all the answers that it gets for now."""
        if self._table.of(client.unpinned()) is not None:
            return False
        return not self._strangers.take(site_of(client.host), now, 0)

    def _answer_stranger(
        self,
        request: Message,
        client: Endpoint,
        cls: Class,
        attributes: dict[Attribute, Any],
        now: float,
    ) -> None:
        """Answer a request without proof, but nobody too often."""
        if self._strangers.take(site_of(client.host), now):
            self._answer(request, client, cls, attributes)
        else:
            self.counters.drop(TurnDrop.RATE_LIMITED)

    def _handle(
        self,
        request: Message,
        node: str,
        key: bytes,
        client: Endpoint,
        stream: bool,
        now: float,
    ) -> None:
        """Carry out a request with proof, and answer it unless it has to wait."""
        try:
            answer = self._handler.handle(request, node, client, stream, now)
        except Refusal as refusal:
            error = self._error(refusal.code, refusal.reason)
            if refusal.code == 420:
                error[Attribute.UNKNOWN_ATTRIBUTES] = request.unknown_required
            self._answer(request, client, Class.ERROR, error, key)
            return
        for closed in self._handler.closed():
            self._close(closed)
        if answer is not None:
            self._answer(request, client, Class.SUCCESS, answer, key)
            return
        allocation = self._table.of(client.unpinned())
        assert allocation is not None
        self._hold(allocation, request, key)

    def _hold(self, allocation: Allocation, message: Message, key: bytes) -> None:
        """Keep a message until there is a socket, which is asked for once."""
        if allocation.socket is Socket.NONE:
            allocation.socket = Socket.OPENING
            self._events.append(OpenSocket(allocation.relayed))
        if len(allocation.waiting) < MAX_WAITING:
            allocation.waiting.append((message, key))

    def _resume(self, relayed: Endpoint, state: Socket, now: float) -> None:
        """Go on with the messages that waited for a socket."""
        allocation = self._table.at(relayed)
        if allocation is None or allocation.socket is not Socket.OPENING:
            return
        allocation.socket = state
        waiting, allocation.waiting = allocation.waiting, []
        for message, key in waiting:
            if message.cls == Class.INDICATION:
                self._receive_send(message, allocation.client, now)
                continue
            client, stream = allocation.client, allocation.stream
            self._handle(message, allocation.node, key, client, stream, now)

    def _answer(
        self,
        request: Message,
        client: Endpoint,
        cls: Class,
        attributes: dict[Attribute, Any],
        key: bytes | None = None,
    ) -> None:
        answer = Message(request.method, cls, request.transaction_id, attributes)
        fingerprint = Attribute.FINGERPRINT in request.attributes
        self._forwarder.send(client, encode(answer, key, fingerprint))

    def _error(self, code: int, reason: str) -> dict[Attribute, Any]:
        self.counters.errors[code] += 1
        return {Attribute.ERROR_CODE: StunErrorCode(code, reason)}

    def _close(self, allocation: Allocation) -> None:
        if allocation.socket in (Socket.OPEN, Socket.OPENING):
            self._events.append(CloseSocket(allocation.relayed))
