"""The coordinator's side of the control protocol, without sockets and database.

Theory of operation. A connection goes through the states of
:class:`coordinator.connection.State`. What a node says becomes an *operation*; the
owner of this machine carries :meth:`ControlServer.operations` out in the database, many
in one transaction, and reports what was committed. Only then is anyone answered.

A commit that changes what peers see starts a *round* (:mod:`coordinator.rounds`): every
member gets the payload that leads from the version it holds to the present one. Members
that hold the same version get the same payload, built once. A member whose carrier is
full is passed over, and gets what it missed as one payload when it reads again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator import credentials, rendezvous
from coordinator.connection import MAX_REFUSED, Connection, State
from coordinator.limits import AddressLimits
from coordinator.netmap import NetMapHistory
from coordinator.nodes import Node
from coordinator.operations import (
    Changes,
    Disconnect,
    Join,
    Operation,
    Refused,
    Result,
    Sweep,
    Update,
)
from coordinator.pending import PendingOperations
from coordinator.presence import Presence
from coordinator.registry import Registry
from coordinator.rounds import Rounds
from coordinator.settings import Settings
from coordinator.welcome import Welcomes
from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey, format_key
from meshwg.transmit import Random
from meshwg.wire import channel, control
from meshwg.wire.control import CloseCode, ErrorCode

__all__ = ["Close", "ControlServer", "Settings"]

SWEEP_INTERVAL = 60.0


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection's carrier, after what is still to be sent on it."""

    connection: int
    code: int


