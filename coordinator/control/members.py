"""The connected members: how they come, what they are told, and how they go.

A commit that changes what peers see starts a *round*
(:mod:`~coordinator.control.rounds`): every member that sees it gets the payload that
leads from the version it holds to the present one. Members that hold the same version
get the same payload, built once. A member whose carrier is full is passed over, and
gets what it missed together when it reads again. What is long is sent a few slices at a
time (:mod:`~coordinator.control.feeds`).
"""

from collections.abc import Iterable, Sequence

from coordinator import credentials
from coordinator.control.approvals import approvals_of
from coordinator.control.audiences import Audiences
from coordinator.control.carriers import Carriers, due
from coordinator.control.connection import Connection, State
from coordinator.control.counters import ControlCounters
from coordinator.control.deliveries import Deliveries
from coordinator.control.feeds import Feeds
from coordinator.control.pending import PendingOperations
from coordinator.control.rounds import Rounds
from coordinator.control.settings import Settings
from coordinator.control.welcome import Welcomes, spread
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Changes,
    Disconnect,
    Join,
    Operation,
    Refused,
    Result,
)
from coordinator.mesh.recordviews import RecordViews
from coordinator.mesh.registry import Registry
from coordinator.mesh.views import View, Views
from meshwg.keys import format_key
from meshwg.wire import control
from meshwg.wire.control import CloseCode, ErrorCode

CLOCK_STEP = 60.0
"""Seconds by which the wall clock goes ahead of time, or falls behind it, until
credentials are minted anew: they end by it."""


