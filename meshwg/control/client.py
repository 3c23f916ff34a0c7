"""The node's side of the control protocol, without the socket.

Theory of operation. The client is in one of four states::

    OFFLINE ──retry time──▶ CONNECTING ──registered──▶ CONNECTED
       ▲                        │                          │
       └──────── failed ────────┴──────── lost ────────────┘
                                │
                                └─ refused, revoked or stopped ──▶ ENDED

Its owner keeps a WebSocket open for each number in :attr:`ControlClient.connections`
and closes the others; it reports both with :meth:`~ControlClient.control_opened` and
:meth:`~ControlClient.control_closed`, hands in every binary message, and sends what
:meth:`~ControlClient.control_to_send` returns. The client decides when to try again:
after a random time between 0.5 s and a bound that doubles with every failure, up to
30 s.

While CONNECTED both sides send a heartbeat when they have nothing else to say. A node
that hears nothing for :attr:`Registered.silence` seconds takes the connection for dead.

There are two connections while one takes the place of another, because the first may be
dead (:mod:`meshwg.control.succession`) or is of a key that the coordinator is about to
give up (:mod:`meshwg.control.authority`).

Losing the coordinator changes nothing else: the netmap stays as it is, and the next
connection goes on from its version. Only ``revoked``, or being told that it is no
member, empties it. A coordinator whose database was lost or set back knows less than
the node, so what it says of members it does not know is no revocation: the node keeps
what it has and goes on asking.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from meshwg.control.authority import Authority
from meshwg.control.backoff import RETRY_MIN, BackOff
from meshwg.control.briefing import Briefing
from meshwg.control.connection import Connection
from meshwg.control.coordinators import CoordinatorUrls
from meshwg.control.drop import ControlDrop
from meshwg.control.events import (
    Accepted,
    AuthorityChanged,
    ControlEvent,
    CoordinatorsChanged,
    Disconnected,
    MembershipRevoked,
    OfferReceived,
    OfferRefused,
    Refused,
)
from meshwg.control.identity import Identity
from meshwg.control.netmap import PeerTable
from meshwg.control.offers import OfferMemory
from meshwg.control.records import RecordTable
from meshwg.control.refusals import (
    FORGOTTEN,
    HOPELESS,
    MEMBERSHIP_LOST,
    TOKEN_REFUSED,
)
from meshwg.control.reports import Reports
from meshwg.control.resyncs import Resyncs
from meshwg.control.succession import Succession
from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import format_key, parse_key
from meshwg.transmit import Random
from meshwg.wire import channel, control
from meshwg.wire.control import (
    CloseCode,
    Delta,
    ErrorCode,
    NatReport,
    NetMap,
    ReportedCandidate,
)
from meshwg.wire.routes import RouteTraits


class ControlState(StrEnum):
    """What ``status`` shows; ENDED is final."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    ENDED = "ended"


