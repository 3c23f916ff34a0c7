"""Auxiliary sockets and streams: numbered, reported, and dealt with at once."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from meshwg.node import Node, SocketsClosed, SocketsWanted
from meshwg.proxies import Proxies
from meshwg.relay.pool import CloseStream, OpenStream
from meshwg.relay.server import RelayServer, parse_url
from meshwg.runtime import udp
from meshwg.runtime import ways_out as module
from meshwg.runtime.dataplane import Dataplane, Link
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.udp import UdpSocket
from meshwg.runtime.ways_out import MAX_LINK, WaysOut
from meshwg.transmit import Transmit

RELAY_LINK = 1 << 16
SERVER = RelayServer(parse_url("turn:relay.test:1?transport=tcp"), "192.0.2.1", "", "")


MARK = 0x01000000


def refuses(index: int) -> bool:
    return index == 7


class World:
    """Ways out between a node and a data plane that only note what they are told."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.ports: dict[int, dict[int, int]] = {}
        self.carried: dict[int, Link] = {}
        self.streams: list[StandInStream] = []
        self.background = self
        self.proxies = Proxies()
        self.ways_out = WaysOut(
            cast(Node, self),
            cast(Dataplane, self),
            on_unpinned=lambda endpoint: None,
            refuses=refuses,
            fwmark=MARK,
            proxies=self.proxies,
        )

    # As a node.

    def sockets_opened(self, request: int, ports: dict[int, int], now: float) -> None:
        self.ports[request] = ports

    def stream_opened(self, link: int, now: float) -> None:
        self.order.append("opened")

    def receive_stream(self, link: int, data: bytes, now: float) -> None:
        self.order.append(data.decode())

    def stream_closed(self, link: int, reason: str, now: float) -> None:
        self.order.append(f"closed: {reason}")

    # As a data plane.

    def add_link(self, number: int, link: Link) -> None:
        self.carried[number] = link

    def remove_link(self, number: int) -> None:
        self.carried.pop(number, None)

    def turn(self) -> None:
        self.order.append("turn")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    monkeypatch.setattr(udp, "set_fwmark", lambda sock, mark: None)

    def open_stream(server: RelayServer, **callbacks: Any) -> StandInStream:
        made.streams.append(StandInStream(server, **callbacks))
        return made.streams[-1]

    monkeypatch.setattr(module, "RelayStream", open_stream)
    monkeypatch.setattr(module, "RelayWebSocket", open_stream)
    yield made
    made.ways_out.close()


@pytest.mark.parametrize(("family", "host"), [(4, "0.0.0.0"), (6, "::")])
async def test_requested_sockets_are_opened_numbered_and_reported(
    world: World, family: int, host: str
) -> None:
    world.ways_out.carry_out(SocketsWanted(1, family, 3))

    assert list(world.ports[1]) == [1, 2, 3]
    for link, port in world.ports[1].items():
        sock = world.carried[link]
        assert isinstance(sock, UdpSocket)
        assert (sock.link, sock.port, sock.refuses) == (link, port, refuses)
        with socket.socket(fileno=socket.dup(sock.fileno())) as raw:
            assert raw.getsockname()[0] == host


