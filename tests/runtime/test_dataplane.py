"""The pump: what it reads, in which batches, when it waits, and when it stops."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import pytest

from meshwg.packet import fairqueue
from meshwg.runtime import clock, dataplane
from meshwg.runtime.dataplane import (
    BURST,
    CROWD,
    DATAGRAMS_PER_TURN,
    PAUSE,
    Dataplane,
)
from meshwg.runtime.peersockets import CONNECT_AFTER
from meshwg.runtime.pktinfo import Address, Ancillary
from meshwg.runtime.routes import Routes
from meshwg.runtime.tun import TunDevice, TunGone
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import Endpoint, Source, Transmit

LINK = 7
LOCAL = Source("127.0.0.1", 1)
TRANSFER = [bytes(24) + bytes([number]) for number in range(6)]
PING = b"\x45" * 24
ALICE, BOB = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two packets be a batch."""
    monkeypatch.setattr(dataplane, "BATCH", 2)
    monkeypatch.setattr(fairqueue, "TURN", 2)


async def test_packets_of_the_interface_become_datagrams() -> None:
    async with pumping() as world:
        world.engine.answer = [Transmit(world.remote, [b"one", b"two"])]
        world.tun.send(b"packet")
        assert await world.hear(2) == [b"one", b"two"]
        assert world.engine.packets == [b"packet"]


async def test_datagrams_become_packets_of_the_interface() -> None:
    async with pumping() as world:
        world.engine.to_write = [b"first", b"second"]
        world.say(b"datagram")
        await world.until(lambda: world.engine.batches != [])
        assert world.engine.datagrams == [b"datagram"]
        assert [world.tun.recv(99), world.tun.recv(99)] == [b"first", b"second"]


async def test_what_piled_up_from_one_source_is_one_batch() -> None:
    async with pumping() as world:
        await world.busy()
        world.say(b"1", b"2", b"3")
        await world.until(lambda: world.engine.batches != [])
        assert world.engine.batches == [[b"1", b"2", b"3"]]
        assert world.engine.sources == [world.remote]


async def test_after_a_quiet_time_the_first_is_passed_on_at_once() -> None:
    async with pumping() as world:
        world.stop_time()
        world.say(b"1", b"2", b"3")
        await world.until(lambda: len(world.engine.datagrams) == 3)
        assert world.engine.batches == [[b"1"], [b"2", b"3"]]


async def test_packets_behind_a_first_one_are_read_together() -> None:
    async with pumping() as world:
        await world.busy()
        read: list[int] = []
        world.engine.on_packets = lambda: read.append(len(world.engine.packets))
        for number in b"1", b"2", b"3":
            world.tun.send(number)
        await world.until(lambda: len(world.engine.packets) == 3)
        assert read == [1, 3]


async def test_sources_are_not_mixed_and_each_keeps_its_order() -> None:
    async with pumping() as world:
        await world.busy()
        for number in b"1", b"2", b"3":
            world.say(b"a" + number, source=ALICE)
            world.say(b"b" + number, source=BOB)
        await world.until(lambda: world.engine.batches != [])
        assert world.engine.batches == [[b"a1", b"a2", b"a3"], [b"b1", b"b2", b"b3"]]
        assert world.engine.sources == [ALICE, BOB]


async def test_a_burst_is_passed_on_before_more_is_read() -> None:
    async with pumping() as world:
        await world.busy()
        world.say(*[b"x"] * (BURST + 1))
        await world.until(lambda: world.engine.batches != [])
        assert list(map(len, world.engine.batches)) == [BURST, 1]


async def test_a_flood_of_datagrams_does_not_starve_the_interface() -> None:
    async with pumping() as world:
        world.say(*[b"x"] * (3 * DATAGRAMS_PER_TURN))
        world.tun.send(b"packet")
        heard: list[int] = []
        world.engine.on_packets = lambda: heard.append(len(world.engine.datagrams))
        await world.until(lambda: heard != [])
        assert heard[0] <= DATAGRAMS_PER_TURN


async def test_a_flood_of_packets_does_not_starve_the_sockets() -> None:
    async with pumping() as world:
        world.engine.on_packets = lambda: world.tun.send(b"and another")
        world.tun.send(b"packet")
        world.say(b"x")
        await world.until(lambda: world.engine.datagrams != [])


async def test_a_ping_behind_a_transfer_waits_for_one_batch(
    small_batches: None,
) -> None:
    async with pumping() as world:
        await world.crowd(*TRANSFER, PING)
        await world.until(lambda: len(world.engine.packets) == len(TRANSFER) + 1)
        assert world.engine.packets == [*TRANSFER[:2], PING, *TRANSFER[2:]]


async def test_what_waits_here_is_passed_on_without_more_to_read(
    small_batches: None,
) -> None:
    async with pumping() as world:
        sizes: list[int] = []
        world.engine.on_packets = lambda: sizes.append(len(world.engine.packets))
        await world.crowd(*TRANSFER)
        await world.until(lambda: len(world.engine.packets) == len(TRANSFER))
        assert sizes == [2, 4, 6]
        assert world.engine.packets == TRANSFER


async def test_what_waits_here_goes_on_waiting_while_a_socket_blocks(
    small_batches: None,
) -> None:
    async with pumping() as world:
        world.wire.blocks = True
        world.engine.answer = [Transmit(world.remote, [b"late"])]
        await world.crowd(*TRANSFER)
        await world.pause()
        assert world.engine.packets == TRANSFER[:2]
        world.wire.blocks = False
        await world.until(lambda: world.engine.packets == TRANSFER)


async def test_of_datagrams_that_wait_for_too_long_one_is_dropped() -> None:
    async with pumping() as world:
        await world.busy()
        cast(Any, world.wire).has_stood = lambda now: True
        sent = [str(number).encode() for number in range(DATAGRAMS_PER_TURN + 1)]
        world.say(*sent)
        await world.until(lambda: sent[-1] in world.engine.datagrams)
        sent.remove(sent[DATAGRAMS_PER_TURN - 1])
        assert world.engine.datagrams == sent


async def test_while_a_socket_blocks_the_interface_is_not_read() -> None:
    async with pumping() as world:
        world.wire.blocks = True
        world.engine.answer = [Transmit(world.remote, [b"late"])]
        world.tun.send(b"first")
        await world.until(lambda: world.engine.packets == [b"first"])
        world.tun.send(b"second")
        await world.pause()
        assert world.engine.packets == [b"first"]
        world.wire.blocks = False
        assert await world.hear(1) == [b"late"]
        await world.until(lambda: world.engine.packets == [b"first", b"second"])


async def test_the_engine_is_woken_when_it_asked() -> None:
    async with pumping() as world:
        due = world.engine.timer = clock.now() + 0.05
        world.pump.turn()
        await world.until(lambda: world.engine.woken != [])
        assert world.engine.woken[0] >= due


async def test_an_earlier_time_replaces_a_later_one() -> None:
    async with pumping() as world:
        world.engine.timer = clock.now() + 3600
        world.pump.turn()
        world.engine.timer = clock.now()
        world.pump.turn()
        await world.until(lambda: world.engine.woken != [])


async def test_a_turn_is_reported_once() -> None:
    turns: list[str] = []
    async with pumping(on_turn=lambda: turns.append("a turn")) as world:
        turns.clear()
        world.pump.turn()
        assert turns == ["a turn"]


async def test_a_link_takes_what_is_meant_for_it_while_it_is_there() -> None:
    async with pumping() as world:
        link = RecordingLink()
        before, meanwhile, after = (
            Transmit(ALICE._replace(link=LINK), [text]) for text in (b"1", b"2", b"3")
        )
        world.tell(before)
        world.pump.add_link(LINK, link)
        world.tell(meanwhile)
        world.pump.remove_link(LINK)
        world.tell(after)
        assert link.sent == [meanwhile]


async def test_a_second_socket_is_a_link_that_is_read_too() -> None:
    async with pumping() as world:
        with closing(UdpSocket.open(socket.AF_INET, link=LINK)) as second:
            address = "127.0.0.1", second.port
            world.pump.add_link(LINK, second)
            world.remote_socket.sendto(b"in time", address)
            await world.until(lambda: world.engine.batches != [])
            world.pump.remove_link(LINK)
            world.remote_socket.sendto(b"too late", address)
            await world.pause()
            assert world.engine.batches == [[b"in time"]]
            assert world.engine.sources[0].link == LINK


async def test_what_a_socket_has_heard_is_passed_on_before_it_is_closed() -> None:
    async with pumping() as world:
        with closing(UdpSocket.open(socket.AF_INET, link=LINK)) as second:
            world.pump.add_link(LINK, second)
            world.remote_socket.sendto(b"just before", ("127.0.0.1", second.port))
            world.pump.remove_link(LINK)
            assert world.engine.batches == [[b"just before"]]


async def test_once_stopped_it_reads_nothing_and_wakes_nothing() -> None:
    async with pumping() as world:
        world.engine.timer = clock.now() + 0.01
        world.pump.turn()
        world.pump.stop()
        world.tun.send(b"packet")
        world.say(b"datagram")
        await world.pause()
        engine = world.engine
        assert [engine.packets, engine.batches, engine.woken] == [[], [], []]


