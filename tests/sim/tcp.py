"""TCP of the simulated internet, segment by segment, where NATs and firewalls matter.

A connection is opened by SYNs that travel as datagrams do: routers translate, filter,
refuse or drop them, and they get lost and are sent again. Two that cross open one
connection (simultaneous open, RFC 9293 section 3.5). Data arrives in order, and late
where a segment was lost. Windows and congestion are not modelled, nor is ICMP.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from tests.sim.nat import Address
from tests.sim.realm import DEFAULT_TTL, Packet

if TYPE_CHECKING:
    from tests.sim.host import Host, Interface

RETRANSMIT = (1.0, 1.0, 2.0, 4.0)
"""Seconds between two SYNs, as Linux has them; then the connection has failed."""

DATA_RETRANSMIT = 0.25
USER_TIMEOUT = 10.0
"""Seconds without an acknowledgement that end a connection."""


class Flag(Enum):
    """What a segment is."""

    SYN = "SYN"
    SYN_ACK = "SYN, ACK"
    ACK = "ACK"
    RST = "RST"


@dataclass(frozen=True, slots=True)
class Segment:
    """What a packet of TCP carries beside its addresses."""

    flag: Flag
    start: int = 0
    """The sequence number with which its sender's half begins: the socket's own."""
    sequence: int = 0
    """Of the payload, in segments."""
    acknowledged: int = 0
    """How many segments have arrived in order."""
    payload: bytes | None = None
    """``b""`` closes the connection."""


class State(Enum):
    """Where a connection stands."""

    SYN_SENT = 1
    SYN_RECEIVED = 2
    ESTABLISHED = 3
    CLOSED = 4


@dataclass(slots=True, eq=False)
class Connection:
    """One end of a connection."""

    stack: "TcpStack"
    local: Address
    remote: Address
    ttl: int
    """Of the first segment."""
    state: State = State.SYN_SENT
    on_open: Callable[[float], None] = lambda now: None
    on_data: Callable[[bytes, float], None] = lambda data, now: None
    on_close: Callable[[float], None] = lambda now: None
    """Called once if the connection fails, or the other end closes it."""
    on_accept: Callable[["Connection"], None] | None = None
    received: bytearray = field(default_factory=bytearray)
    _attempts: int = 0
    _unacknowledged: list[bytes] = field(default_factory=list)
    _first: int = 0
    """The sequence number of the first segment that is not acknowledged."""
    _expected: int = 0
    _early: dict[int, bytes] = field(default_factory=dict)
    _waiting_since: float | None = None
    _is_armed: bool = False
    _start: int = 0
    _peer_start: int | None = None

    def __post_init__(self) -> None:
        self._start = self.stack.next_start()

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that is not open they are lost."""
        if self.state is State.ESTABLISHED and data:
            self._enqueue(bytes(data))

    def close(self) -> None:
        """Close this end now, and the other when it hears of it."""
        if self.state is State.ESTABLISHED:
            self._send_data(self._first + len(self._unacknowledged), b"")
        elif self.state is State.SYN_RECEIVED:
            self._send(Segment(Flag.RST))
        self._forget()

    def abort(self) -> None:
        """Break the connection."""
        self._send(Segment(Flag.RST))
        self._forget()

    # What the stack calls.

    def begin(self, flag: Flag) -> None:
        """Send a SYN, or an answer to one, again and again."""
        if self.state not in (State.SYN_SENT, State.SYN_RECEIVED):
            return
        if self._attempts > len(RETRANSMIT):
            self._fail()
            return
        self._send(Segment(flag))
        self.ttl = DEFAULT_TTL
        if self._attempts < len(RETRANSMIT):
            wait = RETRANSMIT[self._attempts]
            self.stack.host.network.after(wait, self._repeat)
        self._attempts += 1

    def receive(self, segment: Segment) -> None:
        """Take a segment."""
        now = self.stack.host.network.now
        if segment.flag is Flag.RST:
            self._fail()
        elif segment.flag is Flag.SYN:
            if self._peer_start not in (None, segment.start):
                self._fail()  # Each refuses what the other says (RFC 5961).
                return
            self._peer_start = segment.start
            if self.state is State.SYN_SENT:
                self.state = State.SYN_RECEIVED
            self._send(Segment(Flag.SYN_ACK))
        elif self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            if segment.flag is Flag.SYN_ACK:
                self._send(Segment(Flag.ACK))
            elif self.state is State.SYN_SENT:
                self._fail()
                return
            self.state = State.ESTABLISHED
            if self.on_accept is not None:
                self.on_accept(self)
            self.on_open(now)
            self._take(segment, now)
        elif self.state is State.ESTABLISHED:
            if segment.flag is Flag.SYN_ACK:
                self._send(Segment(Flag.ACK, acknowledged=self._expected))
            self._take(segment, now)

    # The inside.

    def _take(self, segment: Segment, now: float) -> None:
        arrived = segment.acknowledged - self._first
        if arrived > 0:
            del self._unacknowledged[:arrived]
            self._first += arrived
            self._waiting_since = now if self._unacknowledged else None
        if segment.payload is None:
            return
        self._early[segment.sequence] = segment.payload
        while self.state is State.ESTABLISHED and self._expected in self._early:
            payload = self._early.pop(self._expected)
            self._expected += 1
            if not payload:
                self._fail()
                return
            self.received += payload
            self.on_data(payload, now)
        self._send(Segment(Flag.ACK, acknowledged=self._expected))

    def _enqueue(self, data: bytes) -> None:
        self._unacknowledged.append(data)
        self._send_data(self._first + len(self._unacknowledged) - 1, data)
        if self._waiting_since is None:
            self._waiting_since = self.stack.host.network.now
        self._arm()

    def _send_data(self, sequence: int, data: bytes) -> None:
        self._send(
            Segment(
                Flag.ACK,
                sequence=sequence,
                acknowledged=self._expected,
                payload=data,
            )
        )

    def _arm(self) -> None:
        if not self._is_armed:
            self._is_armed = True
            self.stack.host.network.after(DATA_RETRANSMIT, self._resend)

    def _resend(self) -> None:
        self._is_armed = False
        if self.state is not State.ESTABLISHED or self._waiting_since is None:
            return
        silent = self.stack.host.network.now - self._waiting_since
        if silent >= USER_TIMEOUT:
            self._fail()
            return
        if silent >= DATA_RETRANSMIT:
            for index, data in enumerate(self._unacknowledged):
                self._send_data(self._first + index, data)
        self._arm()

    def _repeat(self) -> None:
        answered = self.state is State.SYN_RECEIVED
        self.begin(Flag.SYN_ACK if answered else Flag.SYN)

    def _send(self, segment: Segment) -> None:
        self.stack.send(self, replace(segment, start=self._start))

    def _fail(self) -> None:
        if self.state is not State.CLOSED:
            self._forget()
            self.on_close(self.stack.host.network.now)

    def _forget(self) -> None:
        self.state = State.CLOSED
        self.stack.connections.pop((self.local, self.remote), None)


