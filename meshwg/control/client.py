"""The node's side of the control protocol, without the socket.

Theory of operation. The client is in one of four states::

    OFFLINE ──retry time──▶ CONNECTING ──registered──▶ CONNECTED
       ▲                        │                          │
       └──────── failed ────────┴──────── lost ────────────┘
                                │
                                └─ refused, revoked or stopped ──▶ ENDED

Its owner opens a WebSocket whenever :attr:`ControlClient.wants_connection` is true and
closes it when that turns false; it reports both with :meth:`~ControlClient.
control_opened` and :meth:`~ControlClient.control_closed`, hands in every binary
message, and sends what :meth:`~ControlClient.control_to_send` returns. The client
decides when to try again: after a random time between 0.5 s and a bound that doubles
with every failure, up to 30 s.

While CONNECTED both sides send a heartbeat when they have nothing else to say. A node
that hears nothing for :attr:`Registered.silence` seconds takes the connection for dead.

Losing the coordinator changes nothing else: the netmap stays as it is, and the next
connection goes on from its version. Only ``revoked``, or being told that it is no
member, empties it.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from meshwg.control.events import (
    Accepted,
    ControlEvent,
    Disconnected,
    MembershipRevoked,
    OfferReceived,
    OfferRefused,
    Refused,
    RelaysChanged,
    SelfChanged,
)
from meshwg.control.netmap import NetMapChange, PeerTable
from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey, format_key
from meshwg.transmit import Random
from meshwg.wire import channel, control
from meshwg.wire.control import (
    CloseCode,
    ErrorCode,
    FromNode,
    NatReport,
    PeerEntry,
    ReportedCandidate,
)

CONNECT_TIMEOUT = 15.0
"""Seconds from the wish to connect until the coordinator must have answered."""
PROBE_TIMEOUT = 5.0
"""Seconds in which a connection must show life after the network changed."""
RETRY_MIN, RETRY_MAX = 0.5, 30.0
REPORT_INTERVAL = 1.0
"""Seconds between two reports: a network that changes sends several events at once."""
FORGET_FAILURES = 30.0
"""Seconds a connection must last before the next failure counts as the first."""

CONTESTED_RETRY_MIN = 15.0
"""Seconds to wait at least while another machine connects with this node's key."""

_MEMBERSHIP_LOST = {ErrorCode.NOT_A_MEMBER, ErrorCode.NODE_EXPIRED}
_HOPELESS = _MEMBERSHIP_LOST | {
    ErrorCode.TOKEN_UNKNOWN,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.TOKEN_USED,
    ErrorCode.TOKEN_REVOKED,
    ErrorCode.MESH_FULL,
    ErrorCode.PROTOCOL,
}


class ControlState(StrEnum):
    """What ``status`` shows; ENDED is final."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    ENDED = "ended"


class ControlDrop(StrEnum):
    """Why something from the coordinator was ignored."""

    MALFORMED = "control-malformed"
    UNKNOWN_TYPE = "control-unknown-type"
    """A message of a newer coordinator."""
    UNEXPECTED = "control-unexpected"
    """A message before its time, or an offer that is not for this node."""
    NOT_AUTHENTIC = "control-not-authentic"
    """A frame that the coordinator's key did not seal."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, and which mesh it belongs to."""

    private_key: PrivateKey
    coordinator_key: bytes
    name: str
    auth_key: str | None = field(default=None, repr=False)
    """Of the join token; not needed once the coordinator knows this node."""
    role: str = "node"
    routes: tuple[str, ...] = ()
    software: str = ""


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
        self.peers = PeerTable(self._own_key)
        self.registered: control.Registered | None = None
        if cache is not None:
            self.registered = cache.registered
            self.peers.load(cache)
        self.state = ControlState.OFFLINE
        self.since = now
        """When :attr:`state` was entered."""
        self.error: str | None = None
        """Why there is no connection, in one sentence."""
        self.drops: Counter[ControlDrop] = Counter()
        self._must_authenticate = identity.auth_key is not None
        self._failures = 0
        self._contested = False
        self._retry_at = now
        self._deadline = 0.0
        self._handshake: channel.ClientHandshake | None = None
        self._channel: channel.Channel | None = None
        self._heard_at = self._sent_at = now
        self._probe_at: float | None = None
        self._report = control.Report()
        self._report_waits = False
        """The coordinator does not know :attr:`_report` yet."""
        self._reported_at = now - REPORT_INTERVAL
        self._frames: list[bytes] = []
        self._events: deque[ControlEvent] = deque()

    # The carrier.

    @property
    def wants_connection(self) -> bool:
        """Whether a WebSocket to the coordinator should be open or being opened."""
        return self.state in (ControlState.CONNECTING, ControlState.CONNECTED)

    def control_opened(self, now: float) -> None:
        """A WebSocket is open: begin the handshake."""
        if self.state is not ControlState.CONNECTING:
            return
        identity = self._identity
        try:
            self._handshake = channel.ClientHandshake(
                identity.private_key, identity.coordinator_key, random=self._random
            )
        except AuthenticationFailed:
            self._end_refused("wrong-key", "The coordinator's key is unusable", now)
            return
        self._frames.append(self._handshake.initiation)

    def control_closed(self, reason: str, now: float, code: int | None = None) -> None:
        """The WebSocket could not be opened, or is closed.

        :param reason: one sentence for the user.
        :param code: the WebSocket close code, if there was one.
        """
        if not self.wants_connection:
            return
        never_joined = self.registered is None
        if code == CloseCode.WRONG_KEY and self._channel is None and never_joined:
            self._end_refused("wrong-key", reason, now)
        else:
            self._lose(reason, now)

    def receive_control(self, frame: bytes, now: float) -> None:
        """Take one binary WebSocket message."""
        if self._channel is not None:
            self._receive_sealed(self._channel, frame, now)
        elif self._handshake is not None:
            self._receive_response(self._handshake, frame, now)

    def control_to_send(self) -> list[bytes]:
        """Return the WebSocket messages to send, in order."""
        frames, self._frames = self._frames, []
        return frames

    # The node.

    def next_event(self) -> ControlEvent | None:
        return self._events.popleft() if self._events else None

    def report(
        self, candidates: Sequence[ReportedCandidate], nat: NatReport | None, now: float
    ) -> None:
        """Tell the mesh where this node is reachable, now and after reconnecting."""
        report = control.Report(
            candidates=tuple(candidates)[: control.MAX_CANDIDATES], nat=nat
        )
        if report != self._report:
            self._report, self._report_waits = report, True
            self._send_report(now)

    def offer(self, offer: control.OfferMessage, now: float) -> bool:
        """Send an offer to a peer, as it is; return whether it is on its way.

        It is not while the coordinator is away: offers are never kept for later.
        """
        if self.state is not ControlState.CONNECTED:
            return False
        self._send(offer, now)
        return True

    def network_changed(self, now: float) -> None:
        """Addresses or routes changed, or the machine slept: doubt what was known."""
        if self.state is ControlState.OFFLINE:
            self._failures = 0
            self._retry_at = now
        elif self.state is ControlState.CONNECTED and self._probe_at is None:
            self._send(control.Ping(id=int.from_bytes(self._random(6))), now)
            self._probe_at = now + PROBE_TIMEOUT

    def stop(self, now: float) -> None:
        """Leave: peers learn at once that this node is gone on purpose."""
        if self.state is ControlState.CONNECTED:
            self._send(control.Leave(), now)
        self._enter(ControlState.ENDED, now)

    def cache(self) -> bytes | None:
        """Return what to keep on disk, ``None`` before the first registration."""
        if self.registered is None:
            return None
        return self.peers.cache(self.registered)

    # Time.

    def get_timer(self) -> float | None:
        if self.state is ControlState.OFFLINE:
            return self._retry_at
        if self.state is ControlState.CONNECTING:
            return self._deadline
        if self.state is ControlState.ENDED:
            return None
        return min(self._times_while_connected())

    def handle_timer(self, now: float) -> None:
        if self.state is ControlState.OFFLINE and now >= self._retry_at:
            self._deadline = now + CONNECT_TIMEOUT
            self._enter(ControlState.CONNECTING, now)
        elif self.state is ControlState.CONNECTING and now >= self._deadline:
            self._lose("The coordinator does not answer", now)
        elif self.state is ControlState.CONNECTED:
            self._handle_timer_while_connected(now)

    def _handle_timer_while_connected(self, now: float) -> None:
        assert self.registered is not None
        if now >= self._dead_at:
            self._lose("The coordinator has fallen silent", now)
            return
        self._send_report(now)
        if now >= self._sent_at + self.registered.heartbeat:
            self._send_payload(channel.HEARTBEAT, now)

    def _times_while_connected(self) -> list[float]:
        assert self.registered is not None
        times = [self._dead_at, self._sent_at + self.registered.heartbeat]
        if self._report_waits:
            times.append(self._reported_at + REPORT_INTERVAL)
        return times

    @property
    def _dead_at(self) -> float:
        assert self.registered is not None
        silence = self._heard_at + self.registered.silence
        return silence if self._probe_at is None else min(silence, self._probe_at)

    # From the coordinator.

    def _receive_response(
        self, handshake: channel.ClientHandshake, frame: bytes, now: float
    ) -> None:
        try:
            self._channel = handshake.read_response(frame)
        except (InvalidMessage, AuthenticationFailed):
            self.drops[ControlDrop.NOT_AUTHENTIC] += 1
            self._lose("What answers there is not this mesh's coordinator", now)
            return
        self._handshake = None
        self._send(self._register(), now)
        self._report_waits, self._reported_at = False, now

    def _register(self) -> control.Register:
        identity, known = self._identity, self.registered
        return control.Register(
            name=identity.name,
            auth_key=identity.auth_key if self._must_authenticate else None,
            software=identity.software,
            role=identity.role,
            routes=identity.routes,
            epoch=known.epoch if known else "",
            version=self.peers.version,
            candidates=self._report.candidates,
            nat=self._report.nat,
        )

    def _receive_sealed(
        self, secure: channel.Channel, frame: bytes, now: float
    ) -> None:
        try:
            payload = secure.open(frame)
        except AuthenticationFailed:
            self.drops[ControlDrop.NOT_AUTHENTIC] += 1
            self._lose("The connection to the coordinator was tampered with", now)
            return
        self._heard_at, self._probe_at = now, None
        if payload == channel.HEARTBEAT:
            return
        try:
            message = control.decode_from_coordinator(payload)
        except InvalidMessage:
            self.drops[ControlDrop.MALFORMED] += 1
            return
        self._receive_message(message, now)

    def _receive_message(
        self, message: control.FromCoordinator | None, now: float
    ) -> None:
        match message:
            case control.Registered():
                self._on_registered(message, now)
            case control.Error():
                self._on_error(message, now)
            case control.Revoked():
                self._end_revoked(message.reason, now)
            case None:
                self.drops[ControlDrop.UNKNOWN_TYPE] += 1
            case _ if self.state is not ControlState.CONNECTED:
                self.drops[ControlDrop.UNEXPECTED] += 1
            case _:
                self._receive_as_member(message, now)

    def _receive_as_member(self, message: control.FromCoordinator, now: float) -> None:
        """Take what is for those that have joined."""
        match message:
            case control.NetMap():
                self._on_change(self.peers.replace(message))
            case control.Delta():
                self._on_delta(message, now)
            case control.OfferMessage():
                self._on_offer(message)
            case control.Credentials():
                self._update_registered(relays=message.relays)
                self._events.append(RelaysChanged(message.relays))
            case control.Ping():
                self._send(control.Pong(id=message.id), now)
            case control.Pong():
                pass

    def _on_registered(self, message: control.Registered, now: float) -> None:
        if self.registered is not None and self.registered.epoch != message.epoch:
            # Another database: versions of the old one mean nothing in it.
            self._events.append(self.peers.clear())
        self.registered = message
        # An auth key is for joining: a node that was removed must not come back by it.
        self._must_authenticate = False
        self.error = None
        self._enter(ControlState.CONNECTED, now)
        self._events.append(Accepted(message))
        self._send_report(now)

    def _on_delta(self, delta: control.Delta, now: float) -> None:
        change = self.peers.update(delta)
        if change is not None:
            self._on_change(change)
        if change is None or not change.consistent:
            self._send(control.Resync(), now)

    def _on_change(self, change: NetMapChange) -> None:
        if change.peers.changed or change.peers.removed:
            self._events.append(change.peers)
        if change.itself is not None:
            self._on_self_changed(change.itself)

    def _on_self_changed(self, itself: PeerEntry) -> None:
        known = self.registered
        if known and (known.name, known.addresses) != (itself.name, itself.addresses):
            self._update_registered(name=itself.name, addresses=itself.addresses)
            self._events.append(SelfChanged(itself))

    def _update_registered(self, **fields: object) -> None:
        assert self.registered is not None
        self.registered = self.registered.model_copy(update=fields)

    def _on_offer(self, offer: control.OfferMessage) -> None:
        sender = offer.sender
        if sender is None or sender == self._own_key or offer.to != self._own_key:
            self.drops[ControlDrop.UNEXPECTED] += 1
        else:
            self._events.append(OfferReceived(offer))

    def _on_error(self, error: control.Error, now: float) -> None:
        if error.to is not None:
            self._events.append(OfferRefused(error.to, error))
        if not error.fatal:
            return
        if error.code in _MEMBERSHIP_LOST and self.registered is not None:
            self._end_revoked(error.message, now)
        elif error.code in _HOPELESS:
            self._end_refused(error.code, error.message, now)
        else:
            # The other holder of the key would only be replaced in turn.
            self._contested = error.code == ErrorCode.REPLACED
            self._lose(error.message, now)

    # Ends.

    def _lose(self, reason: str, now: float) -> None:
        """Drop the connection and set the time of the next attempt."""
        lasted = self.state is ControlState.CONNECTED
        if lasted and now - self.since > FORGET_FAILURES:
            self._failures = 0
        self._retry_at = now + self._back_off(lasted)
        self._failures += 1
        self.error = reason
        self._enter(ControlState.OFFLINE, now)
        self._events.append(Disconnected(reason))

    def _back_off(self, lasted: bool) -> float:
        """Return the seconds to wait: random, so that not all nodes come at once."""
        bound = RETRY_MIN * 2.0 ** min(self._failures + 1, 8)
        if lasted and self.registered is not None:
            bound = max(bound, self.registered.spread)
        low, high = RETRY_MIN, min(bound, RETRY_MAX)
        if self._contested:
            low, high = CONTESTED_RETRY_MIN, RETRY_MAX
        share = int.from_bytes(self._random(4)) / (1 << 32)
        return low + share * (high - low)

    def _end_refused(self, code: str, message: str, now: float) -> None:
        self.error = message
        self._enter(ControlState.ENDED, now)
        error = control.Error(code=code, message=message, fatal=True)
        self._events.append(Refused(error))

    def _end_revoked(self, reason: str, now: float) -> None:
        self.error = reason
        self._enter(ControlState.ENDED, now)
        removed = self.peers.clear()
        self.registered = None
        if removed.removed:
            self._events.append(removed)
        self._events.append(MembershipRevoked(reason))

    def _enter(self, state: ControlState, now: float) -> None:
        if state in (ControlState.OFFLINE, ControlState.ENDED):
            self._handshake = self._channel = self._probe_at = None
        if state is ControlState.OFFLINE:
            self._frames.clear()
        self.state, self.since = state, now

    # To the coordinator.

    def _send_report(self, now: float) -> None:
        due = now >= self._reported_at + REPORT_INTERVAL
        connected = self.state is ControlState.CONNECTED
        if connected and due and self._report_waits:
            self._send(self._report, now)
            self._report_waits, self._reported_at = False, now

    def _send(self, message: FromNode, now: float) -> None:
        self._send_payload(control.encode(message), now)

    def _send_payload(self, payload: bytes, now: float) -> None:
        assert self._channel is not None
        self._frames.append(self._channel.seal(payload))
        self._sent_at = now