@pytest.mark.parametrize("notices", [["read_raw", "read"], ["read"], ["write"]])
async def test_an_interface_that_has_gone_is_reported_once_and_stops_it(
    notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TunGone("The interface 'wg0' was removed")

    def fail_raw(*_: object) -> None:
        raise OSError(errno.EBADFD, "File descriptor in bad state")

    async with pumping() as world:
        await world.busy()
        for notice in notices:
            failing = fail_raw if notice.endswith("raw") else fail
            monkeypatch.setattr(world.interface, notice, failing)
        world.tun.send(b"packet")
        world.tun.send(b"and another")
        for _ in range(2):
            world.engine.to_write = [b"packet"]
            world.pump.turn()
        await world.pause()
        world.say(b"datagram")
        await world.pause()
        assert world.gone == 1
        assert world.engine.batches == []


# The fast path.


async def test_a_lone_packet_takes_the_fast_path() -> None:
    async with pumping() as world:
        await world.converse(2)
        assert world.engine.packets == []
        assert world.engine.lone_packets == [b"packet"] * 2


async def test_after_some_lone_packets_the_peer_has_a_socket_of_its_own() -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = b"opened"
        await world.converse(CONNECT_AFTER - 1)
        world.say(b"before")
        await world.until(lambda: world.engine.batches == [[b"before"]])
        await world.converse(3)
        world.say(b"after")
        await world.until(lambda: world.engine.lone_datagrams == [b"after"])
        assert world.tun.recv(99) == b"opened"
        assert world.engine.batches == [[b"before"]]


async def test_packets_not_meant_for_the_interface_do_not_reach_it() -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = b""
        await world.converse()
        world.say(b"datagram")
        await world.pause()
        assert world.engine.lone_datagrams == [b"datagram"]
        assert readable(world.tun) == []


async def test_what_the_fast_path_declines_takes_the_slow_path() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.engine.sealed = None
        world.say(b"datagram")
        await world.pause()
        world.tun.send(b"last packet")
        await world.pause()
        assert world.engine.lone_datagrams == [b"datagram"]
        assert world.engine.datagrams == [b"datagram"]
        assert world.engine.lone_packets[-1] == b"last packet"
        assert world.engine.packets == [b"last packet"]


async def test_a_burst_is_sent_as_one_batch_by_the_peers_own_socket_too() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.stop_time()
        world.say(b"0", b"1", b"2")
        await world.until(lambda: len(world.engine.datagrams) == 3)
        assert world.engine.batches == [[b"0"], [b"1", b"2"]]
        assert set(world.engine.sources) == {world.remote}


async def test_two_peers_have_a_socket_each() -> None:
    async with pumping(real_socket=True) as world:
        with loopback_socket() as socket_of_other:
            world.engine.opened = b""
            other = Endpoint(*socket_of_other.getsockname())._replace(source=LOCAL)
            for _ in range(CONNECT_AFTER + 1):
                world.engine.sealed = other, b"to the other"
                world.tun.send(b"packet")
                await world.pause()
                await world.converse(1)
            socket_of_other.sendto(b"from the other", ("127.0.0.1", world.socket.port))
            await world.until(lambda: world.engine.lone_datagrams != [])
            world.say(b"from the first")
            await world.until(lambda: len(world.engine.lone_datagrams) == 2)
            heard = [socket_of_other.recv(99) for _ in range(CONNECT_AFTER + 1)]
            assert heard == [b"to the other"] * (CONNECT_AFTER + 1)
            assert world.engine.lone_sources == [other, world.remote]


async def test_a_peer_that_refused_a_datagram_still_gets_the_next_one() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        port = world.remote.port
        world.remote_socket.close()
        world.tun.send(b"packet")  # This one is refused, of which the kernel tells.
        await world.pause()
        world.remote_socket = loopback_socket(port)
        world.tun.send(b"packet")
        assert await world.hear(1) == [b"sealed"]


async def test_without_its_own_sockets_the_pump_has_none_for_peers() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.pump.stop()
        world.pump.start(UdpSockets(world.socket, None))
        world.say(b"datagram")
        await world.until(lambda: world.engine.datagrams == [b"datagram"])
        assert world.engine.lone_datagrams == []


async def test_what_waits_at_a_peers_own_socket_is_not_lost_with_it() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.say(b"just before")
        world.pump.disconnect()
        assert world.engine.datagrams == [b"just before"]


async def test_peers_keep_their_own_sockets_while_the_routes_lead_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = b""
        await world.converse()
        world.pump.follow_routes()
        world.say(b"one")
        await world.until(lambda: world.engine.lone_datagrams == [b"one"])
        monkeypatch.setattr(Routes, "source_for", lambda *_: None)
        world.pump.follow_routes()
        await world.converse()
        world.say(b"two")
        await world.until(lambda: world.engine.datagrams == [b"two"])


async def test_disconnected_peers_return_to_the_shared_sockets() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        # The same endpoint, but known from elsewhere.
        world.remote = world.remote._replace()
        await world.converse(1)
        world.pump.disconnect()
        await world.converse(1)
        world.say(b"datagram")
        await world.until(lambda: world.engine.datagrams == [b"datagram"])
        assert world.engine.lone_datagrams == []


async def test_what_took_the_fast_path_is_noted_when_there_is_time() -> None:
    async with pumping() as world:
        before = world.engine.noted
        world.engine.sealed = world.remote, b"sealed"
        world.tun.send(b"packet")
        await world.hear(1)
        await world.until(lambda: world.engine.noted > before)


async def test_a_lone_packet_waits_for_a_socket_that_blocks() -> None:
    async with pumping() as world:
        world.wire.blocks = True
        world.engine.sealed = world.remote, b"sealed"
        world.tun.send(b"packet")
        await world.until(lambda: world.wire.is_blocked)
        world.wire.blocks = False
        assert await world.hear(1) == [b"sealed"]


async def test_a_lone_packet_that_cannot_be_written_is_counted() -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = bytes(1 << 20)
        await world.converse()
        world.say(b"datagram")
        await world.pause()
        assert world.interface.dropped == 1


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
