"""The pump between the TUN device, the sockets and an engine.

A readable descriptor is read, the engine is called, and what it answers is written at
once. There is no queue and no task in between. While a socket blocks, the TUN device is
not read: that is all the back-pressure there is, and the kernel's own queues do the
rest.

The descriptors have an epoll instance of their own, which is one descriptor to the
event loop. So a stretch of packets costs one turn of that loop and not one each, and
what the system answers to a written packet is carried in the same turn.
"""

import asyncio
import select
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from meshwg.runtime import clock
from meshwg.runtime.tun import MAX_BATCH, TunDevice, TunGone
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import UDP, Endpoint, Transmit

TURN = 0.002
"""Seconds for which packets are carried before the rest of the program goes on."""
READS_PER_TURN = 4
"""Batches taken from the TUN device before the sockets are looked at."""
DATAGRAMS_PER_TURN = 256
"""Datagrams taken from one socket before the others are looked at."""
BURST = 32
"""Datagrams of one source that are passed on before more are read."""
SPARSE = 4
"""Packets and datagrams in one turn up to which the next turn is expected to begin with
a single one."""
LINGER = 0.0005
"""Seconds to wait, awake, for the answer to what was sent. A peer in the same building
answers sooner than a processor falls asleep and is woken up again."""
MAX_LUCK = 8
"""How many answers in a row may stay out until it is given up to wait like this."""
TRY_AGAIN = 64
"""How many times it is then left until it is tried again."""


class Engine(Protocol):
    """What moves packets: a WireGuard device, or a whole mesh node."""

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None: ...
    def receive_datagrams(
        self, datagrams: Iterable[bytes], endpoint: Endpoint, now: float
    ) -> None: ...
    def datagrams_to_send(self) -> list[Transmit]: ...
    def packets_to_write(self) -> list[bytes]: ...
    def get_timer(self) -> float | None: ...
    def handle_timer(self, now: float) -> None: ...


class Link(Protocol):
    """A way out other than the node's own UDP sockets."""

    def send(self, transmit: Transmit) -> bool: ...


