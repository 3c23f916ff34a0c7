"""Hosts of the simulated internet: interfaces, sockets, and the machine that runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from meshwg.transmit import UDP, Endpoint, Source, Transmit
from tests.sim.realm import DEFAULT_TTL, Packet, Realm, Wire
from tests.sim.router import Router
from tests.sim.stream import Stream
from tests.sim.tcp import Connection, TcpStack

if TYPE_CHECKING:
    from tests.sim.network import Network

CONNECT_TIMEOUT = 10.0
"""Seconds after which a stream to nowhere is given up."""


class Machine(Protocol):
    """Pure code that a host can run (the contract of every machine of meshwg)."""

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take a datagram, or bytes of a stream; ``source.link`` tells which way."""

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what to send; called after every call in."""

    def get_timer(self) -> float | None:
        """Return when to call :meth:`handle_timer`."""

    def handle_timer(self, now: float) -> None:
        """Do what is due."""


@dataclass(slots=True, eq=False)
class Interface:
    """One address of a host in one realm."""

    host: "Host"
    address: str
    realm: Realm
    index: int
    uplink: Wire

    def wire(self, realm: Realm) -> Wire:
        """Return the way to the interface's realm."""
        return self.uplink

    def receive(self, packet: Packet, realm: Realm) -> None:
        """Hand a datagram to the host."""
        self.host.deliver(packet, self)


@dataclass(slots=True, eq=False)
class Socket:
    """A UDP socket: of a machine, or to send from and look into by hand."""

    host: "Host"
    link: int
    port: int
    address: str | None = None
    """The one local address it is bound to, ``None`` for all."""
    on_datagram: Callable[[bytes, Endpoint, float], None] | None = None
    received: list[tuple[bytes, Endpoint]] = field(default_factory=list)
    """What arrived while nobody listened: neither a machine nor ``on_datagram``."""

    def send(self, data: bytes, destination: Endpoint, ttl: int | None = None) -> None:
        """Send one datagram from this socket."""
        self.host.send_datagram(self, data, destination, ttl)


