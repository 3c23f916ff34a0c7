"""A pump between an interface and a wire, the far ends of which a test holds."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import pytest

from meshwg.runtime import clock
from meshwg.runtime.dataplane import CROWD, PAUSE, Dataplane
from meshwg.runtime.peersockets import CONNECT_AFTER
from meshwg.runtime.pktinfo import Address, Ancillary
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import Endpoint, Source, Transmit

LINK = 7
LOCAL = Source("127.0.0.1", 1)
TRANSFER = [bytes(24) + bytes([number]) for number in range(6)]
PING = b"\x45" * 24
ALICE, BOB = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)


def readable(sock: socket.socket) -> list[bytes]:
    """Return what can be read at once, at most one."""
    sock.setblocking(False)
    try:
        return [sock.recv(99)]
    except BlockingIOError:
        return []


class RecordingEngine:
    """An engine that notes what it gets and answers what it was told to."""

    def __init__(self) -> None:
        self.lone_packets: list[bytes] = []
        self.lone_datagrams: list[bytes] = []
        self.lone_sources: list[Endpoint] = []
        self.sealed: tuple[Endpoint, bytes] | None = None
        self.opened: bytes | None = None
        self.noted = 0
        self.packets: list[bytes] = []
        self.batches: list[list[bytes]] = []
        self.sources: list[Endpoint] = []
        self.woken: list[float] = []
        self.answer: list[Transmit] = []
        self.to_write: list[bytes] = []
        self.timer: float | None = None
        self.on_packets: Callable[[], object] = lambda: None

    @property
    def datagrams(self) -> list[bytes]:
        return [datagram for batch in self.batches for datagram in batch]

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        self.packets += packets
        self.on_packets()

    def receive_datagrams(
        self, datagrams: Iterable[bytes], endpoint: Endpoint, now: float
    ) -> None:
        self.batches.append(list(datagrams))
        self.sources.append(endpoint)

    def seal_one(self, packet: bytes, now: float) -> tuple[Endpoint, bytes] | None:
        self.lone_packets.append(packet)
        return self.sealed

    def open_one(self, datagram: bytes, endpoint: Endpoint, now: float) -> bytes | None:
        self.lone_datagrams.append(datagram)
        self.lone_sources.append(endpoint)
        return self.opened

    def settle(self) -> None:
        self.noted += 1

    def collect(self, now: float) -> None:
        self.noted += 1

    def datagrams_to_send(self) -> list[Transmit]:
        answer, self.answer = self.answer, []
        return answer

    def packets_to_write(self) -> list[bytes]:
        packets, self.to_write = self.to_write, []
        return packets

    def get_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> None:
        self.woken.append(now)
        self.timer = None


class RecordingLink:
    """A link that notes what it is to send."""

    def __init__(self) -> None:
        self.sent: list[Transmit] = []

    def send(self, transmit: Transmit) -> bool:
        self.sent.append(transmit)
        return True


class WireSocket(UdpSocket):
    """A socket that receives what a test queued, and blocks while it is told to."""

    def __init__(self) -> None:
        super().__init__(loopback_socket())
        self.arrived: list[tuple[list[bytes], Endpoint]] = []
        self.blocks = False
        self._really_receive, self.receive_raw = self.receive_raw, self._receive
        self._really_send = self._send
        cast(Any, self)._send = self._send_if_not_blocked

    def _receive(self) -> tuple[int, list[Ancillary], int, Address]:
        return (0, [], 0, ("", 0)) if self.arrived else self._really_receive()

    def _send_if_not_blocked(self, *arguments: Any) -> int:
        if self.blocks:
            raise BlockingIOError(errno.EAGAIN, "The wire is busy")
        return self._really_send(*arguments)

    def unpack(self, *_: object) -> tuple[list[bytes], Endpoint] | None:
        return self.arrived.pop(0) if self.arrived else None


def loopback_socket(port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", port))
    return sock


class World:
    """A pump between an interface and a wire, the far ends of which a test holds.

    :param real_socket: whether datagrams really arrive.
    """

    def __init__(
        self, on_turn: Callable[[], None] | None, *, real_socket: bool
    ) -> None:
        near, self.tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        self.interface = TunDevice(near.detach(), "wg0", has_vnet_header=False)
        self.wire = WireSocket()
        self.socket = UdpSocket(loopback_socket()) if real_socket else self.wire
        self.remote_socket = loopback_socket()
        self.remote = Endpoint(*self.remote_socket.getsockname())._replace(source=LOCAL)
        self.engine = RecordingEngine()
        self.stopped_clock = pytest.MonkeyPatch()
        self.gone = 0
        self.pump = Dataplane(
            self.engine, self.interface, on_tun_gone=self._lost, on_turn=on_turn
        )
        self.pump.start(UdpSockets(self.socket, None))

    def say(self, *datagrams: bytes, source: Endpoint | None = None) -> None:
        """Let datagrams arrive, each by a system call of its own."""
        if self.socket is not self.wire:
            for each in datagrams:
                self.remote_socket.sendto(each, ("127.0.0.1", self.socket.port))
            return
        self.wire.arrived += [([each], source or self.remote) for each in datagrams]
        # What makes the real socket readable.
        self.remote_socket.sendto(b"", ("127.0.0.1", self.wire.port))

    def stop_time(self) -> None:
        """Let no time pass from now on; packets before were long ago."""
        moment = clock.now() + 1
        self.stopped_clock.setattr(clock, "now", lambda: moment)

    async def crowd(self, *packets: bytes) -> None:
        """Let packets come from the interface that are read together."""
        self.stop_time()
        self.engine.sealed = None
        self.pump._packet_at = CROWD
        for packet in packets:
            self.tun.send(packet)

    async def busy(self) -> None:
        """Let a datagram arrive, and no time pass from then on."""
        self.stop_time()
        self.say(b"x")
        await self.until(lambda: self.engine.batches != [])
        self.engine.batches.clear()
        self.engine.sources.clear()

    async def converse(self, packets: int = CONNECT_AFTER + 1) -> None:
        """Let lone packets go to the remote end, one by one."""
        self.engine.sealed = self.remote, b"sealed"
        for _ in range(packets):
            self.tun.send(b"packet")
            assert await self.hear(1) == [b"sealed"]
            await asyncio.sleep(2 * PAUSE)

    def tell(self, transmit: Transmit) -> None:
        """Let the engine send something on its own account."""
        self.engine.answer = [transmit]
        self.pump.turn()

    async def hear(self, count: int) -> list[bytes]:
        """Return the next datagrams that were sent to the remote end."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            return [await loop.sock_recv(self.remote_socket, 99) for _ in range(count)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def pause(self) -> None:
        """Let happen what would happen by now."""
        await asyncio.sleep(0.05)

    def close(self) -> None:
        self.stopped_clock.undo()
        self.pump.stop()
        self.interface.close()
        self.socket.close()
        self.wire.close()
        self.tun.close()
        self.remote_socket.close()

    def _lost(self) -> None:
        self.gone += 1


@asynccontextmanager
async def pumping(
    on_turn: Callable[[], None] | None = None,
    real_socket: bool = False,
) -> AsyncIterator[World]:
    with closing(World(on_turn, real_socket=real_socket)) as world:
        yield world