class TcpStack:
    """The connections and listeners of one host."""

    def __init__(self, host: "Host") -> None:
        self.host = host
        self.connections: dict[tuple[Address, Address], Connection] = {}
        self._listeners: dict[int, Callable[[Connection], None]] = {}
        self._sockets = 0

    def next_start(self) -> int:
        """Return the sequence number of a new socket: they grow with time."""
        self._sockets += 1
        return self._sockets

    def listen(self, port: int, on_accept: Callable[[Connection], None]) -> None:
        """Accept connections at a port of every address."""
        self._listeners[port] = on_accept

    def ignore(self, port: int) -> None:
        """Accept no more connections there."""
        self._listeners.pop(port, None)

    def connect(
        self, port: int, remote: Address, ttl: int | None = None
    ) -> Connection | None:
        """Connect from a local port, ``None`` if there is such a connection already."""
        interface = self.host.interface_for(remote[0])
        if interface is None:
            return None
        local = interface.address, port
        if (local, remote) in self.connections:
            return None
        connection = Connection(self, local, remote, ttl or DEFAULT_TTL)
        self.connections[local, remote] = connection
        connection.begin(Flag.SYN)
        return connection

    def close(self) -> None:
        """Break all connections, as the end of their process does."""
        self._listeners.clear()
        for connection in list(self.connections.values()):
            connection.abort()

    def deliver(self, packet: Packet, interface: "Interface") -> None:
        """Take a segment that arrived."""
        segment = packet.tcp
        assert segment is not None
        connection = self.connections.get((packet.destination, packet.source))
        if connection is not None:
            connection.receive(segment)
        elif segment.flag is Flag.SYN and packet.destination[1] in self._listeners:
            accepted = Connection(
                self,
                packet.destination,
                packet.source,
                DEFAULT_TTL,
                State.SYN_RECEIVED,
                on_accept=self._listeners[packet.destination[1]],
            )
            self.connections[packet.destination, packet.source] = accepted
            accepted.begin(Flag.SYN_ACK)
        elif segment.flag is not Flag.RST:
            refusal = Segment(Flag.RST)
            self._carry(
                Packet(packet.destination, packet.source, b"", tcp=refusal), interface
            )
        self.host.drain()

    def send(self, connection: Connection, segment: Segment) -> None:
        """Send a segment from the address that the connection has."""
        local = connection.local[0]
        interface = self.host.interface_for(connection.remote[0], local)
        if interface is None:
            return
        self._carry(
            Packet(
                connection.local,
                connection.remote,
                segment.payload or b"",
                connection.ttl,
                segment,
            ),
            interface,
        )

    def _carry(self, packet: Packet, interface: "Interface") -> None:
        self.host.network.carry(packet, interface.realm, interface)
