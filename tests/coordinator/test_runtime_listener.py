"""One TCP port: the first byte says who is meant."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from coordinator.runtime.listener import bind, listen, load_tls
from meshwg.errors import MeshError
from tests.coordinator.programs import loopback


class Echo(asyncio.Protocol):
    """Stands in for TURN over TCP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"stream:" + data)


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="http")

    application = web.Application()
    application.add_routes([web.get("/", hello)])
    runner = web.AppRunner(application)
    await runner.setup()
    assert runner.server is not None
    socket = bind(loopback(), 0)
    server = await listen(socket, runner.server, stream=Echo, tls=None)
    host, port = socket.getsockname()
    yield host, port
    server.close()
    await runner.cleanup()


async def test_http_reaches_http(address: tuple[str, int]) -> None:
    answer = await ask(address, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"http")


async def test_http_in_single_bytes_reaches_http(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    for byte in b"GET / HTTP/1.0\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert (await reader.read()).endswith(b"http")
    writer.close()


@pytest.mark.parametrize("first", [b"\x00", b"\x01"])
async def test_stun_reaches_the_relay(address: tuple[str, int], first: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(first + b"abc")
    assert await reader.readexactly(11) == b"stream:" + first + b"abc"
    writer.write(b"GET")
    assert await reader.readexactly(10) == b"stream:GET"
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.runtime.listener.FIRST_BYTE_TIMEOUT", 0.05)
    reader, writer = await asyncio.open_connection(*address)
    assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_goes_away_is_forgotten(
    address: tuple[str, int],
) -> None:
    _, writer = await asyncio.open_connection(*address)
    writer.close()
    await writer.wait_closed()
    assert (await ask(address, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"http")


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(MeshError, match=r"192\.0\.2\.1:8443 cannot be listened on"):
        bind("192.0.2.1", 8443)


def test_a_certificate_that_is_not_there_is_named() -> None:
    with pytest.raises(MeshError, match="No such file"):
        load_tls("/nowhere/cert.pem", "/nowhere/key.pem")


async def ask(address: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer
