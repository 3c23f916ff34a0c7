"""One TCP port: the first byte selects the protocol."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coordinator.config import HostPort
from coordinator.runtime import admission as module
from coordinator.runtime.admission import EXCHANGES_PER_ADDRESS, Admission
from coordinator.runtime.certificate import load_tls
from coordinator.runtime.listener import (
    MalformedRequests,
    bind,
    listen,
    one_request,
    refuse_expectations,
    take_over,
)
from coordinator.runtime.unexpected import Unexpected
from meshwg.errors import MeshError
from tests.coordinator.programs import loopback, make_certificate
from tests.coordinator.runtime.relaying import until


class Echo(asyncio.Protocol):
    """Stands in for TURN over TCP."""

    def __init__(self, client: HostPort | None = None) -> None:
        self.client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"stream:" + data)


@pytest.fixture
def admission() -> Admission:
    return Admission()


@pytest.fixture
async def address(admission: Admission) -> AsyncIterator[tuple[str, int]]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="http")

    async def stall(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def stay(request: web.Request) -> web.StreamResponse:
        take_over(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.2)
        await response.write(b"still here")
        return response

    application = web.Application(middlewares=[one_request])
    application.add_routes(
        [web.get("/", hello), web.get("/stall", stall), web.get("/stay", stay)]
    )
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    refuse_expectations(runner.server)
    socket = bind(loopback(), 0)
    server = await listen(
        socket, runner.server, admission=admission, stream=Echo, tls=None
    )
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


async def test_a_silent_connection_is_closed(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.05)
    reader, writer = await asyncio.open_connection(*address)
    assert await reader.read() == b""
    writer.close()


async def test_a_request_that_takes_too_long_is_not_waited_for(
    address: tuple[str, int], admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.05)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert admission.late == 1
    writer.close()


async def test_an_exchange_that_takes_too_long_is_cut_off(
    address: tuple[str, int], admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.05)
    with contextlib.suppress(ConnectionResetError):
        assert await ask(address, b"GET /stall HTTP/1.0\r\n\r\n") == b""
    assert admission.late == 1


async def test_a_connection_that_is_kept_has_no_time_limit(
    address: tuple[str, int], admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.05)
    answer = await ask(address, b"GET /stay HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"still here")
    assert admission.late == 0


async def test_a_connection_serves_one_request(address: tuple[str, int]) -> None:
    twice = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2
    answer = await ask(address, twice)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize("target", [b"/", b"/nowhere", b"*"])
@pytest.mark.parametrize("expected", [b"\xff", b"bread", b"100-continue, \xed\xa0"])
async def test_what_cannot_be_expected_is_refused_and_not_repeated(
    address: tuple[str, int], target: bytes, expected: bytes
) -> None:
    head = b"OPTIONS " + target + b" HTTP/1.1\r\nHost: x\r\nExpect: "
    answer = await ask(address, head + expected + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 417")
    assert b"Connection: close" in answer
    assert expected not in answer


async def test_who_waits_with_a_body_is_told_to_go_on(
    address: tuple[str, int],
) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-Continue"
    reader, writer = await asyncio.open_connection(*address)
    writer.write(head + b"\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(b"x")
    assert (await reader.read()).endswith(b"http")
    writer.close()


async def test_one_address_may_not_have_many_connections_without_a_request(
    address: tuple[str, int], admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    undecided = [
        await asyncio.open_connection(*address) for _ in range(EXCHANGES_PER_ADDRESS)
    ]
    for _, writer in undecided[::2]:
        writer.write(b"GET")

    with contextlib.suppress(ConnectionResetError):
        assert await ask(address, b"GET / HTTP/1.0\r\n\r\n") == b""
    assert admission.refused == 1

    undecided.pop()[1].close()
    await asyncio.sleep(0.05)
    assert (await ask(address, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"http")
    for _, writer in undecided:
        writer.close()


async def test_a_connection_that_has_sent_its_request_is_no_longer_counted(
    address: tuple[str, int], admission: Admission
) -> None:
    streams = []
    for _ in range(EXCHANGES_PER_ADDRESS + 2):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"\0")
        assert await reader.readexactly(8) == b"stream:\0"
        streams.append(writer)
    assert admission.refused == 0
    for writer in streams:
        writer.close()


async def test_a_stream_of_headers_without_an_end_is_cut(
    address: tuple[str, int], admission: Admission
) -> None:
    endless = b"".join(b"X-%d: %b\r\n" % (n, b"y" * 800) for n in range(100))
    with contextlib.suppress(ConnectionError):
        await ask(address, b"GET / HTTP/1.1\r\n" + endless)
    assert admission.cut["too-large"] + admission.cut["malformed"] <= 1
    assert len(admission) == 0


async def test_with_tls_connections_are_counted_before_any_handshake(
    tmp_path: Path,
) -> None:
    async with tls_server(tmp_path) as (address, admission, inners):
        silent = [
            await asyncio.open_connection(*address)
            for _ in range(EXCHANGES_PER_ADDRESS)
        ]
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert admission.refused == 1
        assert not inners
        for _, each in (*silent, (reader, writer)):
            each.close()
        await until(lambda: len(admission) == 0)


async def test_with_tls_a_handshake_that_does_not_end_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.05)
    async with tls_server(tmp_path) as (address, admission, inners):
        for data in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n"):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            await until(lambda: len(admission) == 0)
        assert admission.late == 1
        assert not inners


async def test_with_tls_the_first_byte_inside_selects_the_protocol(
    tmp_path: Path,
) -> None:
    async with tls_server(tmp_path) as (address, admission, inners):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(*address, ssl=context)
        writer.write(b"\0" + bytes(100_000))
        assert await reader.readexactly(8) == b"stream:\0"
        assert len(inners) == 1
        assert len(admission) == 0
        writer.close()


def test_a_client_that_is_gone_before_its_answer_is_no_surprise() -> None:
    unexpected = Unexpected()
    requests = MalformedRequests(unexpected)
    gone = ConnectionResetError("Cannot write to closing transport")
    record = logging.LogRecord(
        "http", logging.ERROR, "", 0, "Error", (), (type(gone), gone, None)
    )

    assert not requests.filter(record)
    assert (requests.count, unexpected.count) == (1, 0)


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


@contextlib.asynccontextmanager
async def tls_server(
    directory: Path,
) -> AsyncIterator[tuple[tuple[str, int], Admission, list[Echo]]]:
    """A listener with TLS that makes the same of everything."""
    admission, inners = Admission(), list[Echo]()

    def make(client: HostPort | None = None) -> Echo:
        inners.append(Echo(client))
        return inners[-1]

    certificate, key = make_certificate(directory)
    socket = bind(loopback(), 0)
    tls = load_tls(str(certificate), str(key))
    http: Any = make
    server = await listen(socket, http, admission=admission, stream=make, tls=tls)
    host, port = socket.getsockname()
    yield (host, port), admission, inners
    server.close()


async def ask(address: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer
