"""The pump where the core carries: its threads read and write, this does the rest.

The core's threads have descriptors of their own for the TUN device and the sockets.
What they do not know waits in queues with bounds until this takes it up, when the
core's *bell* becomes readable. Datagrams of the engine's own go through the same
sockets.

Anybody can send what the core does not know. Whoever sends a lot of it gets a share of
the time, and what does not fit is dropped: after a full batch this rests several times
as long as it took. While the threads have a lot to carry, the share is smaller, and
counts for small batches, too: each wake-up of Python takes time from them.

If a thread of the core panics, that is logged once, and from then on this is a
:class:`~meshwg.runtime.dataplane.Dataplane` like any other.
"""

import asyncio
import errno
import logging
from collections.abc import Callable

from meshwg.limits import TimeShare
from meshwg.runtime import clock
from meshwg.runtime.dataplane import Dataplane, Engine
from meshwg.runtime.routes import Routes
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.udp import UdpSocket
from meshwg.runtime.udp_receiver import UdpReceiver
from meshwg.transmit import UDP, Endpoint, Source
from meshwg.wireguard.core_datapath import EXCEPTIONS_AT_ONCE, CoreDatapath
from meshwg.wireguard.datapath import Datapath

THREADS = 2
"""One while packets come one by one, one for each direction under load; see
docs/design.md for what that is worth."""
REST_RATIO = 3
"""How many times as long as a full batch took there is a rest after it."""
MAX_REST = 0.05
"""Seconds of the longest rest."""
PART_UNDER_LOAD = 1 / 8
"""The part of the time for what the core does not know, while it has a lot to carry."""
BURST_UNDER_LOAD = 0.02
"""Seconds of it that come before any rest: dozens of handshakes."""

logger = logging.getLogger(__name__)