async def test_sockets_and_streams_get_the_nodes_mark(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[int] = []
    monkeypatch.setattr(udp, "set_fwmark", lambda sock, mark: marks.append(mark))

    world.ways_out.carry_out(SocketsWanted(1, 4, 2))
    world.ways_out.carry_out(OpenStream(0x10001, SERVER))

    assert [*marks, world.streams[0].fwmark] == 3 * [MARK]


async def test_closed_sockets_are_no_longer_served(world: World) -> None:
    world.ways_out.carry_out(SocketsWanted(1, 4, 2))
    first = world.carried[1]
    assert isinstance(first, UdpSocket)

    world.ways_out.carry_out(SocketsClosed((1, 99)))

    assert list(world.carried) == [2]
    assert world.ways_out.get(1) is None
    assert first.fileno() == -1


async def test_numbers_wrap_around_and_skip_those_in_use(world: World) -> None:
    world.ways_out.carry_out(SocketsWanted(1, 4, 2))
    world.ways_out.carry_out(SocketsClosed((1,)))
    world.ways_out._last_link = MAX_LINK - 1

    world.ways_out.carry_out(SocketsWanted(2, 4, 3))

    assert list(world.ports[2]) == [MAX_LINK, 1, 3]


async def test_when_no_more_sockets_are_available_the_others_are_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = UdpSocket.open

    def open_or_refuse(*arguments: Any, **options: Any) -> UdpSocket:
        if len(world.carried) == 2:
            raise OSError(24, "Too many open files")
        return really_open(*arguments, **options)

    monkeypatch.setattr(UdpSocket, "open", open_or_refuse)
    world.ways_out.carry_out(SocketsWanted(1, 4, 5))

    assert list(world.ports[1]) == [1, 2]


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (lambda stream: stream.on_open(), "opened"),
        (lambda stream: stream.on_data(b"data"), "data"),
        (lambda stream: stream.on_close("lost"), "closed: lost"),
    ],
)
async def test_what_a_stream_brings_is_dealt_with_in_the_same_turn_of_the_loop(
    world: World, happens: Callable[["StandInStream"], None], told: str
) -> None:
    world.ways_out.carry_out(OpenStream(RELAY_LINK, SERVER))
    loop = asyncio.get_running_loop()
    loop.call_soon(world.order.append, "the next turn of the loop")

    happens(world.streams[0])
    await asyncio.sleep(0)

    assert world.order == [told, "turn", "the next turn of the loop"]


@pytest.mark.parametrize(
    ("url", "is_websocket"),
    [("turns:relay.test", False), ("wss://relay.test/", True), ("ws://a.test/", True)],
)
async def test_a_relay_in_a_websocket_gets_one(
    world: World, url: str, is_websocket: bool
) -> None:
    server = RelayServer(parse_url(url), "192.0.2.1", "", "")

    world.ways_out.carry_out(OpenStream(RELAY_LINK, server))

    (stream,) = world.streams
    assert stream.server == server
    assert stream.proxies is world.proxies
    assert (stream.surprises is not None) is is_websocket


async def test_a_lost_stream_no_longer_carries_packets(world: World) -> None:
    world.ways_out.carry_out(OpenStream(RELAY_LINK, SERVER))
    assert world.carried == {RELAY_LINK: world.streams[0]}

    world.streams[0].on_close("lost")

    assert world.carried == {}
    assert world.ways_out.get(RELAY_LINK) is None


async def test_a_stream_is_closed_when_the_node_says_so(world: World) -> None:
    world.ways_out.carry_out(OpenStream(RELAY_LINK, SERVER))

    world.ways_out.carry_out(CloseStream(RELAY_LINK))

    assert world.streams[0].is_closed
    assert world.carried == {}


async def test_everything_is_closed_at_the_end(world: World) -> None:
    world.ways_out.carry_out(SocketsWanted(1, 4, 1))
    world.ways_out.carry_out(OpenStream(RELAY_LINK, SERVER))
    sock = world.carried[1]
    assert isinstance(sock, UdpSocket)

    world.ways_out.close()

    assert sock.fileno() == -1
    assert world.streams[0].is_closed


class StandInStream:
    """A stream to nowhere."""

    def __init__(
        self,
        server: RelayServer,
        *,
        on_open: Callable[[], None],
        on_data: Callable[[bytes], None],
        on_close: Callable[[str], None],
        fwmark: int,
        proxies: Proxies | None,
        surprises: Surprises | None = None,
    ) -> None:
        self.server = server
        self.proxies, self.surprises = proxies, surprises
        self.fwmark = fwmark
        self.on_open = on_open
        self.on_data = on_data
        self.on_close = on_close
        self.is_closed = False

    def send(self, transmit: Transmit) -> bool:
        return True

    def close(self) -> None:
        self.is_closed = True