class Members:
    """The connections of members, by public key."""

    def __init__(
        self,
        carriers: Carriers,
        pending: PendingOperations,
        deliveries: Deliveries,
        registry: Registry,
        history: NetMapHistory,
        settings: Settings,
        counters: ControlCounters,
        *,
        now: float,
        unix_time: float,
    ) -> None:
        self._carriers = carriers
        self._pending = pending
        self._deliveries = deliveries
        self._views = Views(registry, history)
        self._records = RecordViews(registry)
        self._registry = registry
        self._welcomes = Welcomes(registry, settings)
        self._renews = bool(settings.relays)
        self._counters = counters
        self._unix_offset = self._minted_at_offset = unix_time - now
        self._joining: dict[str, Connection] = {}
        """Connections by session, from their registration on."""
        self._members: dict[str, Connection] = {}
        self._renewals: dict[Connection, float] = {}
        self._rounds = Rounds(now)
        self._audiences = Audiences()
        self._feeds = Feeds()

    def __len__(self) -> int:
        return len(self._members)

    def get(self, key: str) -> Connection | None:
        return self._members.get(key)

    # How they come.

    def join(self, connection: Connection, join: Join) -> None:
        """Ask the database whether a connection becomes a member's."""
        connection.state = State.JOINING
        self._joining[connection.session] = connection
        self._pending.add(join)

    def joined(self, join: Join, result: Result, now: float) -> None:
        """Answer a join that has been decided."""
        connection = self._joining.get(join.session)
        if isinstance(result, Refused):
            if connection is not None:
                self._refuse(connection, result, now)
        elif connection is None:
            # It went away while the database was at work, which says it is online.
            self._pending.add(Disconnect(join.key, join.session, left=False))
        elif result.node is not None:
            self._welcome(connection, result.node, result.notice, now)

    def _welcome(
        self, connection: Connection, node: Node, notice: str, now: float
    ) -> None:
        older = self._members.get(node.key)
        uncertain: list[bytes] = []
        if older is not None:
            heard_at = self._carriers.last_heard(older)
            uncertain = self._deliveries.uncertain(node.key, heard_at, now)
            self._replace(older, now)
        self._carriers.welcome(connection, now)
        self._members[node.key] = connection
        self._counters.events["joins"] += 1
        welcome = self._welcomes.registered(
            node,
            notice=notice,
            observed=connection.address,
            members=len(self._members),
            unix_time=now + self._unix_offset,
        )
        self.send(connection, welcome, now)
        self._name_successor(connection, now)
        self._plan_renewal(connection, now)
        self.bring_up_to_date(connection, now)
        for payload in uncertain:
            self._carriers.send(connection, payload, now)

    # What they are told.

    def use_coordinators(self, urls: Sequence[str]) -> None:
        """Tell those that come from now on where the other coordinators are."""
        self._welcomes.coordinators = tuple(urls[: control.MAX_COORDINATORS])

    def key_changed(self, now: float) -> None:
        """Tell all who know this coordinator by another key what it is now."""
        for connection in self._members.values():
            self._name_successor(connection, now)

    def _name_successor(self, connection: Connection, now: float) -> None:
        key = self._carriers.public_key
        if connection.coordinator_key != key:
            self._counters.events["successors_named"] += 1
            self.send(connection, control.Successor(public_key=format_key(key)), now)

    def send(
        self, connection: Connection, message: control.FromCoordinator, now: float
    ) -> None:
        self._carriers.send(connection, control.encode(message), now)

    def committed(
        self,
        outcomes: Iterable[tuple[Operation, Result]],
        changes: Sequence[Changes],
        now: float,
    ) -> None:
        """Answer joins, and tell everybody what has changed."""
        for change in changes:
            self._want_round(change)
        for operation, result in outcomes:
            if isinstance(operation, Join):
                self.joined(operation, result, now)
        for change in changes:
            self._enforce(change, now)
        self._tell_some(now)

    def _want_round(self, change: Changes) -> None:
        """Take note of who has to be told of a change."""
        audience = self._views.apply(change)
        if self._records.apply(change) or audience.everybody:
            self._rounds.want(self._members.values())
            return
        for number in audience.classes:
            self._rounds.want(self._audiences.of(number))
        if self._registry.classes is not None:
            # Each is told of itself, and what it sees if its class is another now.
            own = (self._members.get(node.key) for node in change.nodes)
            self._rounds.want(each for each in own if each is not None)

    def begin_anew(self, connection: Connection, now: float) -> None:
        """Tell a member everything, since what it holds does not add up."""
        self._feeds.stop(connection)
        connection.version = connection.records = -1
        connection.through = 0
        self.bring_up_to_date(connection, now)

    def bring_up_to_date(self, connection: Connection, now: float) -> None:
        """Tell a member what leads from the version it holds to the present one."""
        if not connection.writable:
            return
        view = self._views.of(connection.key)
        self._follow_view(connection, view)
        must = connection.view != view.digest and bool(view.policy)
        connection.view = view.digest
        if must:
            self._carriers.send(connection, view.policy, now)
        self._tell_of_itself(connection, now)
        self._tell_of_offers(connection, now)
        if connection not in self._feeds:
            self._tell_changes(connection, view.history, now, must=must)
        if connection not in self._feeds:
            self._tell_records(connection, now)

    def _follow_view(self, connection: Connection, view: View) -> None:
        """Take note of what a member sees now."""
        node = self._registry.nodes.get(connection.key)
        self._audiences.put(connection, 0 if node is None else node.policy_class)
        if connection.history is view.history:
            return
        self._feeds.stop(connection)
        if _seen(connection.view) != view.seen:
            # What it has seen is no base for what it sees now.
            connection.version = -1
            if connection.records:
                connection.records = -1
        connection.history = view.history

    def _tell_changes(
        self, connection: Connection, history: NetMapHistory, now: float, *, must: bool
    ) -> None:
        """Tell a member what has changed of those it sees.

        :param must: whether it is told even if nothing has: a policy is in force with
            the netmap that follows, so one has to follow.
        """
        payloads: Sequence[bytes] = ()
        if not connection.takes_slices:
            payloads = history.since(connection.version)
        elif slices := history.slices(connection.version, connection.through):
            if len(slices) > 1 or slices.version < history.version:
                self._feeds.begin(connection, slices, slices.version)
                return
            payloads = slices
        for payload in payloads or ([history.nothing()] if must else []):
            self._carriers.send(connection, payload, now)
        connection.version, connection.through = history.version, 0

    def _feed(self, now: float) -> None:
        """Send the next slices of what is long."""
        done = []
        for connection, payload, version in self._feeds.take():
            self._carriers.send(connection, payload, now)
            if version is not None:
                connection.version, connection.through = version, 0
                done.append(connection)
        for connection in done:
            self.bring_up_to_date(connection, now)

    def _tell_records(self, connection: Connection, now: float) -> None:
        """Tell a member of the zone's records, as far as it may see them."""
        history = self._records.of(connection.key)
        for payload in history.since(connection.records):
            self._carriers.send(connection, payload, now)
            connection.records = history.version

    def _tell_of_itself(self, connection: Connection, now: float) -> None:
        """Tell a member what its own class does not see: itself."""
        itself = self._views.itself(connection.key)
        if itself is not None and connection.itself < itself.version:
            connection.itself = itself.version
            self._carriers.send(connection, self._views.entry(itself), now)

    def _tell_of_offers(self, connection: Connection, now: float) -> None:
        """Tell a member what became of what it offers, if that is news."""
        node = self._registry.nodes.get(connection.key)
        if node is None or not connection.writable:
            return
        if node.revision == connection.revision:
            return
        connection.revision = node.revision
        approvals = approvals_of(node)
        if approvals != connection.approvals:
            connection.approvals = approvals
            self.send(connection, approvals, now)

    def _tell_some(self, now: float) -> None:
        """Tell the next slice of members about the present version."""
        for connection in self._rounds.next_slice(now):
            if connection.state is State.MEMBER:
                self.bring_up_to_date(connection, now)
        self._feed(now)

    def _plan_renewal(self, connection: Connection, now: float) -> None:
        self._renewals.pop(connection, None)
        if self._renews:
            self._renewals[connection] = now + credentials.LIFETIME / 2

    def _renew_all(self, now: float) -> None:
        """Mint anew what ends by a wall clock that was set, or went on in a sleep."""
        self._minted_at_offset = self._unix_offset
        self._renewals = dict.fromkeys(self._renewals, now)

    def _renew_credentials(self, now: float) -> None:
        for connection in due(self._renewals, now):
            relays = self._welcomes.relays(connection.key, now + self._unix_offset)
            self.send(connection, control.Credentials(relays=relays), now)
            self._plan_renewal(connection, now)

    # How they go.

    def _enforce(self, change: Changes, now: float) -> None:
        """End the connections of nodes that are no longer members, or have moved."""
        for key in change.removed:
            self._revoke(key, "This node was removed from the mesh", now)
        for node in change.nodes:
            connection = self._members.get(node.key)
            if node.expired:
                reason = "The membership of this node has expired; join again"
                self._revoke(node.key, reason, now)
            elif connection is not None and connection.session != node.session:
                self._replace(connection, now)
            elif connection is not None:
                self._tell_of_offers(connection, now)

    def _revoke(self, key: str, reason: str, now: float) -> None:
        connection = self._members.get(key)
        if connection is not None:
            self.send(connection, control.Revoked(reason=reason), now)
            self.close(connection, CloseCode.REFUSED)

    def _replace(self, older: Connection, now: float) -> None:
        message = "Another connection uses this node's key; use each key on one machine"
        self._counters.events["connections_replaced"] += 1
        self.fail(older, ErrorCode.REPLACED, message, now)

    def fail(
        self, connection: Connection, code: ErrorCode, message: str, now: float
    ) -> None:
        """Send a fatal error and close the connection."""
        error = control.Error(code=code, message=message, fatal=True)
        self._end(connection, error, now)

    def _refuse(self, connection: Connection, refused: Refused, now: float) -> None:
        """Refuse a join, and say of which mesh: its database may be another now."""
        error = control.Error(
            code=refused.code,
            message=refused.message,
            fatal=True,
            epoch=self._registry.epoch,
            version=self._registry.version,
        )
        self._end(connection, error, now)

    def _end(self, connection: Connection, error: control.Error, now: float) -> None:
        self._counters.refusals[error.code] += 1
        self.send(connection, error, now)
        self.close(connection, CloseCode.REFUSED)

    def close(
        self, connection: Connection, code: CloseCode, *, left: bool = False
    ) -> None:
        """Close a connection; its node, if it is a member, is offline now.

        :param left: the node has said that it leaves.
        """
        self.release(connection, left=left)
        self._carriers.close(connection, code)

    def release(self, connection: Connection, *, left: bool = False) -> None:
        """Forget a connection that is gone, or about to be closed."""
        self._joining.pop(connection.session, None)
        self._renewals.pop(connection, None)
        self._audiences.remove(connection)
        self._feeds.stop(connection)
        if self._members.get(connection.key) is connection:
            del self._members[connection.key]
            self._pending.add(Disconnect(connection.key, connection.session, left))

    def send_elsewhere(self, urls: Sequence[str], now: float) -> float:
        """Tell all to connect to other coordinators, and return in which time.

        They stay until the others have registered them.
        """
        within = spread(len(self._members))
        message = control.Elsewhere(
            within=within, coordinators=tuple(urls[: control.MAX_COORDINATORS])
        )
        for connection in self._members.values():
            self.send(connection, message, now)
        return within

    def shut_down(self, now: float) -> None:
        """Tell all that this process stops, and leave them online in the database."""
        message = "The coordinator is being restarted"
        error = control.Error(code=ErrorCode.SHUTTING_DOWN, message=message, fatal=True)
        for connection in list(self._members.values()):
            self.send(connection, error, now)
            self._members.pop(connection.key)
            self.close(connection, CloseCode.RESTART)

    # Time.

    def get_timer(self) -> float | None:
        renewal = next(iter(self._renewals.values()), None)
        times = [renewal, self._rounds.get_timer(), self._carriers.get_timer()]
        times.append(self._feeds.get_timer())
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float, unix_time: float) -> None:
        self._unix_offset = unix_time - now
        if abs(self._unix_offset - self._minted_at_offset) > CLOCK_STEP:
            self._renew_all(now)
        self._close_late(now)
        for connection in self._carriers.silent(now):
            self._counters.events["nodes_silent"] += 1
            self.close(connection, CloseCode.SILENT)
        self._carriers.send_heartbeats(now)
        self._renew_credentials(now)
        self._tell_some(now)

    def _close_late(self, now: float) -> None:
        """Close the connections that have not become a member's in time."""
        for connection in self._carriers.late(now):
            if connection.state is State.JOINING:
                message = "The coordinator's database does not answer"
                self.fail(connection, ErrorCode.TRY_AGAIN, message, now)
            else:
                self.close(connection, CloseCode.SILENT)


def _seen(view: str) -> str:
    """Return the part of a view's name that is about what is seen."""
    return view.partition(".")[0]
