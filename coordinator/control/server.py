"""The coordinator's side of the control protocol, without sockets and database.

Theory of operation. A connection goes through the states of
:class:`~coordinator.control.connection.State`. What a node says becomes an *operation*;
the owner of this machine carries :meth:`ControlServer.operations` out in the database,
many in one transaction, and reports what was committed. Only then is anyone answered.

This module reads what nodes say. :mod:`~coordinator.control.carriers` keeps the
connections, :mod:`~coordinator.control.members` those of members with what these are
told, and :mod:`~coordinator.control.offers` passes offers on.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from coordinator.control.absences import Absences
from coordinator.control.carriers import Carriers, Close
from coordinator.control.connection import (
    FLOWS_BURST,
    FLOWS_RATE,
    MAX_REFUSED,
    REGISTER_BURST,
    REGISTER_RATE,
    Connection,
    State,
)
from coordinator.control.counters import ControlCounters
from coordinator.control.deliveries import Deliveries
from coordinator.control.leases import NOT_STORED, Leases
from coordinator.control.members import Members
from coordinator.control.offers import Offers
from coordinator.control.pending import PendingOperations
from coordinator.control.proofs import Proofs, ProofWanted
from coordinator.control.rendezvous import Delivery
from coordinator.control.reports import Reports
from coordinator.control.settings import Settings
from coordinator.kubernetes.identity import ClusterProof
from coordinator.mesh.approvals import HUB, Announcement
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import (
    Changes,
    Join,
    NoteFlows,
    Operation,
    Refused,
    Remove,
    Result,
    Update,
    UseLease,
)
from coordinator.mesh.registry import Registry
from meshwg.errors import InvalidMessage
from meshwg.keys import PrivateKey
from meshwg.limits import RateLimiter
from meshwg.transmit import Random
from meshwg.wire import channel, control
from meshwg.wire.control import CloseCode, ErrorCode
from meshwg.wire.models import decode_from_node


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
        self._registry = registry
        self._home = settings.home
        self._counters = ControlCounters()
        self._pending = PendingOperations(now)
        self._carriers = Carriers(private_key, settings, self._counters, random)
        deliveries = Deliveries()
        self._members = Members(
            self._carriers,
            self._pending,
            deliveries,
            registry,
            history,
            settings,
            self._counters,
            now=now,
            unix_time=unix_time,
        )
        self._offers = Offers(
            registry, self._carriers, self._members, deliveries, self._counters
        )
        self._leases = Leases(
            self._members, self._pending, max_keys=settings.max_connections
        )
        self._reports = Reports()
        self._proofs = Proofs(is_known=settings.knows_cluster)
        self._registrations = RateLimiter(
            REGISTER_RATE, REGISTER_BURST, max_keys=settings.max_connections
        )
        self._seen_flows = RateLimiter(
            FLOWS_RATE, FLOWS_BURST, max_keys=settings.max_connections
        )
        self._absences = Absences(now)

    @property
    def counters(self) -> Counter[str]:
        """What happened how often, by name; for metrics."""
        return self._counters.events

    @property
    def refusals(self) -> Counter[str]:
        """What was refused how often, by error code."""
        return self._counters.refusals

    @property
    def connections(self) -> int:
        """How many connections there are, members' or not."""
        return len(self._carriers)

    def use_keys(
        self, private_key: PrivateKey, former: PrivateKey | None, now: float
    ) -> None:
        """Be known by another key, and by the one before as long as it is served."""
        self._carriers.use_keys(private_key, former)
        self._members.key_changed(now)

    def use_coordinators(self, urls: Sequence[str]) -> None:
        """Tell nodes that come from now on where the other coordinators are."""
        self._members.use_coordinators(urls)

    # The carriers.

    def connect(self, address: str, now: float) -> int | None:
        """Take a new connection; return its number, ``None`` if there are too many."""
        connection = self._carriers.open(address, now)
        for other in self._carriers.displaced():
            self.counters["connections_displaced"] += 1
            self._members.close(other, CloseCode.SILENT)
        return None if connection is None else connection.id

    def receive_frame(self, number: int, frame: bytes, now: float) -> None:
        """Take one binary message of a connection."""
        connection = self._carriers.get(number)
        if connection is None or connection.state is State.CLOSED:
            return
        received = self._carriers.receive(connection, frame, now)
        if isinstance(received, CloseCode):
            self._members.close(connection, received)
        elif received is None:
            return
        elif connection.state is State.SIBLING:
            self._receive_of_sibling(connection, received, now)
        else:
            self._receive_payload(connection, received, now)

    def receive_ping(self, number: int, now: float) -> bool:
        """Take a ping or pong of a carrier; return whether a ping is answered."""
        connection = self._carriers.get(number)
        if connection is None or connection.state is State.CLOSED:
            return False
        return self._may_speak(connection, now)

    def disconnect(self, number: int) -> None:
        """A connection's carrier is gone."""
        connection = self._carriers.get(number)
        if connection is not None:
            self._members.release(connection)
            self._carriers.remove(connection)

    def set_writable(self, number: int, writable: bool, now: float) -> None:
        """A connection's carrier is full, or takes more again."""
        connection = self._carriers.get(number)
        if connection is None:
            return
        connection.writable = writable
        if writable and connection.state is State.MEMBER:
            self._members.bring_up_to_date(connection, now)

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Return binary messages with the connections they go to, in order."""
        return self._carriers.frames_to_send()

    def closes(self) -> list[Close]:
        """Return the connections to close, after the frames to send."""
        return self._carriers.closes()

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
        outcomes = list(outcomes)
        self._members.committed(outcomes, changes, now)
        for operation, result in outcomes:
            if isinstance(operation, UseLease):
                self._leases.answer(operation, result, now)

    def failed(self, operations: Iterable[Operation], now: float) -> None:
        """A transaction failed: joins are refused, the rest is tried again."""
        again = []
        for operation in operations:
            if isinstance(operation, Join):
                message = "The coordinator cannot store anything just now"
                refusal = Refused(ErrorCode.TRY_AGAIN, message)
                self._members.joined(operation, refusal, now)
            elif isinstance(operation, UseLease):
                # By the time the database works again it would be somebody else's.
                self._leases.answer(operation, NOT_STORED, now)
            else:
                again.append(operation)
        self._pending.put_back(again, now)

    # What a cluster says of nodes.

    def proofs_wanted(self) -> list[ProofWanted]:
        """Return what to look at; :meth:`proved` is to be called once for each."""
        return self._proofs.wanted()

    def proved(self, session: str, found: ClusterProof | Refused) -> None:
        """It is known what a cluster says of a node that wants to join."""
        ready = self._proofs.proved(session, found)
        if ready is not None:
            self._members.join(*ready)

    # Other coordinator processes on one database.

    @property
    def members(self) -> int:
        """How many nodes are connected."""
        return len(self._members)

    def send_elsewhere(self, urls: Sequence[str], now: float) -> float:
        """Tell all nodes to connect to other coordinators, and let no more in.

        :param urls: where the others are.
        :returns: the seconds in which they do so, all together.
        """
        self._carriers.shut()
        return self._members.send_elsewhere(urls, now)

    def _receive_of_sibling(
        self, connection: Connection, payload: bytes, now: float
    ) -> None:
        """Take what another coordinator says on a connection that it has opened."""
        if connection.registered:
            if payload != channel.HEARTBEAT:
                self._offers.receive_forwarded(payload, now)
        elif payload == self._home.encode():
            self.counters["siblings"] += 1
            self._carriers.admit_sibling(connection, now)
        else:
            # It looks for another process.
            self._members.close(connection, CloseCode.REFUSED)

    def offers_to_forward(self) -> list[Delivery]:
        """Return the offers for nodes that are connected to other processes."""
        return self._offers.to_forward()

    def receive_forwarded(self, text: bytes, now: float) -> None:
        """Take an offer from another process."""
        self._offers.receive_forwarded(text, now)

    # Time.

    def get_timer(self) -> float:
        times = (
            self._members.get_timer(),
            self._reports.get_timer(),
            self._absences.get_timer(),
        )
        return min(time for time in times if time is not None)

    def handle_timer(self, now: float, unix_time: float) -> None:
        """Do what is due. The wall clock is taken anew each time, as it may be set."""
        self._members.handle_timer(now, unix_time)
        self._store_reports(now)
        sweep = self._absences.look(self._registry.nodes.values(), now)
        if sweep is not None:
            self._pending.add(sweep)

    def shut_down(self, now: float) -> None:
        """Tell all nodes that this process stops. They stay online in the database.

        They come back to it, or to another process, before anyone would miss them.
        """
        self._members.shut_down(now)

    # What nodes say.

    def _receive_payload(
        self, connection: Connection, payload: bytes, now: float
    ) -> None:
        if not self._may_speak(connection, now):
            return
        if payload == channel.HEARTBEAT:
            connection.refused = 0
            return
        try:
            message = decode_from_node(payload)
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

    def _may_speak(self, connection: Connection, now: float) -> bool:
        """Count a message, whatever it says; return whether it is one too many."""
        if connection.messages.take(now):
            return True
        self._refuse_too_many(connection, now)
        return False

    def _receive_message(
        self, connection: Connection, message: control.FromNode | None, now: float
    ) -> None:
        match message:
            case None:
                self.counters["messages_unknown"] += 1
            case control.Ping():
                pong = control.Pong(id=message.id)
                self._members.send(connection, pong, now)
            case control.Register() if connection.state is State.REGISTER:
                self._register(connection, message, now)
            case control.Register():
                self._refuse_early(connection, now)
            case _ if connection.state is not State.MEMBER:
                self._refuse_early(connection, now)
            case _:
                self._receive_from_member(connection, message, now)

    def _register(
        self, connection: Connection, message: control.Register, now: float
    ) -> None:
        if message.protocol != control.PROTOCOL:
            self._refuse_protocol(connection, now)
            return
        if not self._registrations.take(connection.key, now):
            text = "This node registers too often; it may try again a little later"
            self._members.fail(connection, ErrorCode.TRY_AGAIN, text, now)
            return
        # A version of another mesh means nothing here, and -1 stands for none.
        resumes = message.epoch == self._registry.epoch
        connection.version = message.version if resumes else -1
        connection.through = message.through if resumes else 0
        connection.takes_slices = message.slices
        connection.view = message.view
        connection.records = message.records if resumes else 0
        self._reports.forget(connection.key)
        candidates, nat = _report_json(message.candidates, message.nat)
        join = Join(
            key=connection.key,
            session=connection.session,
            home=self._home,
            name=message.name,
            auth_key=message.auth_key,
            role=message.role,
            routes=message.routes,
            candidates=candidates,
            nat=nat,
            traits=message.traits,
            exit=message.exit,
        )
        if message.service_token is None:
            self._members.join(connection, join)
        else:
            self._prove(connection, join, message.service_token)

    def _prove(self, connection: Connection, join: Join, token: str) -> None:
        """Have it looked at what a node shows of its cluster, and join it then."""
        ready = self._proofs.ask(connection, join, token)
        if ready is not None:
            self._members.join(connection, ready)

    def _receive_from_member(
        self, connection: Connection, message: control.FromNode, now: float
    ) -> None:
        match message:
            case control.Report():
                report = _report_json(message.candidates, message.nat)
                update = Update(connection.key, *report, _announcement(message))
                self._reports.add(update, now)
                self._store_reports(now)
            case control.SeenFlows(flows=flows):
                if not self._seen_flows.take(connection.key, now):
                    self.counters["flows_ignored"] += 1
                    return
                self._pending.add(NoteFlows(connection.key, flows))
            case control.LeaseUse():
                self._leases.use(connection, message, now)
            case control.OfferMessage() if not connection.offers.take(now):
                text = "Too many offers; try again a little later"
                self._refuse(connection, ErrorCode.TOO_MANY, text, now, to=message.to)
            case control.OfferMessage():
                self._offers.pass_on(connection, message, now)
            case control.Resync():
                self.counters["resyncs"] += 1
                self._members.begin_anew(connection, now)
            case control.Leave(for_good=for_good):
                if for_good:
                    self._pending.add(Remove(connection.key))
                self._members.close(connection, CloseCode.NORMAL, left=True)

    def _store_reports(self, now: float) -> None:
        for update in self._reports.due(now):
            self._pending.add(update)

    # Refusals.

    def _refuse(
        self,
        connection: Connection,
        code: ErrorCode,
        message: str,
        now: float,
        to: str | None = None,
    ) -> None:
        """Tell a node that a message was refused, and close if that goes on."""
        connection.refused += 1
        goes_on = connection.refused > MAX_REFUSED
        if goes_on or connection.state is not State.MEMBER:
            self._members.fail(connection, code, message, now)
        else:
            self.refusals[code] += 1
            error = control.Error(code=code, message=message, to=to)
            self._members.send(connection, error, now)

    def _refuse_too_many(self, connection: Connection, now: float) -> None:
        """Answer only the first of the messages that are too many in a row."""
        if connection.refused == 0 or connection.refused >= MAX_REFUSED:
            message = "Too many messages; they are ignored for a while"
            self._refuse(connection, ErrorCode.TOO_MANY, message, now)
        else:
            connection.refused += 1
            self.refusals[ErrorCode.TOO_MANY] += 1

    def _refuse_early(self, connection: Connection, now: float) -> None:
        message = "A connection must register first, and only once"
        self._refuse(connection, ErrorCode.MALFORMED, message, now)

    def _refuse_protocol(self, connection: Connection, now: float) -> None:
        message = (
            f"This coordinator speaks control protocol {control.PROTOCOL}; install "
            "matching versions of meshwg on both sides"
        )
        self._members.fail(connection, ErrorCode.PROTOCOL, message, now)


def _announcement(report: control.Report) -> Announcement | None:
    """Return what a report says of what the node offers, if it does."""
    if report.routes is None and report.role is None:
        return None
    return Announcement(
        report.routes,
        report.traits,
        None if report.routes is None else report.exit,
        None if report.role is None else report.role == HUB,
    )


def _report_json(
    candidates: tuple[control.ReportedCandidate, ...], nat: control.NatReport | None
) -> tuple[str, str]:
    """Return what a node reports as the JSON texts that netmaps contain."""
    listed = ",".join(control.to_json(each).decode() for each in candidates)
    return f"[{listed}]", "null" if nat is None else control.to_json(nat).decode()