class Host:
    """A host with interfaces and sockets; it runs at most one machine."""

    def __init__(self, network: "Network", name: str) -> None:
        self.network = network
        self.name = name
        self.interfaces: list[Interface] = []
        self.sockets: dict[int, Socket] = {}
        self.streams: dict[int, Stream | Connection] = {}
        self.tcp = TcpStack(self)
        self.machine: Machine | None = None
        self.on_activity: Callable[[], None] = lambda: None
        """Called after everything the machine did: a place to take its events."""
        self._bound: dict[tuple[str | None, int], Socket] = {}
        self._armed: float | None = None
        self._stalled_until = float("-inf")
        self._waiting: list[tuple[Packet, Interface]] = []
        self._listeners: dict[int, Callable[[Stream], None]] = {}

    # Interfaces

    def add_interface(
        self,
        *addresses: str,
        behind: Router | None = None,
        realm: Realm | None = None,
        wire: Wire | None = None,
    ) -> None:
        """Attach the host to one more realm; the first one has the default route.

        :param realm: one without a router, as that of a bridge or a tunnel is.
        """
        if realm is None:
            realm = self.network.internet if behind is None else behind.inside
        index = 1 + max((interface.index for interface in self.interfaces), default=0)
        for address in addresses:
            interface = Interface(self, address, realm, index, wire or Wire())
            self.interfaces.append(interface)
            realm.attach(address, interface)

    def move(self, *addresses: str, behind: Router | None = None) -> None:
        """Leave all networks and join another: sockets stay, streams break.

        The wire to the new one is as good as the first one was.
        """
        wire = self.interfaces[0].uplink if self.interfaces else None
        for interface in self.interfaces:
            interface.realm.detach(interface.address)
        self.interfaces.clear()
        for stream in list(self.streams.values()):
            if isinstance(stream, Stream):
                stream.abort()
        if addresses:
            self.add_interface(*addresses, behind=behind, wire=wire)

    @property
    def addresses(self) -> list[str]:
        """The addresses of all interfaces, the default route's first."""
        return [interface.address for interface in self.interfaces]

    def interface_for(
        self, destination: str, pinned: str | None = None
    ) -> Interface | None:
        """Return the interface that a datagram leaves by, as routing would choose."""
        same_family = [
            interface
            for interface in self.interfaces
            if (":" in interface.address) == (":" in destination)
        ]
        if pinned is not None:
            return next((one for one in same_family if one.address == pinned), None)
        on_link = (one for one in same_family if destination in one.realm.members)
        internet = self.network.internet
        inside = next((one for one in on_link if one.realm is not internet), None)
        return inside or next(iter(same_family), None)

    # Sockets

    def open(
        self, port: int = 0, link: int = UDP, address: str | None = None
    ) -> Socket:
        """Open a socket; port 0 takes a free one at random."""
        assert link not in self.sockets, f"link {link} is open"
        while port == 0:
            candidate = self.network.random.randrange(32768, 61000)
            port = 0 if (address, candidate) in self._bound else candidate
        assert (address, port) not in self._bound, f"port {port} is taken"
        socket = Socket(self, link, port, address)
        self.sockets[link] = self._bound[address, port] = socket
        return socket

    def close(self, link: int) -> None:
        """Close a socket or a stream; what arrives later is dropped."""
        socket = self.sockets.pop(link, None)
        if socket is not None:
            del self._bound[socket.address, socket.port]
        stream = self.streams.pop(link, None)
        if stream is not None:
            stream.close()

    def send_datagram(
        self, socket: Socket, data: bytes, destination: Endpoint, ttl: int | None
    ) -> None:
        """Send one datagram, from the pinned source address if there is one."""
        pinned = destination.source.host if destination.source else socket.address
        interface = self.interface_for(destination.host, pinned)
        if interface is None:
            self.network.drop("no address")
            return
        source = interface.address, socket.port
        target = destination.host, destination.port
        packet = Packet(source, target, bytes(data), ttl or DEFAULT_TTL)
        if destination.host in self.addresses:
            self.network.after(0.0, lambda: self.deliver(packet, interface))
        else:
            self.network.carry(packet, interface.realm, interface)

    def stall(self, seconds: float) -> None:
        """Let no program run for so long: other work has the processor.

        What arrives waits, and timers are served before it when the time is over.
        """
        until = self._stalled_until = self.network.now + seconds
        self.network.at(until, lambda: self.network.after(0, self._resume))

    def _resume(self) -> None:
        waiting, self._waiting = self._waiting, []
        for packet, interface in waiting:
            self.deliver(packet, interface)

    def deliver(self, packet: Packet, interface: Interface) -> None:
        """Give a datagram to the socket it is for."""
        if self.network.now < self._stalled_until:
            self._waiting.append((packet, interface))
            return
        if packet.tcp is not None:
            self.tcp.deliver(packet, interface)
            return
        address, port = packet.destination
        socket = self._bound.get((address, port)) or self._bound.get((None, port))
        if socket is None:
            self.network.drop("no socket")
            return
        self.network.delivered += 1
        pin = Source(packet.destination[0], interface.index)
        source = Endpoint(*packet.source, link=socket.link, source=pin)
        if socket.on_datagram is not None:
            socket.on_datagram(packet.payload, source, self.network.now)
        elif self.machine is not None:
            self.machine.receive(packet.payload, source, self.network.now)
        else:
            socket.received.append((packet.payload, source))
        self.drain()

    # The machine

    def run(self, machine: Machine, port: int = 0) -> None:
        """Run a machine, with a socket as its link 0 if there is none yet."""
        self.machine = machine
        if UDP not in self.sockets:
            self.open(port)
        self.drain()

    def stop(self) -> None:
        """End the machine; its sockets and streams close."""
        self.machine = None
        for link in [*self.sockets, *self.streams]:
            self.close(link)
        self.tcp.close()

    def drain(self) -> None:
        """Send what the machine has to send, and keep its timer.

        A call into the machine by a test is followed by this.
        """
        if self.machine is not None:
            for transmit in self.machine.datagrams_to_send():
                self._send(transmit)
        self.on_activity()
        self._arm()

    def _send(self, transmit: Transmit) -> None:
        """Send a batch; an unknown link number opens a socket of its own."""
        link = transmit.destination.link
        stream = self.streams.get(link)
        if stream is not None:
            stream.write(b"".join(transmit.datagrams))
            return
        if link < UDP:
            return  # The stream has been closed meanwhile.
        socket = self.sockets.get(link) or self.open(link=link)
        for data in transmit.datagrams:
            socket.send(data, transmit.destination, transmit.ttl)

    def _arm(self) -> None:
        when = None if self.machine is None else self.machine.get_timer()
        if when is None or (self._armed is not None and self._armed <= when):
            return
        self._armed = when
        self.network.at(when, lambda: self._fire(when))

    def _fire(self, when: float) -> None:
        if self.network.now < self._stalled_until:
            self.network.at(self._stalled_until, lambda: self._fire(when))
            return
        if self._armed == when:
            self._armed = None
        due = None if self.machine is None else self.machine.get_timer()
        if self.machine is not None and due is not None and due <= self.network.now:
            self.machine.handle_timer(self.network.now)
            self.drain()
        else:
            self._arm()

    # Streams

    def listen(self, port: int, on_connect: Callable[[Stream], None]) -> None:
        """Accept streams at a port of every address."""
        self._listeners[port] = on_connect

    def connect(
        self, destination: Endpoint, *, wait: float = CONNECT_TIMEOUT
    ) -> Stream:
        """Open a stream; what arrives goes to the machine as from ``destination``.

        The machine sends on it with ``destination.link``. Set ``on_open`` and
        ``on_close`` of the result to learn of either; one that cannot be opened is
        closed, after the round trip if it is refused, or else after ``wait``.
        """
        target = destination.host, destination.port
        path = self.network.path(self, target)
        if path is None:
            stream = Stream(self.network, ("", 0), target, None)
            self.network.after(wait, stream.fail)
            return stream
        stream = Stream(self.network, path.seen_as, target, path, after=self.drain)
        stream.on_data = lambda data, now: self._receive_stream(data, destination, now)
        self.streams[destination.link] = stream
        self.network.after(path.delay, lambda: path.host.accept(stream))
        return stream

    def accept(self, stream: Stream) -> None:
        """Complete or refuse a stream that reached this host."""
        on_connect = self._listeners.get(stream.remote[1])
        assert stream.path is not None
        if on_connect is None:
            self.network.after(stream.path.delay, stream.fail)
            return
        own = Stream(self.network, stream.remote, stream.local, stream.path)
        own.after, own.is_open, own.other = self.drain, True, stream
        stream.other = own
        self.network.after(stream.path.delay, stream.open)
        on_connect(own)
        self.drain()

    def _receive_stream(self, data: bytes, source: Endpoint, now: float) -> None:
        if self.machine is not None:
            self.machine.receive(data, source, now)