class Dataplane:
    """Carries packets and datagrams, and wakes the engine when it wants to be.

    :param on_tun_gone: called once when the interface was removed.
    :param on_turn: called after the engine did something, to collect its events.
    """

    def __init__(
        self,
        engine: Engine,
        tun: TunDevice,
        *,
        on_tun_gone: Callable[[], None],
        on_turn: Callable[[float], None] | None = None,
    ) -> None:
        self._engine = engine
        self._tun = tun
        self._on_tun_gone = on_tun_gone
        self._on_turn = on_turn
        self._loop = asyncio.get_running_loop()
        self._sockets: UdpSockets | None = None
        self._links: dict[int, Link] = {}
        self._blocked: set[UdpSocket] = set()
        self._reading_tun = False
        self._poller: select.epoll | None = None
        self._handlers: dict[int, Callable[[], None]] = {}
        self._carried = 0
        self._is_sparse = True
        self._awaits_answer = False
        self._luck = MAX_LUCK
        self._waking = False
        self._tun_is_gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def start(self, sockets: UdpSockets) -> None:
        """Begin to carry: from now on the TUN device and the sockets are read."""
        self.stop()
        self._sockets = sockets
        self._poller = select.epoll()
        self._loop.add_reader(self._poller.fileno(), self._on_ready)
        for sock in (*sockets, *self._links.values()):
            if isinstance(sock, UdpSocket):
                self._watch(sock.fileno(), partial(self._on_readable, sock))
        self._resume_tun()
        self.turn()

    def stop(self) -> None:
        """Stop carrying; the sockets can then be closed."""
        self._pause_tun()
        for sock in list(self._blocked):
            self._unblock(sock)
        if self._poller is not None:
            self._loop.remove_reader(self._poller.fileno())
            self._poller.close()
            self._poller = None
        self._handlers.clear()
        self._sockets = None
        self._disarm()

    def add_link(self, number: int, link: Link) -> None:
        """Send what goes over this link number through ``link``."""
        self._links[number] = link
        if isinstance(link, UdpSocket):
            self._watch(link.fileno(), partial(self._on_readable, link))

    def remove_link(self, number: int) -> None:
        """Forget a link, which can then be closed."""
        link = self._links.pop(number, None)
        if isinstance(link, UdpSocket):
            self._unwatch(link.fileno())
            self._unblock(link)

    def receive(self, datagrams: Sequence[bytes], endpoint: Endpoint) -> None:
        """Take datagrams that arrived by a link that is no socket."""
        now = clock.now()
        self._engine.receive_datagrams(datagrams, endpoint, now)
        self._finish_turn(now)

    def turn(self) -> None:
        """Carry out what the engine was told from elsewhere to do."""
        self._finish_turn(clock.now())

    def wake(self) -> None:
        """Carry out soon what the engine was told: as :meth:`turn`, but not now."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._on_wake)

    def _on_wake(self) -> None:
        self._waking = False
        self.turn()

    def _on_ready(self) -> None:
        """Serve what is ready until nothing is, or others have waited long enough.

        Where packets come one by one, the first is passed on at once: to look for a
        second would only delay it. Otherwise as many as there are make one batch.
        """
        end = clock.now() + TURN
        self._carried = 0
        while self._poller is not None and clock.now() < end:
            ready = self._poller.poll(0) or self._linger(self._poller)
            if not ready:
                break
            for descriptor, _ in ready:
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    handler()
            self._is_sparse = False
        self._is_sparse = self._carried <= SPARSE

    def _linger(self, poller: select.epoll) -> list[tuple[int, int]]:
        """Wait for an answer that may come at once, if such answers did so before."""
        if not self._awaits_answer:
            return []
        self._awaits_answer = False
        self._luck -= 1
        if self._luck < 0:
            if self._luck < -TRY_AGAIN:
                self._luck = 0
            return []
        end = clock.now() + LINGER
        while clock.now() < end:
            if ready := poller.poll(0):
                self._luck = min(self._luck + 2, MAX_LUCK)
                return ready
        return []

    def _on_tun_readable(self) -> None:
        now = clock.now()
        limit = 1 if self._is_sparse else MAX_BATCH
        try:
            for _ in range(READS_PER_TURN):
                packets = self._tun.read(limit)
                if packets is None:
                    break
                self._carried += len(packets)
                self._engine.receive_packets(packets, now)
                self._send()
                self._awaits_answer = True
                if self._blocked or len(packets) < BURST:
                    break
        except TunGone:
            self._lose_tun()
            return
        self._finish_turn(now)

    def _on_readable(self, sock: UdpSocket) -> None:
        """Pass on what arrived, in batches of one source each.

        Many senders send packet by packet, and the kernel does not join what comes in
        through every kind of interface. What piled up is as good a batch as any.
        """
        now = clock.now()
        waiting: dict[Endpoint, list[bytes]] = {}
        left = 1 if self._is_sparse else DATAGRAMS_PER_TURN
        while left > 0 and (received := sock.receive()) is not None:
            datagrams, source = received
            left -= len(datagrams)
            self._carried += len(datagrams)
            batch = waiting.setdefault(source, [])
            batch += datagrams
            if len(batch) >= BURST:
                self._engine.receive_datagrams(waiting.pop(source), source, now)
                self._write()
        for source, batch in waiting.items():
            self._engine.receive_datagrams(batch, source, now)
        self._finish_turn(now)

    def _on_writable(self, sock: UdpSocket) -> None:
        if sock.flush():
            self._unblock(sock)
            self._resume_tun()

    def _on_timer(self) -> None:
        self._disarm()
        now = clock.now()
        self._engine.handle_timer(now)
        self._finish_turn(now)

    def _finish_turn(self, now: float) -> None:
        if self._on_turn is not None:
            self._on_turn(now)
        self._write()
        self._send()
        self._arm(now)

    def _write(self) -> None:
        packets = self._engine.packets_to_write()
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
        links = (link for link in self._links.values() if isinstance(link, UdpSocket))
        for sock in (*(self._sockets or ()), *links):
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
        if not self._reading_tun and not self._blocked and self._sockets is not None:
            self._reading_tun = True
            self._watch(self._tun.fileno(), self._on_tun_readable)

    def _pause_tun(self) -> None:
        if self._reading_tun:
            self._reading_tun = False
            self._unwatch(self._tun.fileno())

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        if self._poller is not None:
            self._handlers[descriptor] = handler
            self._poller.register(descriptor, select.EPOLLIN)

    def _unwatch(self, descriptor: int) -> None:
        if (
            self._poller is not None
            and self._handlers.pop(descriptor, None) is not None
        ):
            self._poller.unregister(descriptor)

    def _lose_tun(self) -> None:
        if not self._tun_is_gone:
            self._tun_is_gone = True
            self.stop()
            self._on_tun_gone()

    def _arm(self, now: float) -> None:
        due = self._engine.get_timer()
        # A timer that comes too early only asks again; one that is late would hurt.
        if due is not None and due < self._timer_at and not self._tun_is_gone:
            self._disarm()
            self._timer_at = due
            self._timer = self._loop.call_later(max(due - now, 0.0), self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_at = float("inf")
