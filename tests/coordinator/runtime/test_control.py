"""The WebSocket between nodes' frames and the server, on a real socket."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from coordinator.control.rendezvous import Delivery
from coordinator.control.server import ControlServer
from coordinator.control.settings import Settings
from coordinator.mesh.ipam import Networks
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import Join
from coordinator.mesh.registry import Registry
from coordinator.runtime.control import FRAME_LIMIT, ControlEndpoint
from meshwg.keys import PrivateKey
from meshwg.wire import channel, control
from meshwg.wire.control import CloseCode

SECONDS = 20.0
"""To wait for what must come; reached only when a test fails."""


async def test_frames_go_to_the_server_and_its_answers_come_back() -> None:
    async with endpoint() as bench, bench.connect() as socket:
        await shake_hands(bench, socket)
        assert bench.server.connections == 1


async def test_a_node_that_registers_is_an_operation_for_the_database() -> None:
    async with endpoint() as bench, bench.connect() as socket:
        secure = await shake_hands(bench, socket)
        register = control.Register(name="web", auth_key="key")
        await socket.send_bytes(secure.seal(control.encode(register)))
        await asyncio.wait_for(bench.wanted.wait(), SECONDS)
        (join,) = bench.server.operations(bench.now())
        assert isinstance(join, Join)
        assert join.name == "web"


async def test_what_the_server_closes_is_closed_with_its_code() -> None:
    async with endpoint() as bench, bench.connect() as socket:
        await socket.send_bytes(b"this is no handshake")
        assert await closed(socket) == CloseCode.MALFORMED
        await bench.empty()


async def test_text_ends_the_connection() -> None:
    async with endpoint() as bench, bench.connect() as socket:
        await socket.send_str("hello")
        assert await closed(socket) == CloseCode.MALFORMED
        await bench.empty()


async def test_a_frame_beyond_the_limit_ends_the_connection() -> None:
    async with endpoint() as bench, bench.connect() as socket:
        await socket.send_bytes(bytes(FRAME_LIMIT + 1))
        assert await closed(socket) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await bench.empty()


async def test_an_excess_connection_is_told_when_to_retry() -> None:
    async with endpoint(Settings(max_connections=1)) as bench, bench.connect():
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with bench.connect():
                pass
        assert refused.value.status == 503
        assert refused.value.headers is not None
        assert refused.value.headers["Retry-After"] == "10"
        assert bench.server.connections == 1


async def test_a_request_that_is_not_a_websocket_leaves_no_connection_behind() -> None:
    async with endpoint() as bench:
        async with bench.session.get(bench.url) as response:
            assert response.status == 426
            assert response.headers["Upgrade"] == "websocket"
        await bench.empty()


async def test_pings_are_answered_until_they_are_too_many() -> None:
    async with endpoint() as bench, bench.connect() as socket:
        await shake_hands(bench, socket)
        await socket._writer.send_frame(b"hello", aiohttp.WSMsgType.PING)
        for _ in range(500):
            await socket._writer.send_frame(b"", aiohttp.WSMsgType.PONG)
        # It is told that they are too many.
        assert (await socket.receive(SECONDS)).type is WSMsgType.BINARY
        assert await closed(socket) == CloseCode.REFUSED
        await bench.empty()


async def test_a_request_with_a_body_is_no_websocket() -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
    }
    async with endpoint() as bench:
        for headers in ({}, upgrade):
            data = b"x" * 100
            async with bench.session.get(bench.url, data=data, headers=headers) as got:
                assert got.status == 426
        assert bench.server.connections == 0
        assert bench.server.counters["connections"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        b"Connection: close\r\nUpgrade: w\xe5bsocket",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: \xc3\xa9",
    ],
)
async def test_an_upgrade_that_is_no_text_is_refused(headers: bytes) -> None:
    async with endpoint() as bench:
        url = urlsplit(bench.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        head = f"GET {url.path} HTTP/1.1\r\nHost: x\r\n"
        writer.write(head.encode() + headers + b"\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            answer = await reader.readline()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 426 ")


async def test_a_newcomer_displaces_who_says_nothing() -> None:
    async with (
        endpoint(Settings(max_new_connections=1)) as bench,
        bench.connect() as silent,
        bench.connect() as socket,
    ):
        assert await closed(silent) == CloseCode.SILENT
        await shake_hands(bench, socket)


async def test_a_carrier_that_breaks_is_forgotten() -> None:
    async with endpoint() as bench:
        async with bench.connect() as socket:
            await shake_hands(bench, socket)
        await bench.empty()


async def test_the_servers_timer_is_kept() -> None:
    async with (
        endpoint(Settings(register_timeout=0.01)) as bench,
        bench.connect() as socket,
    ):
        assert await closed(socket) == CloseCode.SILENT
        await bench.empty()


async def test_offers_for_other_processes_are_passed_on() -> None:
    async with endpoint() as bench:
        delivery = Delivery("key", "elsewhere", b"{}")
        bench.server._offers._forwarded.append(delivery)
        bench.endpoint.drain()
        assert bench.forwarded == [delivery]
        bench.endpoint.drain()
        assert bench.forwarded == [delivery]


class Bench:
    """A control server behind an endpoint, and a client session."""

    def __init__(self, settings: Settings) -> None:
        networks = Networks.parse("100.64.0.0/16", "fd00::/48")
        self.private_key = PrivateKey.generate(random.Random(1).randbytes)
        self.server = ControlServer(
            self.private_key,
            Registry(networks, "epoch"),
            NetMapHistory(networks),
            settings,
            now=self.now(),
            unix_time=1_800_000_000.0,
            random=os.urandom,
        )
        self.wanted = asyncio.Event()
        self._ended = asyncio.Event()
        self.forwarded: list[Delivery] = []
        self.endpoint = ControlEndpoint(
            self.server,
            on_operations=self.wanted.set,
            on_forward=self.forwarded.append,
            on_proof=lambda wanted: None,
        )
        self.session = aiohttp.ClientSession()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self.endpoint.handle(request)
        finally:
            self._ended.set()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def connect(
        self,
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        return self.session.ws_connect(self.url)

    async def empty(self) -> None:
        """Wait for the end of a request, after which there is no connection."""
        await asyncio.wait_for(self._ended.wait(), SECONDS)
        assert self.server.connections == 0


@contextlib.asynccontextmanager
async def endpoint(settings: Settings | None = None) -> AsyncIterator[Bench]:
    bench = Bench(settings or Settings())
    application = web.Application()
    application.add_routes([web.get("/", bench.handle)])
    async with bench.session, TestServer(application) as server:
        bench.url = str(server.make_url("/"))
        try:
            yield bench
        finally:
            bench.endpoint.stop()


async def shake_hands(
    bench: Bench, socket: aiohttp.ClientWebSocketResponse
) -> channel.Channel:
    handshake = channel.ClientHandshake(
        PrivateKey.generate(os.urandom),
        bench.private_key.public_bytes,
        random=os.urandom,
    )
    await socket.send_bytes(handshake.initiation)
    return handshake.read_response(await socket.receive_bytes(timeout=SECONDS))


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Wait for the end of a connection; return its code."""
    message = await socket.receive(timeout=SECONDS)
    assert message.type is WSMsgType.CLOSE
    return socket.close_code
