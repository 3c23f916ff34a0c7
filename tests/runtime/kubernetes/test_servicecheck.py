"""Services that work, and some that do not."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meshwg.kubernetes import fitness
from meshwg.kubernetes.fitness import CheckTarget
from meshwg.runtime.kubernetes import servicecheck as module
from meshwg.runtime.kubernetes.servicecheck import ServiceCheck

HERE = "127.0.0.1"


@asynccontextmanager
async def service(
    answer: bytes | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run something that answers each request so, or not at all."""

    ended: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        with contextlib.suppress(OSError):
            await reader.read(1024)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        end.set()

    server = await asyncio.start_server(serve, HERE, 0, ssl=tls)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield port
        for each in ended:
            await each.wait()


async def test_one_that_accepts_connections_is_fit() -> None:
    async with service(None) as port:
        assert await check("tcp", port) is None


async def test_one_that_does_not_is_not() -> None:
    async with service(None) as port:
        pass
    assert await check("tcp", port) == "connection refused"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok", None),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "it answers 500"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what answers does not speak HTTP"),
        (b"", "what answers does not speak HTTP"),
    ],
)
async def test_what_it_answers_counts(answer: bytes, problem: str | None) -> None:
    async with service(answer) as port:
        assert await check("http", port) == problem


async def test_a_line_without_end_is_not_read_for_ever() -> None:
    async with service(b"x" * 100_000) as port:
        assert await check("http", port) is not None


async def test_who_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.05)
    async with service(None) as port:
        assert await check("http", port) == "it does not answer in 0.05 s"


async def test_a_certificate_of_anybody_will_do(tmp_path: Path) -> None:
    async with service(b"HTTP/1.1 200 OK\r\n\r\n", certificate(tmp_path)) as port:
        assert await check("https", port) is None


async def test_who_speaks_no_tls_is_not_fit() -> None:
    async with service(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert await check("https", port) is not None


async def check(scheme: str, port: int) -> str | None:
    path = "" if scheme == "tcp" else "/livez"
    return await ServiceCheck(CheckTarget(scheme, HERE, port, path)).run()


def certificate(directory: Path) -> ssl.SSLContext:
    """Return the TLS of a server whose certificate nobody has signed."""
    key, chain = directory / "key.pem", directory / "cert.pem"
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody"]
    files = ["-keyout", str(key), "-out", str(chain)]
    command = ["openssl", "req", *words, *files]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def test_a_check_is_over_before_the_next_begins() -> None:
    assert fitness.LIMIT <= fitness.INTERVAL
