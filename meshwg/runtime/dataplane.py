"""The pump between the TUN device, the sockets and an engine.

A readable descriptor is read, the engine is called, and what it answers is written at
once. There is no task in between. While a socket blocks, the TUN device is not read:
that is all the back-pressure there is, and the kernel's own queues do the rest.

What is carried at once takes about a millisecond, so that nothing waits longer for the
others. The TUN device's queue has one line for all, in which a ping would stand
behind the packets of a transfer. So more is read from it than can be carried, and
waits here, each flow for its own turn (:mod:`meshwg.packet.fairqueue`). Datagrams
cannot be told apart before they are opened; but where they wait for too long, one is
dropped, as there, to let whoever sends too much know.

Packets that come one by one are in a hurry, packets that come in crowds want to be
carried together. So where the last one came alone, one packet is read, and passed on
before it is asked whether there are more; if there are, as many as there are make one
batch. And whatever has to be noted and planned waits until no more packets do.

A lone packet finds nothing of this program in the processor's caches, so what counts
is how much of it there is to touch: the call of a Python function costs it up to ten
microseconds then. Its way, the *fast path*, is therefore in one piece here, from the
wait for packets on (:meth:`Dataplane._carry`), with one call of the engine
(:meth:`Engine.seal_one`, :meth:`Engine.open_one`) and, after a few packets, a socket
that is the peer's own (:mod:`meshwg.runtime.peersockets`). Whatever is not usual is
left to the way of the crowds.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from meshwg.packet.fairqueue import FairQueue
from meshwg.runtime import clock
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.connected_udp import ConnectedUdpSocket
from meshwg.runtime.packetloop import PacketLoop, Poll
from meshwg.runtime.peersockets import PeerSockets
from meshwg.runtime.routes import Routes
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.tun import TunDevice, TunGone
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.runtime.udp_receiver import UdpReceiver
from meshwg.transmit import UDP, Endpoint, Transmit

logger = logging.getLogger(__name__)

AFTER_SURPRISE = 1.0
"""Seconds until the engine is woken again after a timer of its failed."""
TURN = 0.002
"""Seconds for which packets are carried before the rest of the program goes on."""
QUIET = 0.001
"""Seconds without packets after which the rest of the program goes on."""
MAX_READY = 16
"""Descriptors named by one wait: Python makes room for them each time."""
BATCH = 135
"""Packets passed on before the sockets are looked at: what three system calls send, in
about a millisecond."""
READ_AHEAD = 180
"""Packets read from the TUN device in a row: its own queue has only one line. With many
more, the processor's cache has forgotten the first when their turn comes."""
MAX_WAITING = 1024
"""Packets that wait here before those in the device's queue do."""
DATAGRAMS_PER_TURN = 192
"""Datagrams taken from one socket before the others are looked at."""
BURST = 32
"""Datagrams of one source that are passed on before more are read."""
PAUSE = 0.00005
"""Seconds after a single packet from which on the next one is expected to come alone,
too; sooner ones are the rest of a crowd."""
CROWD = float("inf")
"""Stands for the time of the last single packet after a crowd."""


class Engine(Protocol):
    """What moves packets: a WireGuard device, or a whole mesh node.

    The three functions of the fast path are those of
    :class:`~meshwg.wireguard.datapath.Datapath`.
    :meth:`settle` takes note of what they carried, and :meth:`collect` of what the
    threads of a core did, and deals with what those could not.
    """

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None: ...
    def receive_datagrams(
        self, datagrams: Iterable[bytes], endpoint: Endpoint, now: float
    ) -> None: ...
    def seal_one(
        self, packet: bytes, now: float, /
    ) -> tuple[Endpoint, bytes] | None: ...
    def open_one(
        self, datagram: bytes, endpoint: Endpoint, now: float, /
    ) -> bytes | None: ...
    def settle(self) -> None: ...
    def collect(self, now: float, /) -> None: ...
    def datagrams_to_send(self) -> list[Transmit]: ...
    def packets_to_write(self) -> list[bytes]: ...
    def get_timer(self) -> float | None: ...
    def handle_timer(self, now: float) -> None: ...


class Link(Protocol):
    """A way out other than the node's own UDP sockets."""

    def send(self, transmit: Transmit) -> bool: ...


class Dataplane:
    """Carries packets and datagrams, and wakes the engine when it wants to be.

    It lives in a :class:`~meshwg.runtime.packetloop.PacketLoop`.

    :param on_tun_gone: called once when the interface was removed.
    :param on_turn: called soon after the engine did something, to collect its events.
    """

    def __init__(
        self,
        engine: Engine,
        tun: TunDevice,
        *,
        on_tun_gone: Callable[[], None],
        on_turn: Callable[[], None] | None = None,
    ) -> None:
        self._engine = engine
        self._tun = tun
        self._on_tun_gone = on_tun_gone
        self._on_turn = on_turn
        self._loop = _running_packet_loop()
        self._sockets: UdpSockets | None = None
        self._links: dict[int, Link] = {}
        self._blocked: set[UdpSocket] = set()
        self._tun_descriptor = -1
        """That of the TUN device while it is read."""
        self._readers: dict[int, UdpReceiver] = {}
        self._packet_at = self._datagram_at = 0.0
        self._waiting = FairQueue()
        self._has_waiting = False
        self._own = PeerSockets(self._watch, self._forget_own)
        # Where the last lone packet went through the peer's own socket, and how.
        self._endpoint: Endpoint | None = None
        self._send_alone: Callable[[bytes], int]
        self._tun_is_gone = False
        self._alarm = Alarm(self._on_alarm)
        self._surprises = Surprises(logger)

    def start(self, sockets: UdpSockets) -> None:
        """Begin to carry: from now on the TUN device and the sockets are read."""
        self.stop()
        self._sockets = sockets
        self._begin()
        for sock in self._udp_sockets():
            self._watch(sock)
        self._resume_tun()
        self.turn()

    def stop(self) -> None:
        """Stop carrying; the sockets can then be closed."""
        self._pause_tun()
        self.disconnect()
        for sock in list(self._blocked):
            self._unblock(sock)
        for descriptor in list(self._readers):
            self._unwatch(descriptor)
        self._end()
        self._sockets = None
        self._alarm.clear()

    def _begin(self) -> None:
        """Wait for packets from now on."""
        self._loop.set_carrier(self._carry)

    def _end(self) -> None:
        """Wait for packets no more."""
        self._loop.set_carrier(None)

    def disconnect(self) -> None:
        """Let all peers share the sockets again, as after these were given a mark."""
        self._own.close_all()

    def follow_routes(self) -> None:
        """Send from where the host's routes lead, after they changed."""
        with Routes() as routes:
            self._follow(routes)
        self.turn()

    def _follow(self, routes: Routes) -> None:
        for sock in self._udp_sockets():
            sock.follow_routes(routes)
        self._own.follow_routes(routes)

    def add_link(self, number: int, link: Link) -> None:
        """Send what goes over this link number through ``link``."""
        self._links[number] = link
        if isinstance(link, UdpSocket):
            self._watch(link)

    def remove_link(self, number: int) -> None:
        """Forget a link, which can then be closed."""
        link = self._links.pop(number, None)
        if isinstance(link, UdpSocket):
            self._read_out(link)
            self._unwatch(link.fileno())
            self._unblock(link)

    def turn(self) -> None:
        """Carry out what the engine was told from elsewhere to do."""
        self._finish_turn(clock.now())

    def _carry(self, poll: Poll, timeout: float | None) -> bool:
        """Wait for packets, and carry them; return whether anything else is ready.

        This is the fast path, whole: a call for each half of it would cost a lone
        packet more than all that the half does.
        """
        engine, tun, find = self._engine, self._tun, self._readers.get
        get_now = clock.now
        seal, open_, header = engine.seal_one, engine.open_one, tun.header
        others, end = False, 0.0
        try:
            while not others:
                ready = poll(0 if self._has_waiting else timeout, MAX_READY)
                if not ready and not self._has_waiting:
                    break
                now = get_now()
                end, timeout = end or now + TURN, QUIET
                for descriptor, _ in ready:
                    if descriptor == self._tun_descriptor:
                        if now - self._packet_at <= PAUSE:
                            self._read_crowd(now)
                            continue
                        self._packet_at = now
                        try:
                            data = tun.read_raw()
                        except OSError:
                            self._read_crowd(now)  # It meets this, and deals with it.
                            continue
                        sealed = None
                        if data.startswith(header):
                            sealed = seal(data[len(header) :], now)
                        if sealed is not None and sealed[0] is self._endpoint:
                            try:
                                self._send_alone(sealed[1])
                                continue
                            except OSError:
                                self._own.close(sealed[0])
                        self._send_lone(data, sealed, now)
                    elif (sock := find(descriptor)) is None:
                        others = True
                    elif now - self._datagram_at <= PAUSE:
                        self._receive_crowd(sock, now)
                    else:
                        self._datagram_at = now
                        try:
                            size, ancillary, _, address = sock.receive_raw()
                        except OSError as error:
                            sock.cannot_receive(error)
                            continue
                        remote, packet = sock.remote, None
                        if remote and address == sock.remote_address and not ancillary:
                            packet = open_(bytes(sock.buffer[:size]), remote, now)
                        if packet is None:
                            received = sock.unpack(size, ancillary, address)
                            self._receive_lone(received, now)
                        elif packet:
                            try:
                                tun.write_raw((header, packet))
                            except OSError:
                                self._write([packet])  # It meets this, too.
                if self._has_waiting:
                    self._pass_on(self._waiting.take(BATCH, now), now)
                if now >= end:
                    break
        finally:
            if end:
                self.turn()
        return others

    def _send_lone(
        self, data: bytes, sealed: tuple[Endpoint, bytes] | None, now: float
    ) -> None:
        """Pass on a lone packet that has no short way out, or none yet."""
        if sealed is None:
            self._engine.receive_packets(self._tun.unpack(data), now)
            self._send()
            return
        endpoint, message = sealed
        own = self._own.get(endpoint)
        if own is not None:
            self._endpoint, self._send_alone = endpoint, own.send_alone
            try:
                own.send_alone(message)
                return
            except OSError:
                self._own.close(endpoint)
        if self._sockets is not None:
            if not self._sockets.send(Transmit(endpoint, [message])):
                self._block()
            self._own.sent_alone(endpoint, self._sockets)

    def _receive_lone(
        self, received: tuple[list[bytes], Endpoint] | None, now: float
    ) -> None:
        """Pass on what came alone, and is not usual."""
        if received is not None:
            self._engine.receive_datagrams(*received, now)
        self._write(self._engine.packets_to_write())
        self._send()

    def _read_crowd(self, now: float) -> None:
        """Read what waits, and pass it on, or as much of it as makes a batch."""
        is_full = len(self._waiting) >= MAX_WAITING
        try:
            packets = self._tun.read(BATCH if is_full else READ_AHEAD)
        except TunGone:
            self._lose_tun()
            return
        if self._waiting or len(packets) > BATCH:
            self._waiting.add(packets, now)
            self._has_waiting = True
        else:
            self._pass_on(packets, now)

    def _pass_on(self, packets: Sequence[bytes], now: float) -> None:
        """Send a batch; as many packets go to a peer by one call."""
        self._engine.receive_packets(packets, now)
        self._send()
        self._has_waiting = bool(self._waiting) and not self._blocked
        self._packet_at = now if len(packets) == 1 and not self._waiting else CROWD

    def _receive_crowd(self, sock: UdpReceiver, now: float) -> None:
        """Pass on what arrived, in batches of one source each.

        Many senders send packet by packet, and the kernel does not join what comes in
        through every kind of interface. What piled up is as good a batch as any.
        """
        waiting: dict[Endpoint, list[bytes]] = {}
        left = DATAGRAMS_PER_TURN
        while left > 0 and (received := sock.receive()) is not None:
            datagrams, source = received
            left -= len(datagrams)
            if left <= 0 and sock.has_stood(now):
                del datagrams[0]
            batch = waiting.setdefault(source, [])
            batch += datagrams
            if len(batch) >= BURST:
                self._engine.receive_datagrams(waiting.pop(source), source, now)
                self._write(self._engine.packets_to_write())
        for source, batch in waiting.items():
            self._engine.receive_datagrams(batch, source, now)
        if left > 0:
            sock.has_been_emptied()
        carried = DATAGRAMS_PER_TURN - left
        self._datagram_at = now if carried == 1 else CROWD
        self._write(self._engine.packets_to_write())
        self._send()

    def _on_writable(self, sock: UdpSocket) -> None:
        if sock.flush():
            self._unblock(sock)
            self._resume_tun()

    def _on_alarm(self) -> None:
        now = clock.now()
        try:
            self._engine.handle_timer(now)
            self._finish_turn(now)
        except Exception as error:
            # A fault in one part, such as what speaks to the coordinator, would be the
            # end of every timer: the next one is set by what comes after it.
            self._surprises.note(error)
            self._alarm.set(now + AFTER_SURPRISE, now)

    def _finish_turn(self, now: float) -> None:
        self._engine.settle()
        if self._on_turn is not None:
            self._on_turn()
        self._write(self._engine.packets_to_write())
        self._send()
        if self._sockets is not None:
            # An alarm that comes too early only asks again; a late one would hurt.
            self._alarm.set(self._engine.get_timer(), now)

    def _write(self, packets: list[bytes]) -> None:
        if packets:
            try:
                self._tun.write(packets)
            except TunGone:
                self._lose_tun()

    def _send(self) -> None:
        """Send all that the engine has; a socket that blocks keeps what is left."""
        for transmit in self._engine.datagrams_to_send():
            number = transmit.destination.link
            if number == UDP:
                if self._sockets is not None and not self._sockets.send(transmit):
                    self._block()
            else:
                link = self._links.get(number)
                if link is not None and not link.send(transmit):
                    self._block()

    def _block(self) -> None:
        for sock in self._udp_sockets():
            if sock.is_blocked and sock not in self._blocked:
                self._blocked.add(sock)
                self._loop.add_writer(sock.fileno(), self._on_writable, sock)
        if self._blocked:
            self._pause_tun()

    def _unblock(self, sock: UdpSocket) -> None:
        if sock in self._blocked:
            self._blocked.remove(sock)
            self._loop.remove_writer(sock.fileno())

    def _resume_tun(self) -> None:
        is_read = self._tun_descriptor >= 0
        if not is_read and not self._blocked and self._sockets is not None:
            self._tun_descriptor = self._tun.fileno()
            self._loop.add_packet_descriptor(self._tun_descriptor)
            self._has_waiting = bool(self._waiting)

    def _pause_tun(self) -> None:
        if self._tun_descriptor >= 0:
            self._loop.remove_packet_descriptor(self._tun_descriptor)
            self._tun_descriptor = -1
            self._has_waiting = False

    def _udp_sockets(self) -> list[UdpSocket]:
        """Return all UDP sockets but the peers' own."""
        links = (link for link in self._links.values() if isinstance(link, UdpSocket))
        return [*(self._sockets or ()), *links]

    def _watch(self, sock: UdpReceiver) -> None:
        if self._sockets is not None:
            self._readers[sock.fileno()] = sock
            self._loop.add_packet_descriptor(sock.fileno())

    def _unwatch(self, descriptor: int) -> None:
        if descriptor in self._readers:
            del self._readers[descriptor]
            self._loop.remove_packet_descriptor(descriptor)

    def _forget_own(self, sock: ConnectedUdpSocket) -> None:
        """Neither read a peer's own socket any more nor send through it."""
        sock.turn_away()
        self._read_out(sock)
        self._unwatch(sock.fileno())
        if sock.remote == self._endpoint:
            self._endpoint = None

    def _read_out(self, sock: UdpReceiver) -> None:
        """Pass on what a socket that is to be closed has heard: nobody else will.

        What comes of it is passed on at the end of the turn.
        """
        left = DATAGRAMS_PER_TURN
        while left > 0 and (received := sock.receive()) is not None:
            left -= len(received[0])
            self._engine.receive_datagrams(*received, clock.now())

    def _lose_tun(self) -> None:
        if not self._tun_is_gone:
            self._tun_is_gone = True
            self.stop()
            self._on_tun_gone()


def _running_packet_loop() -> PacketLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PacketLoop), "packets need a loop that serves them first"
    return loop