class ControlClient:
    """One node's connection to its coordinator, as a machine without I/O.

    :param cache: what :meth:`cache` returned before the last stop.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        now: float,
        random: Random,
        cache: control.Cache | None = None,
    ) -> None:
        self._identity = identity
        self._random = random
        self._own_key = format_key(identity.private_key.public_bytes)
        self._events: deque[ControlEvent] = deque()
        self.briefing = Briefing(self._own_key, self._events, cache)
        self.state = ControlState.OFFLINE
        self.since = now
        """When :attr:`state` was entered."""
        self.error: str | None = None
        """Why there is no connection, in one sentence."""
        self.is_forgotten = False
        """The coordinator's database was lost or set back, and this node with it."""
        self.drops: Counter[ControlDrop] = Counter()
        self._authority = Authority(
            identity.coordinator_key, identity.former_key, random
        )
        self.coordinators = CoordinatorUrls(identity.urls, random)
        """Where WebSockets are to lead."""
        self._must_authenticate = identity.auth_key is not None
        self._back_off = BackOff(random)
        self._retry_at = now
        self._succession = Succession(random)
        self._reports = Reports(now)
        self._offers = OfferMemory()
        self._resyncs = Resyncs()
        self._frames: list[tuple[int, bytes]] = []

    @property
    def registered(self) -> control.Registered | None:
        """What the mesh is, and who this node is in it; ``None`` if it is no member."""
        return self.briefing.registered

    @property
    def peers(self) -> PeerTable:
        """Who is in the mesh."""
        return self.briefing.peers

    @property
    def policy(self) -> control.PolicyMessage | None:
        """Who may reach what, see :attr:`Briefing.policy`."""
        return self.briefing.policy

    @property
    def records(self) -> RecordTable:
        """What the mesh's zone has beside the names of nodes."""
        return self.briefing.records

    @property
    def offered_routes(self) -> tuple[str, ...]:
        """The networks that this node offers to the mesh."""
        return self._identity.routes

    @property
    def offered_role(self) -> str:
        """What this node was started as."""
        return self._identity.role

    @property
    def offers_exit(self) -> bool:
        """Whether this node offers itself as an exit."""
        return self._identity.exit

    @property
    def approvals(self) -> control.Approvals | None:
        """What became of all that, see :attr:`Briefing.approvals`."""
        return self.briefing.approvals

    # The carrier.

    @property
    def connections(self) -> tuple[int, ...]:
        """The numbers of the WebSockets that should be open, or being opened."""
        return self._succession.numbers

    def control_opened(self, number: int, now: float) -> None:
        """A WebSocket is open: begin the handshake."""
        connection = self._succession.find(number)
        if connection is None:
            return
        identity = self._identity
        try:
            connection.shake_hands(
                identity.private_key, self._authority.key_to_try(), self._random
            )
        except AuthenticationFailed:
            self._end_refused("wrong-key", "The coordinator's key is unusable", now)

    def control_closed(
        self, number: int, reason: str, now: float, code: int | None = None
    ) -> None:
        """The WebSocket could not be opened, or is closed.

        :param reason: one sentence for the user.
        :param code: the WebSocket close code, if there was one.
        """
        connection = self._succession.find(number)
        if connection is None:
            return
        is_stranger = code == CloseCode.WRONG_KEY and not connection.is_secure
        if is_stranger:
            self._authority.refused(connection.coordinator_key)
        self.coordinators.failed(number)
        is_last = self.registered is None and not self.coordinators.has_untried
        if is_stranger and is_last:
            self._end_refused("wrong-key", reason, now)
        else:
            self._lose(connection, reason, now)

    def receive_control(self, number: int, frame: bytes, now: float) -> None:
        """Take one binary WebSocket message."""
        connection = self._succession.find(number)
        if connection is None:
            return
        if connection.is_secure:
            self._receive_sealed(connection, frame, now)
        elif connection.is_shaking_hands:
            self._receive_response(connection, frame, now)

    def control_to_send(self) -> list[tuple[int, bytes]]:
        """Return the WebSocket messages to send, in order, with their connections."""
        self._frames += self._succession.frames_to_send()
        frames, self._frames = self._frames, []
        return frames

    # The node.

    def next_event(self) -> ControlEvent | None:
        return self._events.popleft() if self._events else None

    @property
    def has_events(self) -> bool:
        """Whether :meth:`next_event` has something to return."""
        return bool(self._events)

    def report(
        self, candidates: Sequence[ReportedCandidate], nat: NatReport | None, now: float
    ) -> None:
        """Tell the mesh where this node is reachable, now and after reconnecting."""
        told = tuple(candidates)[: control.MAX_CANDIDATES]
        self._reports.change(replace(self._reports.latest, candidates=told, nat=nat))
        self._send_report(now)

    def offer_routes(
        self, routes: Sequence[str], traits: Sequence[RouteTraits], now: float
    ) -> None:
        """Offer these networks to the mesh, now and after reconnecting."""
        identity = replace(self._identity, routes=tuple(routes), traits=tuple(traits))
        self._identity = identity
        report = replace(
            self._reports.latest,
            routes=identity.routes,
            traits=identity.traits,
            exit=identity.exit,
        )
        self._reports.change(report)
        self._send_report(now)

    def show_service_token(self, token: str, now: float, *, at_once: bool) -> None:
        """Show what a cluster says of this node: on a new connection, or the next."""
        self._identity = replace(self._identity, service_token=token)
        if at_once:
            self.hasten(now)
            self._succession.succeed(now)

    def say(self, message: control.SeenFlows | control.LeaseUse, now: float) -> bool:
        """Send what is of use only now; return whether it is on its way."""
        member = self._succession.member
        if member is not None:
            member.send(message, now)
        return member is not None

    def offer(self, offer: control.OfferMessage, now: float) -> bool:
        """Send an offer to a peer, as it is; return whether it is on its way.

        It is not while the coordinator is away: such offers are never kept for later.
        """
        member = self._succession.member
        if member is None:
            return False
        member.send(offer, now)
        self._offers.note(offer, now)
        return True

    def repeat_offers(self, now: float) -> None:
        """Send what a connection before this one may not have carried.

        Who gets an offer twice knows it by its number.
        """
        member = self._succession.member
        if member is not None:
            for offer in self._offers.take(self._succession.registered_at, now):
                member.send(offer, now)

    def network_changed(self, now: float) -> None:
        """Addresses or routes changed, or the machine slept: doubt what was known."""
        if self.state is ControlState.OFFLINE:
            self._back_off.forget()
            self._retry_at = now
            return
        self._succession.redial(now)
        self.doubt(now)

    def doubt(self, now: float) -> None:
        """Something speaks for a dead connection: ask, and perhaps have another."""
        self._succession.doubt(now)

    def join(
        self, auth_key: str, now: float, coordinator_key: bytes | None = None
    ) -> None:
        """Show an auth key at the next attempt, which is made at once.

        :param coordinator_key: by which to know the coordinator, if that is another.
        """
        self._identity = replace(self._identity, auth_key=auth_key)
        if coordinator_key is not None:
            self._authority.replace(coordinator_key)
        self._must_authenticate = True
        self.network_changed(now)

    def hasten(self, now: float) -> None:
        """Something else answers again: make an attempt that is waited for at once."""
        if self.state is ControlState.OFFLINE:
            self._retry_at = min(self._retry_at, max(now, self.since + RETRY_MIN))

    def stop(self, now: float, *, for_good: bool = False) -> None:
        """Leave: peers learn at once that this node is gone on purpose.

        :param for_good: whether it is to be a member no longer.
        """
        member = self._succession.member
        if member is not None:
            member.send(control.Leave(for_good=for_good), now)
        self._enter(ControlState.ENDED, now)

    def cache(self) -> bytes | None:
        """Return what to keep on disk, ``None`` before the first registration."""
        parts = self.briefing.cache()
        return None if parts is None else b"".join(parts)

    # Time.

    def get_timer(self) -> float | None:
        if self.state is ControlState.ENDED:
            return None
        if self.state is ControlState.OFFLINE:
            return self._retry_at
        attempt, member = self._succession.attempt, self._succession.member
        times = [] if attempt is None else [attempt.deadline]
        if member is not None:
            times += self._times_of_member(member)
        return min(times)

    def handle_timer(self, now: float) -> None:
        if self.state is ControlState.OFFLINE and now >= self._retry_at:
            self._succession.begin(now)
            self._enter(ControlState.CONNECTING, now)
        attempt = self._succession.attempt
        if attempt is not None and now >= attempt.deadline:
            self._lose(attempt, "The coordinator does not answer", now)
        if self._succession.member is not None:
            self._handle_timer_of_member(self._succession.member, now)

    def _handle_timer_of_member(self, member: Connection, now: float) -> None:
        assert self.registered is not None
        if now >= self._succession.dead_at(member, self.registered.silence):
            self._lose(member, "The coordinator has fallen silent", now)
            return
        if any(at <= now for at in self._times_to_succeed()):
            self._authority.move_at = self.coordinators.move_at = None
            self._succession.begin(now)
        self._send_report(now)
        self._ask_for_all(member, now)
        if now >= member.sent_at + self.registered.heartbeat:
            member.send_payload(channel.HEARTBEAT, now)

    def _times_of_member(self, member: Connection) -> list[float]:
        assert self.registered is not None
        times = [
            self._succession.dead_at(member, self.registered.silence),
            member.sent_at + self.registered.heartbeat,
            *self._times_to_succeed(),
        ]
        more = (self._reports.get_timer(), self._resyncs.get_timer())
        return [*times, *(each for each in more if each is not None)]

    def _times_to_succeed(self) -> list[float]:
        """Return when another connection is to be made beside the member's."""
        if self._succession.attempt is not None:
            return []
        times = (
            self._succession.succeed_at,
            self._authority.move_at,
            self.coordinators.move_at,
        )
        return [each for each in times if each is not None]

    # From the coordinator.

    def _receive_response(
        self, connection: Connection, frame: bytes, now: float
    ) -> None:
        try:
            connection.read_response(frame)
        except (InvalidMessage, AuthenticationFailed):
            self.drops[ControlDrop.NOT_AUTHENTIC] += 1
            self._authority.refused(connection.coordinator_key)
            reason = "What answers there is not this mesh's coordinator"
            self._lose(connection, reason, now)
            return
        connection.send(self._register(now), now)

    def _register(self, now: float) -> control.Register:
        identity, known = self._identity, self.registered
        report = self._reports.register(now)
        return control.Register(
            name=identity.name,
            auth_key=identity.auth_key if self._must_authenticate else None,
            service_token=identity.service_token,
            software=identity.software,
            role=identity.role,
            routes=identity.routes,
            traits=identity.traits,
            exit=identity.exit,
            epoch=known.epoch if known else "",
            version=self.peers.version,
            candidates=report.candidates,
            nat=report.nat,
            view=self.briefing.view,
            records=self.records.version,
            slices=True,
            through=self.peers.through,
        )

    def _receive_sealed(self, connection: Connection, frame: bytes, now: float) -> None:
        try:
            payload = connection.open(frame, now)
        except AuthenticationFailed:
            self.drops[ControlDrop.NOT_AUTHENTIC] += 1
            reason = "The connection to the coordinator was tampered with"
            self._lose(connection, reason, now)
            return
        if payload == channel.HEARTBEAT:
            return
        try:
            message = control.decode_from_coordinator(payload)
        except InvalidMessage as error:
            self.drops[ControlDrop.MALFORMED] += 1
            if connection is not self._succession.member:
                reason = f"The coordinator's answer cannot be understood: {error}"
                self._lose(connection, reason, now)
            return
        self._receive_message(connection, message, now)

    def _receive_message(
        self,
        connection: Connection,
        message: control.FromCoordinator | None,
        now: float,
    ) -> None:
        match message:
            case control.Registered():
                self._on_registered(connection, message, now)
            case control.Error():
                self._on_error(connection, message, now)
            case control.Revoked():
                self._end_revoked(message.reason, now)
            case None:
                self.drops[ControlDrop.UNKNOWN_TYPE] += 1
            case _ if connection is not self._succession.member:
                self.drops[ControlDrop.UNEXPECTED] += 1
            case _:
                self._receive_as_member(connection, message, now)

    def _receive_as_member(
        self, member: Connection, message: control.FromCoordinator, now: float
    ) -> None:
        """Take what is for those that have joined."""
        match message:
            case control.OfferMessage():
                self._on_offer(message)
            case control.Successor():
                self._on_successor(member, message, now)
            case control.Elsewhere(within=within, coordinators=urls):
                self.coordinators.leave(within, urls, now)
            case control.Ping():
                member.send(control.Pong(id=message.id), now)
            case control.Pong():
                self._on_pong(message)
            case _:
                self._on_news(member, message, now)

    def _on_news(
        self, member: Connection, message: control.FromCoordinator, now: float
    ) -> None:
        """Take news of the mesh, and ask for all of it if they do not add up."""
        if not self.briefing.receive(message):
            self._resyncs.want()
        elif not self.peers.through and isinstance(message, NetMap | Delta):
            self._resyncs.settle()
        self._ask_for_all(member, now)

    def _ask_for_all(self, member: Connection, now: float) -> None:
        if self._resyncs.take(now):
            member.send(control.Resync(), now)

    def _on_registered(
        self, connection: Connection, message: control.Registered, now: float
    ) -> None:
        self.briefing.begin(message)
        # An auth key is for joining: a node that was removed must not come back by it.
        self._must_authenticate = False
        self.error, self.is_forgotten = None, False
        if self.coordinators.learn(message.coordinators, connection.number):
            self._events.append(CoordinatorsChanged(self.coordinators.all))
        if self._succession.register(connection, now):
            if self._authority.proved(connection.coordinator_key):
                self._tell_authority()
            self._reports.registered()
            self._resyncs.forget()
        if self.state is not ControlState.CONNECTED:
            self._enter(ControlState.CONNECTED, now)
        self._events.append(Accepted(message))
        self._send_report(now)

    def _on_successor(
        self, member: Connection, message: control.Successor, now: float
    ) -> None:
        key = parse_key(message.public_key)
        if self._identity.private_key.exchange(key) is None:
            # With a key of low order there is no handshake, and so no way back.
            self.drops[ControlDrop.MALFORMED] += 1
            return
        spread = self.registered.spread if self.registered is not None else 0.0
        if self._authority.named(key, member.coordinator_key, spread, now):
            self._tell_authority()

    def _tell_authority(self) -> None:
        authority = self._authority
        self._events.append(AuthorityChanged(authority.key, authority.former))

    def _on_pong(self, pong: control.Pong) -> None:
        doubted_since = self._succession.answered(pong.id)
        if doubted_since is not None:
            self._offers.arrived(doubted_since)

    def _on_offer(self, offer: control.OfferMessage) -> None:
        sender = offer.sender
        if sender is None or sender == self._own_key or offer.to != self._own_key:
            self.drops[ControlDrop.UNEXPECTED] += 1
        else:
            self._events.append(OfferReceived(offer))

    def _on_error(
        self, connection: Connection, error: control.Error, now: float
    ) -> None:
        if error.to is not None:
            self._events.append(OfferRefused(error.to, error))
        if not error.fatal:
            return
        if error.code in MEMBERSHIP_LOST and self.registered is not None:
            self._on_membership_lost(connection, error, now)
        elif error.code in TOKEN_REFUSED and self.registered is not None:
            # It was to bring a member back, which loses nothing by another's mistake.
            self._must_authenticate = False
            self._lose(connection, error.message, now)
        elif error.code in HOPELESS:
            self._end_refused(error.code, error.message, now)
        else:
            # The other holder of the key would only be replaced in turn.
            is_replaced = error.code == ErrorCode.REPLACED
            is_own_doing = self._succession.is_own_doing(now)
            self._back_off.is_contested = is_replaced and not is_own_doing
            self._lose(connection, error.message, now)

    def _on_membership_lost(
        self, connection: Connection, error: control.Error, now: float
    ) -> None:
        known = self.registered
        assert known is not None
        is_another = error.epoch is not None and error.epoch != known.epoch
        # A removal, as every change, makes a version that no node has seen before.
        is_older = error.version is not None and error.version <= self.peers.version
        if is_another or is_older:
            self.is_forgotten = True
            self._lose(connection, FORGOTTEN, now)
        else:
            self._end_revoked(error.message, now)

    # Ends.

    def _lose(self, connection: Connection, reason: str, now: float) -> None:
        """Drop a connection; without another, set the time of the next attempt."""
        self.coordinators.failed(connection.number)
        if not self._succession.lose(connection, now):
            return
        self.error = reason
        if self._succession.attempt is not None:
            self._enter(ControlState.CONNECTING, now)
        else:
            lasted = now - self.since if self.state is ControlState.CONNECTED else None
            spread = self.registered.spread if self.registered is not None else 0.0
            if lasted is None and self.coordinators.has_untried:
                self._retry_at = now + self._back_off.next_try()
            else:
                self._retry_at = now + self._back_off.next_pause(lasted, spread)
            self._enter(ControlState.OFFLINE, now)
        self._events.append(Disconnected(reason))

    def _end_refused(self, code: str, message: str, now: float) -> None:
        self.error = message
        self._enter(ControlState.ENDED, now)
        error = control.Error(code=code, message=message, fatal=True)
        self._events.append(Refused(error))

    def _end_revoked(self, reason: str, now: float) -> None:
        self.error = reason
        self._enter(ControlState.ENDED, now)
        self.briefing.end()
        self._events.append(MembershipRevoked(reason))

    def _enter(self, state: ControlState, now: float) -> None:
        if state is ControlState.ENDED:
            # What is left to say, that the node leaves for instance, still goes out.
            self._frames += self._succession.frames_to_send()
            self._succession.end()
        self.state, self.since = state, now

    # To the coordinator.

    def _send_report(self, now: float) -> None:
        member = self._succession.member
        report = None if member is None else self._reports.take(now)
        if member is not None and report is not None:
            member.send(report, now)