class ControlServer:
    """All control connections of one coordinator process."""

    def __init__(
        self,
        private_key: PrivateKey,
        registry: Registry,
        history: NetMapHistory,
        settings: Settings,
        *,
        now: float,
        unix_time: float,
        random: Random,
    ) -> None:
        self._private_key = private_key
        self._registry = registry
        self._history = history
        self._settings = settings
        self._welcomes = Welcomes(registry, settings)
        self._random = random
        self._unix_offset = unix_time - now
        self._connections: dict[int, Connection] = {}
        self._sessions: dict[str, Connection] = {}
        self._members: dict[str, Connection] = {}
        self._last_number = 0
        self._limits = AddressLimits(
            settings.connections_per_address, settings.new_connections_per_address
        )
        self._presence = Presence(settings.silence, settings.own_heartbeat)
        self._deadlines: dict[int, float] = {}
        self._renewals: dict[int, float] = {}
        self._rounds = Rounds(now)
        self._pending = PendingOperations(now)
        self._sweep_at = now + SWEEP_INTERVAL
        self._frames: list[tuple[int, bytes]] = []
        self._closes: list[Close] = []
        self._forwarded: list[rendezvous.Delivery] = []
        self.counters: Counter[str] = Counter()
        """What happened how often, by name; for metrics."""
        self.refusals: Counter[str] = Counter()
        """What was refused how often, by error code."""

    @property
    def connections(self) -> int:
        """How many connections there are, members' or not."""
        return len(self._connections)

    @property
    def members(self) -> int:
        """How many members are connected to this process."""
        return len(self._members)

    # The carriers.

    def connect(self, address: str, now: float) -> int | None:
        """Take a new connection; return its number, ``None`` if there are too many."""
        full = len(self._connections) >= self._settings.max_connections
        if full or not self._limits.opened(address):
            self.counters["connections_refused"] += 1
            return None
        self._last_number = number = self._last_number + 1
        connection = Connection(number, address, self._random(8).hex(), now)
        self._connections[number] = connection
        self._deadlines[number] = now + self._settings.register_timeout
        self.counters["connections"] += 1
        return number

    def receive_frame(self, number: int, frame: bytes, now: float) -> None:
        """Take one binary message of a connection."""
        connection = self._connections.get(number)
        if connection is None or connection.state is State.CLOSED:
            return
        if connection.channel is None:
            self._answer_handshake(connection, frame)
            return
        try:
            payload = connection.channel.open(frame)
        except AuthenticationFailed:
            self.counters["frames_not_authentic"] += 1
            self._close(connection, CloseCode.MALFORMED)
            return
        if connection.state is State.MEMBER:
            self._presence.heard(number, now)
        if payload != channel.HEARTBEAT:
            self._receive_payload(connection, payload, now)

    def disconnect(self, number: int) -> None:
        """A connection's carrier is gone."""
        connection = self._connections.get(number)
        if connection is not None:
            self._release(connection, left=False)
            del self._connections[number]
            self._limits.closed(connection.address, registered=connection.registered)

    def set_writable(self, number: int, writable: bool, now: float) -> None:
        """A connection's carrier is full, or takes more again."""
        connection = self._connections.get(number)
        if connection is None:
            return
        connection.writable = writable
        if writable and connection.state is State.MEMBER:
            self._bring_up_to_date(connection, now)

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Return binary messages with the connections they go to, in order."""
        frames, self._frames = self._frames, []
        return frames

    def closes(self) -> list[Close]:
        """Return the connections to close, after the frames to send."""
        closes, self._closes = self._closes, []
        return closes

    # The database.

    def operations(self, now: float) -> list[Operation]:
        """Return the operations of the next transaction.

        To be asked again when the last ones were committed, or have failed.
        """
        return self._pending.take(now)

    @property
    def pending(self) -> bool:
        """Whether operations wait for the database."""
        return bool(self._pending)

    def submit(self, operation: Operation) -> None:
        """Queue an operation of the process itself."""
        self._pending.add(operation)

    def committed(
        self,
        outcomes: Iterable[tuple[Operation, Result]],
        changes: Sequence[Changes],
        now: float,
    ) -> None:
        """Operations were committed, here or by another process.

        :param changes: all changes since the last call, which the registry has already.
        """
        news = [self._history.apply(change) for change in changes]
        for operation, result in outcomes:
            if isinstance(operation, Join):
                self._on_joined(operation, result, now)
        for change in changes:
            self._enforce(change, now)
        if any(news):
            self._rounds.want()
            self._tell_some(now)

    def failed(self, operations: Iterable[Operation], now: float) -> None:
        """A transaction failed: joins are refused, the rest is tried again."""
        again = []
        for operation in operations:
            if isinstance(operation, Join):
                message = "The coordinator cannot store anything just now"
                refusal = Refused(ErrorCode.TRY_AGAIN, message)
                self._on_joined(operation, refusal, now)
            else:
                again.append(operation)
        self._pending.put_back(again, now)

    # Other coordinator processes on one database.

    def offers_to_forward(self) -> list[rendezvous.Delivery]:
        """Return the offers for nodes that are connected to other processes."""
        forwarded, self._forwarded = self._forwarded, []
        return forwarded

    def receive_forwarded(self, text: bytes, now: float) -> None:
        """Take an offer from another process."""
        delivery = rendezvous.read_forwarded(text)
        if delivery is not None:
            self._deliver(delivery, now)

    # Time.

    def get_timer(self) -> float:
        times = [
            self._sweep_at,
            self._presence.get_timer(),
            self._rounds.get_timer(),
            next(iter(self._deadlines.values()), None),
            next(iter(self._renewals.values()), None),
        ]
        return min(time for time in times if time is not None)

    def handle_timer(self, now: float, unix_time: float) -> None:
        """Do what is due. The wall clock is taken anew each time, as it may be set."""
        self._unix_offset = unix_time - now
        self._close_late(now)
        for number in self._presence.silent(now):
            self.counters["nodes_silent"] += 1
            self._close(self._connections[number], CloseCode.SILENT)
        for number in self._presence.due(now):
            self._send_payload(self._connections[number], channel.HEARTBEAT, now)
        self._renew_credentials(now)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_INTERVAL
            self._pending.add(Sweep())
        self._tell_some(now)

    def shut_down(self, now: float) -> None:
        """Tell all nodes that this process stops. They stay online in the database.

        They come back to it, or to another process, before anyone would miss them.
        """
        message = "The coordinator is being restarted"
        error = control.Error(code=ErrorCode.SHUTTING_DOWN, message=message, fatal=True)
        for connection in list(self._members.values()):
            self._send(connection, error, now)
            self._members.pop(connection.key)
            self._close(connection, CloseCode.RESTART)

    # Handshake and registration.

    def _answer_handshake(self, connection: Connection, frame: bytes) -> None:
        try:
            key, response, secure = channel.answer(
                self._private_key, frame, random=self._random
            )
        except AuthenticationFailed:
            self.counters["handshakes_failed"] += 1
            self._close(connection, CloseCode.WRONG_KEY)
            return
        except InvalidMessage:
            self.counters["handshakes_failed"] += 1
            self._close(connection, CloseCode.MALFORMED)
            return
        connection.key, connection.channel = format_key(key), secure
        connection.state = State.REGISTER
        self._frames.append((connection.id, response))

    def _register(self, connection: Connection, message: control.Register) -> None:
        connection.state = State.JOINING
        connection.version = self._resumable(message)
        self._sessions[connection.session] = connection
        candidates, nat = _report_json(message.candidates, message.nat)
        self._pending.add(
            Join(
                key=connection.key,
                session=connection.session,
                home=self._settings.home,
                name=message.name,
                auth_key=message.auth_key,
                role=message.role,
                routes=message.routes,
                candidates=candidates,
                nat=nat,
            )
        )

    def _resumable(self, message: control.Register) -> int:
        """Return the version to go on from; -1, which none has, for everything."""
        return message.version if message.epoch == self._registry.epoch else -1

    def _on_joined(self, join: Join, result: Result, now: float) -> None:
        connection = self._sessions.get(join.session)
        if isinstance(result, Refused):
            if connection is not None:
                self._fail(connection, result.code, result.message, now)
        elif connection is None:
            # It went away while the database was at work, which says it is online.
            self._pending.add(Disconnect(join.key, join.session, left=False))
        elif result.node is not None:
            self._welcome(connection, result.node, result.notice, now)

    def _welcome(
        self, connection: Connection, node: Node, notice: str, now: float
    ) -> None:
        older = self._members.get(node.key)
        if older is not None:
            self._replace(older, now)
        connection.state, connection.registered = State.MEMBER, True
        self._limits.registered(connection.address)
        self._deadlines.pop(connection.id, None)
        self._members[node.key] = connection
        self._presence.add(connection.id, now)
        self.counters["joins"] += 1
        welcome = self._welcomes.registered(
            node,
            notice=notice,
            observed=connection.address,
            members=len(self._members),
            unix_time=now + self._unix_offset,
        )
        self._send(connection, welcome, now)
        self._plan_renewal(connection, now)
        self._bring_up_to_date(connection, now)

    def _replace(self, older: Connection, now: float) -> None:
        message = "Another connection uses this node's key; a key is for one machine"
        self.counters["connections_replaced"] += 1
        self._fail(older, ErrorCode.REPLACED, message, now)

    # Messages.

    def _receive_payload(
        self, connection: Connection, payload: bytes, now: float
    ) -> None:
        if not connection.messages.take(now):
            self._refuse_too_many(connection, now)
            return
        try:
            message = control.decode_from_node(payload)
        except InvalidMessage as error:
            self.counters["messages_malformed"] += 1
            code = ErrorCode.MALFORMED
            if len(payload) > control.MAX_NODE_PAYLOAD:
                code = ErrorCode.TOO_LARGE
            self._refuse(connection, code, str(error), now)
            return
        connection.refused = 0
        self.counters["messages"] += 1
        self._receive_message(connection, message, now)

    def _receive_message(
        self, connection: Connection, message: control.FromNode | None, now: float
    ) -> None:
        match message:
            case None:
                self.counters["messages_unknown"] += 1
            case control.Ping():
                self._send(connection, control.Pong(id=message.id), now)
            case control.Register() if connection.state is State.REGISTER:
                if message.protocol == control.PROTOCOL:
                    self._register(connection, message)
                else:
                    self._refuse_protocol(connection, now)
            case _ if connection.state is not State.MEMBER:
                self._refuse_early(connection, now)
            case control.Report():
                report = _report_json(message.candidates, message.nat)
                self._pending.add(Update(connection.key, *report))
            case control.OfferMessage():
                self._pass_on(connection, message, now)
            case control.Resync():
                self.counters["resyncs"] += 1
                connection.version = -1
                self._bring_up_to_date(connection, now)
            case control.Leave():
                self._release(connection, left=True)
                self._close(connection, CloseCode.NORMAL)
            case control.Register():
                self._refuse_early(connection, now)

    def _pass_on(
        self, connection: Connection, offer: control.OfferMessage, now: float
    ) -> None:
        if not connection.offers.take(now):
            message = "Too many offers; try again a little later"
            self._refuse(connection, ErrorCode.TOO_MANY, message, now, to=offer.to)
            return
        decision = rendezvous.route(
            self._registry, connection.key, offer, connection.address
        )
        if isinstance(decision, control.Error):
            self.refusals[decision.code] += 1
            self._send(connection, decision, now)
        elif decision.to in self._members:
            self._deliver(decision, now)
        else:
            self.counters["offers_forwarded"] += 1
            self._forwarded.append(decision)

    def _deliver(self, delivery: rendezvous.Delivery, now: float) -> None:
        target = self._members.get(delivery.to)
        if target is None or not target.writable:
            # The sender's path agent repeats what was not answered.
            self.counters["offers_lost"] += 1
            return
        self.counters["offers"] += 1
        self._send_payload(target, delivery.payload, now)

    # Netmaps.

    def _enforce(self, change: Changes, now: float) -> None:
        """End the connections of nodes that are members no more, or moved away."""
        for key in change.removed:
            self._revoke(key, "This node was removed from the mesh", now)
        for node in change.nodes:
            connection = self._members.get(node.key)
            if node.expired:
                reason = "The membership of this node has expired; join again"
                self._revoke(node.key, reason, now)
            elif connection is not None and connection.session != node.session:
                self._replace(connection, now)

    def _revoke(self, key: str, reason: str, now: float) -> None:
        connection = self._members.get(key)
        if connection is not None:
            self._send(connection, control.Revoked(reason=reason), now)
            self._close(connection, CloseCode.REFUSED)

    def _tell_some(self, now: float) -> None:
        """Tell the next slice of members about the present version."""
        for connection in self._rounds.next_slice(self._members.values(), now):
            if connection.state is State.MEMBER:
                self._bring_up_to_date(connection, now)

    def _bring_up_to_date(self, connection: Connection, now: float) -> None:
        if connection.writable:
            for payload in self._history.since(connection.version):
                self._send_payload(connection, payload, now)
            connection.version = self._history.version

    # Relay credentials.

    def _plan_renewal(self, connection: Connection, now: float) -> None:
        self._renewals.pop(connection.id, None)
        if self._settings.relays:
            self._renewals[connection.id] = now + credentials.LIFETIME / 2

    def _renew_credentials(self, now: float) -> None:
        for number in _due(self._renewals, now):
            connection = self._connections[number]
            relays = self._welcomes.relays(connection.key, now + self._unix_offset)
            self._send(connection, control.Credentials(relays=relays), now)
            self._plan_renewal(connection, now)

    # Refusals and ends.

    def _refuse(
        self,
        connection: Connection,
        code: ErrorCode,
        message: str,
        now: float,
        to: str | None = None,
    ) -> None:
        """Tell a node that a message was refused; give up if that goes on."""
        connection.refused += 1
        hopeless = connection.refused > MAX_REFUSED
        if hopeless or connection.state is not State.MEMBER:
            self._fail(connection, code, message, now)
        else:
            self.refusals[code] += 1
            error = control.Error(code=code, message=message, to=to)
            self._send(connection, error, now)

    def _refuse_too_many(self, connection: Connection, now: float) -> None:
        """Answer the first message too many, and no other until one is accepted."""
        if connection.refused == 0 or connection.refused >= MAX_REFUSED:
            message = "Too many messages; they are ignored for a while"
            self._refuse(connection, ErrorCode.TOO_MANY, message, now)
        else:
            connection.refused += 1
            self.refusals[ErrorCode.TOO_MANY] += 1

    def _refuse_early(self, connection: Connection, now: float) -> None:
        message = "A connection registers first, and once"
        self._refuse(connection, ErrorCode.MALFORMED, message, now)

    def _refuse_protocol(self, connection: Connection, now: float) -> None:
        message = (
            f"This coordinator speaks control protocol {control.PROTOCOL}; install "
            "matching versions of meshwg on both"
        )
        self._fail(connection, ErrorCode.PROTOCOL, message, now)

    def _fail(
        self, connection: Connection, code: ErrorCode, message: str, now: float
    ) -> None:
        """Send a fatal error and close."""
        self.refusals[code] += 1
        self._send(
            connection, control.Error(code=code, message=message, fatal=True), now
        )
        self._close(connection, CloseCode.REFUSED)

    def _close_late(self, now: float) -> None:
        """Close the connections that have not become a member's in time."""
        for number in _due(self._deadlines, now):
            connection = self._connections[number]
            if connection.state is State.JOINING:
                message = "The coordinator's database does not answer"
                self._fail(connection, ErrorCode.TRY_AGAIN, message, now)
            else:
                self._close(connection, CloseCode.SILENT)

    def _close(self, connection: Connection, code: CloseCode) -> None:
        self._release(connection, left=False)
        if connection.state is not State.CLOSED:
            connection.state = State.CLOSED
            self._closes.append(Close(connection.id, code))

    def _release(self, connection: Connection, *, left: bool) -> None:
        """Forget all that refers to a connection; its node may be offline now."""
        self._sessions.pop(connection.session, None)
        self._deadlines.pop(connection.id, None)
        self._renewals.pop(connection.id, None)
        self._presence.remove(connection.id)
        if self._members.get(connection.key) is connection:
            del self._members[connection.key]
            self._pending.add(Disconnect(connection.key, connection.session, left))

    # Sending.

    def _send(
        self, connection: Connection, message: control.FromCoordinator, now: float
    ) -> None:
        self._send_payload(connection, control.encode(message), now)

    def _send_payload(self, connection: Connection, payload: bytes, now: float) -> None:
        if connection.channel is None or connection.state is State.CLOSED:
            return
        self._frames.append((connection.id, connection.channel.seal(payload)))
        if connection.state is State.MEMBER:
            self._presence.spoke(connection.id, now)


def _due(times: dict[int, float], now: float) -> list[int]:
    """Return the numbers whose time has come; the dictionary is ordered by time."""
    due = []
    for number, at in times.items():
        if at > now:
            break
        due.append(number)
    return due


def _report_json(
    candidates: tuple[control.ReportedCandidate, ...], nat: control.NatReport | None
) -> tuple[str, str]:
    """Return what a node reports as the JSON texts that netmaps contain."""
    listed = ",".join(candidate.model_dump_json() for candidate in candidates)
    return f"[{listed}]", "null" if nat is None else nat.model_dump_json(
        exclude_none=True
    )
