"""Connections of proxies, which are counted as those of their clients."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from coordinator.config import HostPort
from coordinator.runtime import admission as module
from coordinator.runtime.admission import EXCHANGES_PER_ADDRESS, Admission
from coordinator.runtime.certificate import load_tls
from coordinator.runtime.listener import (
    bind,
    client_of,
    count_clients,
    listen,
    one_request,
)
from coordinator.runtime.proxied import TrustedProxies
from tests.coordinator.programs import loopback, make_certificate
from tests.coordinator.runtime.relaying import until

CLIENT = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n"
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


class Teller(asyncio.Protocol):
    """Stands in for TURN over TCP: it says whose it is."""

    def __init__(self, client: HostPort | None) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"stream of {self._client}".encode())
        transport.close()


class Front:
    """A server for which this machine's loopback may be a proxy."""

    def __init__(self, *, believes: bool, tls: Path | None = None) -> None:
        self.proxies = TrustedProxies(loopback=believes)
        self.admission = Admission(self.proxies)
        self.address = "", 0
        self.stalled = 0
        self._tls = tls

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Front"]:
        async def tell(request: web.Request) -> web.Response:
            return web.Response(text=client_of(request, self.proxies))

        async def stall(_: web.Request) -> web.Response:
            self.stalled += 1
            await asyncio.Event().wait()
            raise AssertionError

        middlewares = [one_request, count_clients(self.proxies)]
        application = web.Application(middlewares=middlewares)
        application.add_routes([web.get("/", tell), web.get("/stall", stall)])
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        assert runner.server is not None
        socket = bind(loopback(), 0)
        context = None
        if self._tls is not None:
            context = load_tls(*map(str, make_certificate(self._tls)))
        server = await listen(
            socket,
            runner.server,
            admission=self.admission,
            stream=Teller,
            tls=context,
        )
        self.address = socket.getsockname()
        try:
            yield self
        finally:
            server.close()
            await runner.cleanup()

    async def ask(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = await reader.read()
        writer.close()
        return answer

    async def hold(self, data: bytes) -> asyncio.StreamWriter:
        """Open a connection that stays in the middle of an exchange."""
        _, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        return writer


async def test_a_proxys_header_says_whose_a_request_is() -> None:
    async with Front(believes=True).running() as front:
        assert (await front.ask(CLIENT + REQUEST)).endswith(b"203.0.113.7")
        assert (await front.ask(REQUEST)).endswith(b"\n127.0.0.1")


async def test_a_header_in_single_bytes_is_a_header() -> None:
    async with Front(believes=True).running() as front:
        reader, writer = await asyncio.open_connection(*front.address)
        for byte in CLIENT + REQUEST:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"203.0.113.7")
        writer.close()


async def test_a_proxys_header_says_whose_a_stream_is() -> None:
    async with Front(believes=True).running() as front:
        answer = await front.ask(CLIENT + b"\x00\x03")
        assert answer == b"stream of ('203.0.113.7', 40000)"
        assert await front.ask(b"\x00\x03") == b"stream of None"


async def test_a_header_stands_before_tls(tmp_path: Path) -> None:
    async with Front(believes=True, tls=tmp_path).running() as front:
        reader, writer = await asyncio.open_connection(*front.address)
        writer.write(CLIENT)
        await writer.drain()
        await writer.start_tls(trusting())
        writer.write(REQUEST)
        assert (await reader.read()).endswith(b"203.0.113.7")
        writer.close()


async def test_who_is_no_proxy_cannot_say_who_others_are() -> None:
    async with Front(believes=False).running() as front:
        assert b"HTTP/1.0 400 " in await front.ask(CLIENT + REQUEST)
        forged = b"GET / HTTP/1.0\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
        assert (await front.ask(forged)).endswith(b"\n127.0.0.1")


async def test_a_header_that_cannot_be_understood_ends_the_connection() -> None:
    async with Front(believes=True).running() as front:
        assert await front.ask(b"PROXY TCP4 nobody\r\n" + REQUEST) == b""
        assert front.admission.cut["malformed"] == 1
        assert len(front.admission) == 0


async def test_a_header_without_an_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.05)
    async with Front(believes=True).running() as front:
        assert await front.ask(b"PROXY TCP4 ") == b""
        assert front.admission.late == 1


def told_before(client: str, path: str) -> bytes:
    """Return a request with a header of the PROXY protocol before it."""
    line = f"PROXY TCP4 {client} 192.0.2.1 1 443\r\n"
    return f"{line}GET {path} HTTP/1.0\r\n\r\n".encode()


def told_inside(client: str, path: str) -> bytes:
    """Return a request that says itself whose it is."""
    return f"GET {path} HTTP/1.0\r\nX-Forwarded-For: {client}\r\n\r\n".encode()


@pytest.mark.parametrize("tell", [told_before, told_inside])
async def test_limits_count_clients_and_not_their_proxy(
    tell: Callable[[str, str], bytes],
) -> None:
    one, other = "203.0.113.7", "203.0.113.8"
    async with Front(believes=True).running() as front:
        stalled = tell(one, "/stall")
        held = [await front.hold(stalled) for _ in range(EXCHANGES_PER_ADDRESS)]
        await until(lambda: front.stalled == EXCHANGES_PER_ADDRESS)

        refused = await front.ask(stalled)

        assert refused == b"" or b" 503 " in refused
        assert front.admission.refused == 1
        assert (await front.ask(tell(other, "/"))).endswith(other.encode())
        for writer in held:
            writer.close()
        await until(lambda: len(front.admission) == 0)


async def test_a_proxy_may_have_more_connections_than_one_client() -> None:
    async with Front(believes=True).running() as front:
        number = EXCHANGES_PER_ADDRESS + 20
        held = [await front.hold(b"GET") for _ in range(number)]

        await until(lambda: len(front.admission) == number)

        assert front.admission.refused == 0
        for writer in held:
            writer.close()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