class CoreDataplane(Dataplane):
    """A data plane whose packets the core carries.

    :param datapath: that of the engine.
    """

    def __init__(
        self,
        engine: Engine,
        datapath: CoreDatapath,
        tun: TunDevice,
        *,
        on_tun_gone: Callable[[], None],
        on_turn: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(engine, tun, on_tun_gone=on_tun_gone, on_turn=on_turn)
        self._datapath = datapath
        self._core = datapath.core
        self._is_carrying = False
        self._rest: asyncio.TimerHandle | None = None
        self._share = TimeShare(PART_UNDER_LOAD, BURST_UNDER_LOAD, clock.now())
        self._is_reported = False

    # As the plain one, with other means.

    def _begin(self) -> None:
        if self._datapath.failure is None:
            try:
                self._core.start(self._tun.fileno(), bool(self._tun.header), THREADS)
            except OSError as error:
                self._datapath.fall_back(f"it cannot start: {error.strerror}")
            else:
                self._is_carrying = True
                self._core.clear_sources()
                self._core.refuse(self._tun.index)
                self._loop.add_reader(self._core.fileno(), self._on_bell)
                return
        super()._begin()
        self._report()

    def _end(self) -> None:
        if not self._is_carrying:
            super()._end()
            return
        self._is_carrying = False
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._loop.remove_reader(self._core.fileno())
        self._count_losses()
        self._core.stop()
        self._read_up()

    def _watch(self, sock: UdpReceiver) -> None:
        if not self._is_carrying:
            super()._watch(sock)
        elif isinstance(sock, UdpSocket):
            self._readers[sock.fileno()] = sock
            self._core.add_socket(sock.fileno(), sock.link, sock.is_ipv4)

    def _unwatch(self, descriptor: int) -> None:
        if not self._is_carrying:
            super()._unwatch(descriptor)
        elif (sock := self._readers.pop(descriptor, None)) is not None:
            self._core.remove_link(sock.link)

    def _resume_tun(self) -> None:
        if not self._is_carrying:
            super()._resume_tun()
        elif not self._blocked:
            self._core.pause(False)

    def _pause_tun(self) -> None:
        if self._is_carrying:
            self._core.pause(True)
        else:
            super()._pause_tun()

    def _follow(self, routes: Routes) -> None:
        super()._follow(routes)
        for host, port, link, source in self._core.pinned():
            assert source is not None, "it is pinned"
            endpoint = Endpoint(host, port, link, Source(*source))
            sock = self._socket_of(endpoint)
            if sock is not None:
                found = sock.source_for(endpoint, routes)
                self._core.set_source(endpoint, found)

    # What comes up.

    def _read_up(self) -> None:
        """Take up all that still waits; what comes of it is passed on later."""
        before = -1
        while before < self._datapath.taken:
            before = self._datapath.taken
            self._engine.collect(clock.now())

    def _on_bell(self) -> None:
        """Take up what the core does not know."""
        self._core.clear_bell()
        began = clock.now()
        for kind, where, what in self._core.take_troubles():
            if kind == "tun-gone":
                self._lose_tun()
                return
            if kind == "panic":
                self._datapath.fall_back(what)
            elif where is not None:
                self._unpin(Endpoint(where[0], where[1], where[2]))
        taken, unknown = self._datapath.taken, self._datapath.unknown
        self._engine.collect(began)
        if self._datapath.failure is not None:
            self._take_over()
            return
        self._finish_turn(clock.now())
        pause = 0.0
        if self._datapath.taken - taken >= EXCEPTIONS_AT_ONCE:
            pause = (clock.now() - began) * REST_RATIO
        if self._datapath.unknown > unknown and self._core.is_crowded():
            now = clock.now()
            pause = max(pause, self._share.spend(now - began, now))
        if self._is_carrying and pause > 0:
            self._rest_for(min(pause, MAX_REST))

    def _rest_for(self, pause: float) -> None:
        """Leave the time to others for a while; the queues of the core have bounds."""
        self._loop.remove_reader(self._core.fileno())
        self._rest = self._loop.call_later(pause, self._end_rest)

    def _end_rest(self) -> None:
        self._rest = None
        self._loop.add_reader(self._core.fileno(), self._on_bell)
        self._on_bell()

    def _finish_turn(self, now: float) -> None:
        super()._finish_turn(now)
        if self._is_carrying and self._datapath.failure is not None:
            self._take_over()

    def _take_over(self) -> None:
        """Carry in Python from now on."""
        sockets = self._sockets
        if sockets is not None:
            self.start(sockets)

    def _report(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            logger.error(
                "The compiled core failed (%s): Python carries the packets now, and all"
                " sessions stay",
                self._datapath.failure,
            )

    def _unpin(self, endpoint: Endpoint) -> None:
        sock = self._socket_of(endpoint)
        if sock is not None and sock.on_unpinned is not None:
            sock.on_unpinned(endpoint)

    def _socket_of(self, endpoint: Endpoint) -> UdpSocket | None:
        if endpoint.link != UDP:
            link = self._links.get(endpoint.link)
            return link if isinstance(link, UdpSocket) else None
        return None if self._sockets is None else self._sockets.of(endpoint)

    def _count_losses(self) -> None:
        if self._sockets is not None:
            for number, count in self._core.take_errors().items():
                self._sockets.errors[errno.errorcode.get(number, "unknown")] += count
        dropped, malformed = self._core.counts()
        self._tun.dropped += dropped
        self._tun.malformed += malformed


def make_dataplane(
    engine: Engine,
    datapath: Datapath,
    tun: TunDevice,
    *,
    on_tun_gone: Callable[[], None],
    on_turn: Callable[[], None] | None = None,
) -> Dataplane:
    """Return what carries for an engine with that data path."""
    if isinstance(datapath, CoreDatapath):
        return CoreDataplane(
            engine, datapath, tun, on_tun_gone=on_tun_gone, on_turn=on_turn
        )
    return Dataplane(engine, tun, on_tun_gone=on_tun_gone, on_turn=on_turn)
