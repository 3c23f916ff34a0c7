"""The carriers of control connections: how many, how long, and what is secret on them.

Nothing here knows of members' rights. A connection is opened within the limits, proves
its key in the Noise handshake, and has a while to become a member's. From then on it is
heard of regularly, or it is dead.
"""

from dataclasses import dataclass

from coordinator.control.connection import Connection, State
from coordinator.control.counters import ControlCounters
from coordinator.control.limits import AddressLimits, FairSlots
from coordinator.control.presence import Presence
from coordinator.control.settings import Settings
from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey, format_key
from meshwg.transmit import Random
from meshwg.wire import channel
from meshwg.wire.control import CloseCode

LASTING = (State.MEMBER, State.SIBLING)
"""The states of connections that last as long as both ends are heard."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection's carrier, after what is still to be sent on it."""

    connection: int
    code: int


class Carriers:
    """All control connections of one process."""

    def __init__(
        self,
        private_key: PrivateKey,
        settings: Settings,
        counters: ControlCounters,
        random: Random,
    ) -> None:
        self._keys: tuple[PrivateKey, ...] = (private_key,)
        self._settings = settings
        self._counters = counters.events
        self._random = random
        self._connections: dict[int, Connection] = {}
        self._last_number = 0
        self._limits = AddressLimits(
            settings.connections_per_address, settings.new_connections_per_address
        )
        self._newcomers: FairSlots[Connection] = FairSlots(
            settings.max_new_connections,
            per_site=settings.new_connections_per_address,
            per_network=settings.new_connections_per_network,
        )
        self._presence = Presence(settings.silence, settings.own_heartbeat)
        self._deadlines: dict[Connection, float] = {}
        self._is_shut = False
        self._frames: list[tuple[int, bytes]] = []
        self._closes: list[Close] = []

    def __len__(self) -> int:
        return len(self._connections)

    def get(self, number: int) -> Connection | None:
        return self._connections.get(number)

    @property
    def public_key(self) -> bytes:
        """The key by which nodes are to know this coordinator."""
        return self._keys[0].public_bytes

    def use_keys(self, private_key: PrivateKey, former: PrivateKey | None) -> None:
        """Answer by another key, and by the one before if that is still served."""
        self._keys = (private_key,) if former is None else (private_key, former)

    def shut(self) -> None:
        """Take no more connections: the process is about to stop."""
        self._is_shut = True

    def open(self, address: str, now: float) -> Connection | None:
        """Take a new connection, or ``None`` if there are too many."""
        number = self._last_number + 1
        connection = Connection(number, address, self._random(8).hex(), now)
        if not self._may_open(connection):
            self._counters["connections_refused"] += 1
            return None
        self._last_number = number
        self._connections[number] = connection
        self._deadlines[connection] = now + self._settings.register_timeout
        self._counters["connections"] += 1
        return connection

    def displaced(self) -> list[Connection]:
        """Return, once, the connections that have to make room for newer ones."""
        return self._newcomers.evicted()

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._forget_times(connection)
        self._newcomers.leave(connection)
        # It may still be waiting to be told of a new version.
        connection.state = State.CLOSED
        del self._connections[connection.id]
        self._limits.closed(connection.address, registered=connection.registered)

    def welcome(self, connection: Connection, now: float) -> None:
        """Keep a connection that has become a member's."""
        connection.state, connection.registered = State.MEMBER, True
        self._limits.registered(connection.address)
        self._newcomers.leave(connection)
        self._deadlines.pop(connection, None)
        self._presence.add(connection.id, now)

    def admit_sibling(self, connection: Connection, now: float) -> None:
        """Keep the connection of another coordinator, and say so."""
        connection.registered = True
        self._limits.registered(connection.address)
        self._newcomers.leave(connection)
        self._deadlines.pop(connection, None)
        self._presence.add(connection.id, now)
        self.send(connection, channel.HEARTBEAT, now)

    def receive(
        self, connection: Connection, frame: bytes, now: float
    ) -> bytes | CloseCode | None:
        """Return the payload of a frame, or why the connection has to end.

        ``None`` for a frame of the handshake; a heartbeat's is empty.
        """
        self._newcomers.heard(connection)
        if connection.channel is None:
            return self._answer_handshake(connection, frame)
        try:
            payload = connection.channel.open(frame)
        except AuthenticationFailed:
            self._counters["frames_not_authentic"] += 1
            return CloseCode.MALFORMED
        if connection.registered and connection.state in LASTING:
            self._presence.heard(connection.id, now)
        return payload

    def send(self, connection: Connection, payload: bytes, now: float) -> None:
        """Send a payload, unless the connection is closed."""
        if connection.channel is None or connection.state is State.CLOSED:
            return
        self._frames.append((connection.id, connection.channel.seal(payload)))
        if connection.state in LASTING:
            self._presence.spoke(connection.id, now)

    def close(self, connection: Connection, code: CloseCode) -> None:
        """Close a connection after what is still to be sent on it."""
        self._forget_times(connection)
        if connection.state is not State.CLOSED:
            connection.state = State.CLOSED
            self._closes.append(Close(connection.id, code))

    def last_heard(self, connection: Connection) -> float:
        """Return when a member's connection was heard last."""
        return self._presence.last_heard(connection.id)

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Return binary messages with the connections they go to, in order."""
        frames, self._frames = self._frames, []
        return frames

    def closes(self) -> list[Close]:
        """Return the connections to close, after the frames to send."""
        closes, self._closes = self._closes, []
        return closes

    # Time.

    def get_timer(self) -> float | None:
        deadline = next(iter(self._deadlines.values()), None)
        times = [deadline, self._presence.get_timer()]
        return min((time for time in times if time is not None), default=None)

    def late(self, now: float) -> list[Connection]:
        """Return the connections that have not become a member's in time."""
        return due(self._deadlines, now)

    def silent(self, now: float) -> list[Connection]:
        """Return the members' connections that are dead by now."""
        return [self._connections[number] for number in self._presence.silent(now)]

    def send_heartbeats(self, now: float) -> None:
        """Send a heartbeat to members that have heard nothing for long."""
        for number in self._presence.due(now):
            self.send(self._connections[number], channel.HEARTBEAT, now)

    def _may_open(self, connection: Connection) -> bool:
        if self._is_shut or len(self._connections) >= self._settings.max_connections:
            return False
        if not self._limits.opened(connection.address):
            return False
        if not self._newcomers.enter(connection, connection.address):
            self._limits.closed(connection.address, registered=False)
            return False
        return True

    def _answer_handshake(
        self, connection: Connection, frame: bytes
    ) -> CloseCode | None:
        for own in self._keys:
            try:
                key, response, secure = channel.answer(own, frame, random=self._random)
            except AuthenticationFailed:
                continue
            except InvalidMessage:
                self._counters["handshakes_failed"] += 1
                return CloseCode.MALFORMED
            connection.key, connection.channel = format_key(key), secure
            connection.coordinator_key = own.public_bytes
            is_own = key in (each.public_bytes for each in self._keys)
            connection.state = State.SIBLING if is_own else State.REGISTER
            self._frames.append((connection.id, response))
            return None
        self._counters["handshakes_failed"] += 1
        return CloseCode.WRONG_KEY

    def _forget_times(self, connection: Connection) -> None:
        self._deadlines.pop(connection, None)
        self._presence.remove(connection.id)


def due(times: dict[Connection, float], now: float) -> list[Connection]:
    """Return those whose time has come; the dictionary is ordered by time."""
    found = []
    for connection, at in times.items():
        if at > now:
            break
        found.append(connection)
    return found
