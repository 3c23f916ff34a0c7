"""The HTTP server of the control socket against clients that behave, and others."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from meshwg.runtime import httpserver, visitors
from meshwg.runtime.httpserver import HttpAnswer, HttpRequest, HttpServer

LIMIT = 100
LENGTH_3 = b"Content-Length: 3"


async def test_a_request_is_read_whole_and_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        answer = await say(
            service, b"POST /a?b HTTP/1.1\r\n", b"Content-Length: 3", b"xyz"
        )

    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\nPOST /a xyz")
    assert b"connection: close" in answer.lower()


async def test_the_user_at_the_other_end_is_known(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        await say(service, b"GET / HTTP/1.1\r\n")

    assert service.requests[0].user == os.geteuid()


async def test_a_client_that_waits_to_go_on_is_told_to(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, connected(service) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n")
        writer.write(b"Expect: 100-continue\r\n\r\n")
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ok")
        assert (await reader.read()).endswith(b"POST / ok")


async def test_an_old_client_is_served_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, connected(service) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"GET / ")


async def test_head_is_answered_without_a_body(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as service:
        answer = await say(service, b"HEAD /a HTTP/1.1\r\n", LENGTH_3, b"xyz")

    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\n")
    assert not caplog.records


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x00\xa5\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + bytes(101), 413),
    ],
)
async def test_a_strange_request_is_refused(
    tmp_path: Path, request_bytes: bytes, status: int
) -> None:
    async with serving(tmp_path) as service, connected(service) as (reader, writer):
        writer.write(request_bytes)
        assert status_of(await reader.read()) == status

    assert service.requests == []


async def test_a_client_that_says_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpserver, "REQUEST_LIMIT", 0.05)

    async with serving(tmp_path) as service, connected(service) as (reader, writer):
        writer.write(b"GET / HT")
        assert await reader.read() == b""


async def test_clients_that_say_nothing_make_room_for_those_that_ask(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as service:
        silent = []
        for _ in range(200):
            silent.append(await asyncio.open_unix_connection(str(service.path)))
            answer = await say(service, b"GET / HTTP/1.1\r\n")
            assert status_of(answer) == 200
        first_reader, _ = silent[0]
        assert await first_reader.read() == b""
        for _, writer in silent:
            writer.close()


async def test_a_client_is_refused_when_all_are_in_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "OWNER_SHARE", 1)

    async with serving(tmp_path) as service, connected(service) as (reader, writer):
        service.parts = asyncio.Queue()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with connected(service) as (late, _):
            refused = await late.read()
        service.parts.put_nowait(b"")

    assert status_of(refused) == 503
    assert b"Too many commands of this user" in refused


async def test_a_client_that_takes_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpserver, "SEND_LIMIT", 0.05)

    async with serving(tmp_path) as service, connected(service) as (_, writer):
        service.parts = asyncio.Queue()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(100):
            service.parts.put_nowait(bytes(1 << 20))
        await service.over.wait()


async def test_an_unexpected_error_is_logged_and_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as service:
        service.error = RuntimeError("a bug")
        answer = await say(service, b"GET / HTTP/1.1\r\n")

    assert status_of(answer) == 500
    assert "a bug" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_parts_are_sent_as_they_come(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, connected(service) as (reader, writer):
        service.parts = asyncio.Queue()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for part in (b"one", b"two"):
            service.parts.put_nowait(part)
            assert part in await reader.readuntil(part)
        service.parts.put_nowait(b"")
        assert (await reader.read()).endswith(b"0\r\n\r\n")


async def test_closing_does_not_wait_for_silent_clients(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        reader, writer = await asyncio.open_unix_connection(str(service.path))
        await asyncio.sleep(0)

    assert await reader.read() == b""
    writer.close()


async def test_closing_ends_an_answer_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpserver, "GRACE", 0.05)

    async with serving(tmp_path) as service:
        service.parts = asyncio.Queue()
        reader, writer = await asyncio.open_unix_connection(str(service.path))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

    assert service.ended
    writer.close()


class Service:
    """What is served: an echo of the request, or parts of a queue."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[HttpRequest] = []
        self.error: Exception | None = None
        self.parts: asyncio.Queue[bytes] | None = None
        self.ended = False
        self.over = asyncio.Event()

    async def handle(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        if self.parts is not None:
            return HttpAnswer(more=self._more(self.parts))
        text = f"{request.method} {request.path} ".encode() + request.body
        return HttpAnswer(text, HTTPStatus.OK)

    async def _more(self, parts: asyncio.Queue[bytes]) -> AsyncGenerator[bytes]:
        try:
            while part := await parts.get():
                yield part
        finally:
            self.ended = True
            self.over.set()


@asynccontextmanager
async def serving(directory: Path) -> AsyncGenerator[Service]:
    service = Service(directory / "sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(service.path))
    sock.listen()
    server = HttpServer(service.handle, LIMIT)
    await server.start(sock)
    try:
        async with asyncio.timeout(20):
            yield service
    finally:
        await server.close()


@asynccontextmanager
async def connected(
    service: Service,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(service.path))
    try:
        yield reader, writer
    finally:
        writer.close()


async def say(
    service: Service, line: bytes, header: bytes = b"Accept: */*", body: bytes = b""
) -> bytes:
    """Send a request and return the answer to its end."""
    async with connected(service) as (reader, writer):
        writer.write(line + b"Host: x\r\n" + header + b"\r\n\r\n" + body)
        return await reader.read()


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])
