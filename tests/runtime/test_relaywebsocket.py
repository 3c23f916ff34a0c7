"""The connection to a relay in a WebSocket."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from meshwg.proxies import Proxies
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.runtime import relaywebsocket as module
from meshwg.runtime.relaywebsocket import MESSAGE_SIZE, RelayWebSocket
from meshwg.runtime.stream import BACKLOG
from meshwg.runtime.surprises import Surprises
from meshwg.transmit import Endpoint, Transmit
from tests.coordinator.runtime.relaying import until
from tests.runtime.connectproxy import connect_proxy
from tests.runtime.test_stream import HOST, free_port

SOMEWHERE = Endpoint(HOST, 1, 70_000)

Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


async def test_bytes_go_both_ways_in_order() -> None:
    async with serving(echo) as port:
        node = Node(port)
        await node.event("open")

        assert node.stream.send(Transmit(SOMEWHERE, [b"one", b"two"]))
        node.stream.send(Transmit(SOMEWHERE, [bytes(3 * MESSAGE_SIZE)]))

        whole = b"onetwo" + bytes(3 * MESSAGE_SIZE)
        await until(lambda: node.data == whole)
        node.stream.close()
        await until(node.stream._task.done)
        assert node.events == ["open"]


async def test_it_goes_through_the_proxy_of_the_environment() -> None:
    async with serving(echo) as port, connect_proxy(port) as proxy:
        node = Node(port, host="mesh.test", proxies=proxy.proxies)
        await node.event("open")

        node.stream.send(Transmit(SOMEWHERE, [b"through"]))

        await until(lambda: node.data == b"through")
        assert proxy.asked == [f"CONNECT mesh.test:{port} HTTP/1.1"]
        node.stream.close()


async def test_pings_are_answered() -> None:
    async def ping(server: web.WebSocketResponse) -> None:
        await server.ping(b"there?")
        pong = await server.receive()
        assert pong.type is WSMsgType.PONG
        await server.send_bytes(pong.data)
        await server.receive()

    async with serving(ping) as port:
        node = Node(port)
        await until(lambda: node.data == b"there?")
        node.stream.close()


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "there is no relay (HTTP 404)"), (503, "HTTP 503")]
)
async def test_an_answer_without_a_websocket_is_reported(
    status: int, reason: str
) -> None:
    async with serving(echo, status) as port:
        node = Node(port)

        await until(lambda: bool(node.events))
        assert reason in node.events[0]


async def test_a_refused_connection_is_reported_with_its_reason() -> None:
    node = Node(free_port())

    await node.event("closed: Connection refused")


async def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.05)
    ended = asyncio.Event()

    async def be_silent(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        ended.set()

    silent = await asyncio.start_server(be_silent, HOST, 0)
    node = Node(silent.sockets[0].getsockname()[1])

    await node.event("closed: it could not be opened in time")
    await ended.wait()
    silent.close()


async def test_a_connection_closed_by_the_relay_is_reported_once() -> None:
    async def hang_up(server: web.WebSocketResponse) -> None:
        await server.close()

    async with serving(hang_up) as port:
        node = Node(port)
        await node.event("closed: The relay closed it")

        node.stream.send(Transmit(SOMEWHERE, [b"too late"]))
        node.stream.close()

        assert node.events == ["open", "closed: The relay closed it"]


async def test_closing_before_it_is_open_reports_nothing() -> None:
    async with serving(echo) as port:
        node = Node(port)
        node.stream.close()
        await until(node.stream._task.done)

        assert node.events == []


async def test_what_was_sent_before_closing_still_arrives() -> None:
    received = bytearray()

    async def collect(server: web.WebSocketResponse) -> None:
        async for message in server:
            received.extend(message.data)

    async with serving(collect) as port:
        node = Node(port)
        await node.event("open")
        node.stream.send(Transmit(SOMEWHERE, [b"farewell"]))
        node.stream.close()

        await until(lambda: bytes(received) == b"farewell")


async def test_a_relay_that_does_not_read_costs_the_oldest_packets_only() -> None:
    may_read = asyncio.Event()
    received = bytearray()

    async def read_late(server: web.WebSocketResponse) -> None:
        await may_read.wait()
        async for message in server:
            received.extend(message.data)

    async with serving(read_late) as port:
        node = Node(port)
        await node.event("open")
        for number in range(4000):
            node.stream.send(Transmit(SOMEWHERE, [b"%08d" % number * 1000]))

        stream = node.stream
        assert stream.dropped > 100
        assert sum(map(len, stream._backlog)) <= BACKLOG
        assert stream._backlog[-1].startswith(b"00003999")
        may_read.set()
        await until(lambda: received.endswith(b"00003999"))
        assert len(received) % 8000 == 0
        stream.close()


async def test_what_nobody_expected_ends_only_this_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(echo) as port:
        node = Node(port)
        node.fails = True
        await node.event("open")

        node.stream.send(Transmit(SOMEWHERE, [b"hello"]))

        await node.event("closed: it failed in an unexpected way (OverflowError)")
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1


class Node:
    """What stands behind a stream: it notes what is told."""

    def __init__(
        self, port: int, host: str = HOST, proxies: Proxies | None = None
    ) -> None:
        self.events: list[str] = []
        self.data = b""
        self.fails = False
        url = RelayUrl(host, port, Transport.WS, "/v1/relay")
        self.stream = RelayWebSocket(
            RelayServer(url, HOST, "user", "password"),
            on_open=lambda: self.events.append("open"),
            on_data=self._on_data,
            on_close=lambda reason: self.events.append(f"closed: {reason}"),
            surprises=Surprises(logging.getLogger(__name__)),
            proxies=proxies,
        )

    async def event(self, name: str) -> None:
        """Wait for an event."""
        await until(lambda: name in self.events)

    def _on_data(self, data: bytes) -> None:
        if self.fails:
            raise OverflowError("nobody expected this")
        self.data += data


async def echo(server: web.WebSocketResponse) -> None:
    async for message in server:
        await server.send_bytes(message.data)


@asynccontextmanager
async def serving(serve: Serve, status: int = 200) -> AsyncIterator[int]:
    """Serve WebSockets at ``/v1/relay``; yield the port."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if status != 200:
            return web.Response(status=status)
        server = web.WebSocketResponse(timeout=1.0, autoping=False)
        await server.prepare(request)
        await serve(server)
        return server

    application = web.Application()
    application.router.add_get("/v1/relay", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
        server = runner.server
        # Who has left may have something on its way still.
        await until(lambda: server is None or not server.connections)
    finally:
        await runner.cleanup()
