"""The WebSocket client against aiohttp's server, and against servers that misbehave."""

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from meshwg.runtime.websocket import (
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    NoWebSocket,
    WebSocket,
)
from tests.runtime.connectproxy import connect_proxy

LIMIT = 1000
BINARY, CONTINUATION, PING, CLOSE = 0x82, 0x80, 0x89, 0x88
FIRST_OF_MORE = 0x02

Serve = Callable[[web.WebSocketResponse], Awaitable[Any]]


async def test_messages_go_both_ways() -> None:
    async with serving(echo) as url, opened(url) as client:
        await client.send(b"one")
        await client.send(bytes(LIMIT))

        assert await client.receive() == b"one"
        assert await client.receive() == bytes(LIMIT)


async def test_text_is_ignored() -> None:
    async def chatter(server: web.WebSocketResponse) -> None:
        await server.send_str("hello")
        await server.send_bytes(b"data")
        await server.receive()

    async with serving(chatter) as url, opened(url) as client:
        assert await client.receive() == b"data"


async def test_the_servers_close_code_is_kept() -> None:
    async def refuse(server: web.WebSocketResponse) -> None:
        await server.close(code=4002)

    async with serving(refuse) as url, opened(url) as client:
        assert await client.receive() is None
        assert client.close_code == 4002
        with pytest.raises(ConnectionError):
            await client.send(b"late")


async def test_closing_says_so() -> None:
    heard = asyncio.Queue[WSMsgType]()

    async def listen(server: web.WebSocketResponse) -> None:
        heard.put_nowait((await server.receive()).type)

    async with serving(listen) as url:
        async with opened(url):
            pass
        assert await heard.get() is WSMsgType.CLOSE


async def test_what_is_written_before_leaving_arrives_before_the_goodbye() -> None:
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def listen(server: web.WebSocketResponse) -> None:
        async for message in server:
            heard.append(message.data)
        ended.set()

    async with serving(listen) as url:
        client = await WebSocket.open(url, max_size=LIMIT)
        client.write(b"one")
        client.write(b"two")
        client.leave()
        client.leave()
        with pytest.raises(ConnectionError):
            client.write(b"late")
        await ended.wait()

    assert heard == [b"one", b"two"]


async def test_a_server_that_does_not_read_makes_it_full_until_it_does() -> None:
    may_read = asyncio.Event()

    async def wait(server: web.WebSocketResponse) -> None:
        await may_read.wait()
        async for _ in server:
            continue

    async with serving(wait) as url, opened(url) as client:
        for _ in range(1000):
            client.write(bytes(LIMIT))
            if client.is_full:
                break
            client.write(bytes(50 * LIMIT))
        before = client.is_full
        may_read.set()
        await client.drain()
        assert (before, client.is_full) == (True, False)


async def test_a_host_may_be_reached_through_a_proxy(tmp_path: Path) -> None:
    async with (
        serving(echo, tls=server_context(tmp_path)) as url,
        connect_proxy(int(url.rpartition(":")[2])) as proxy,
    ):
        client = await WebSocket.open(
            "https://mesh.test", max_size=LIMIT, proxies=proxy.proxies
        )
        await client.send(b"through")
        assert await client.receive() == b"through"
        await client.close()
    assert proxy.asked == ["CONNECT mesh.test:443 HTTP/1.1"]


async def test_tls_needs_no_known_certificate(tmp_path: Path) -> None:
    async with serving(echo, tls=server_context(tmp_path)) as url:
        assert url.startswith("https:")
        async with opened(url) as client:
            await client.send(b"sealed")
            assert await client.receive() == b"sealed"


async def test_an_answer_that_is_no_tls_is_an_error() -> None:
    async with serving(echo) as url:
        with pytest.raises(OSError, match="SSL"):
            await WebSocket.open(url.replace("http:", "https:"), max_size=LIMIT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with serving(echo) as url:
        with pytest.raises(NoWebSocket) as refused:
            await WebSocket.open(f"{url}/moved?status={status}&to=/", max_size=LIMIT)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "url",
    [
        "http://caf\xff\x00/",
        "http://" + "a" * 256,
        "http://a..b/",
        "https://" + "b" * 70 + ".invalid/",
        "https://-/",
        "http://x:99999/",
        "http://[",
        "ftp://x/",
        "http:///",
    ],
)
async def test_a_url_that_leads_nowhere_is_an_error_of_the_connection(url: str) -> None:
    with pytest.raises(OSError, match="no host has such"):
        await WebSocket.open(url, max_size=LIMIT)


async def test_a_refusal_has_the_status() -> None:
    async with serving(echo) as url:
        with pytest.raises(NoWebSocket) as refused:
            await WebSocket.open(f"{url}/nothing", max_size=LIMIT)
    assert refused.value.status == 404


async def test_what_is_no_websocket_is_refused() -> None:
    async with serving(echo) as url:
        with pytest.raises(NoWebSocket) as refused:
            await WebSocket.open(f"{url}/page", max_size=LIMIT)
    assert refused.value.status == 200


async def test_name_and_password_of_the_url_are_sent() -> None:
    async with serving(echo) as url:
        asked = url.replace("http://", "http://us%65r:p%40ss@") + "/private"
        async with opened(asked) as client:
            await client.send(b"in")
            assert await client.receive() == b"in"


async def test_a_path_may_have_any_letters() -> None:
    async with serving(echo) as url, opened(f"{url}/weg für alle") as client:
        await client.send(b"x")
        assert await client.receive() == b"x"


async def test_the_second_address_serves_where_the_first_is_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(echo) as url:
        port = int(url.rpartition(":")[2])
        addresses = [("127.0.0.1", 1), ("127.0.0.1", port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found(addresses))
        async with opened("http://name.test") as client:
            await client.send(b"x")
            assert await client.receive() == b"x"


async def test_the_second_address_serves_where_the_first_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(echo) as url, full_server() as full:
        port = int(url.rpartition(":")[2])
        addresses = [full, ("127.0.0.1", port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found(addresses))
        async with opened("http://name.test") as client:
            await client.send(b"x")
            assert await client.receive() == b"x"


async def test_an_address_serves_whose_family_has_no_global_address_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(echo) as url:
        port = int(url.rpartition(":")[2])
        monkeypatch.setattr(socket, "getaddrinfo", without_global_ipv4)
        for host in ("127.0.0.1", "both.test", "ipv4.test"):
            async with opened(f"http://{host}:{port}") as client:
                await client.send(b"x")
                assert await client.receive() == b"x"


async def test_the_error_is_what_an_address_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", without_global_ipv4)

    for host in ("127.0.0.1", "both.test", "ipv4.test"):
        with pytest.raises(ConnectionRefusedError):
            await WebSocket.open(f"http://{host}:1", max_size=LIMIT)
    with pytest.raises(socket.gaierror):
        await WebSocket.open("http://nowhere.test", max_size=LIMIT)


async def test_the_error_is_that_of_the_last_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = [("127.0.0.1", 1), ("127.0.0.1", 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found(addresses))

    with pytest.raises(ConnectionRefusedError):
        await WebSocket.open("http://name.test", max_size=LIMIT)


async def test_parts_of_a_message_are_put_together() -> None:
    frames = (
        frame(FIRST_OF_MORE, b"one, ") + frame(PING, b"?") + frame(CONTINUATION, b"two")
    )

    async with scripted(frames) as (url, heard), opened(url) as client:
        assert await client.receive() == b"one, two"
        assert (await heard.readexactly(2))[0] == 0x8A


async def test_what_comes_with_the_handshake_is_not_lost() -> None:
    first = frame(BINARY, b"first")

    async with scripted(first, at_once=True) as (url, _), opened(url) as client:
        assert await client.receive() == b"first"


async def test_nonsense_that_comes_with_the_handshake_ends_the_connection() -> None:
    nonsense = frame(BINARY | 0x70, b"reserved bits are set")

    async with scripted(nonsense, at_once=True) as (url, _), opened(url) as client:
        assert await client.receive() is None


async def test_messages_before_a_close_are_received() -> None:
    frames = frame(BINARY, b"last") + frame(CLOSE, (1012).to_bytes(2, "big"))

    async with scripted(frames) as (url, _), opened(url) as client:
        assert await client.receive() == b"last"
        assert await client.receive() is None
        assert client.close_code == 1012


async def test_too_large_a_message_ends_the_connection() -> None:
    half = bytes(LIMIT // 2 + 1)
    frames = frame(FIRST_OF_MORE, half) + frame(CONTINUATION, half)

    async with scripted(frames) as (url, heard), opened(url) as client:
        assert await client.receive() is None
        assert await code_in(heard) == MESSAGE_TOO_BIG


@pytest.mark.parametrize("wrong", [b"\xff\xff", b"\x82\x85mask", b"\x89\x7e\x01\x00"])
async def test_a_breach_of_the_protocol_ends_the_connection(wrong: bytes) -> None:
    async with scripted(wrong + bytes(300)) as (url, heard), opened(url) as client:
        assert await client.receive() is None
        assert await code_in(heard) == PROTOCOL_ERROR


async def test_a_server_that_pings_and_does_not_read_is_not_read_either() -> None:
    pings = frame(PING, bytes(125)) * 1000
    stalled, left, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(acceptance(await reader.readuntil(b"\r\n\r\n")))
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(250):
                writer.write(pings)
                async with asyncio.timeout(0.5):
                    await writer.drain()
        stalled.set()
        await left.wait()
        writer.transport.abort()
        await asyncio.sleep(0)
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, opened(url) as client:
        receiving = asyncio.create_task(client.receive())
        await stalled.wait()
        assert client._writer.transport.get_write_buffer_size() < 1 << 20
        receiving.cancel()
        await asyncio.wait([receiving])
        client._writer.transport.abort()
        left.set()
        await over.wait()


async def test_pings_before_an_end_are_not_answered_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scripted(b"") as (url, _), opened(url) as client:
        client._writer.transport.abort()
        client._take(frame(PING, b"still there?") * 100)
    assert caplog.records == []


async def test_a_connection_that_just_ends_is_closed() -> None:
    async with scripted(b"", stay=False) as (url, _), opened(url) as client:
        assert await client.receive() is None
        assert client.close_code == 1006


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: forged\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs\x80cket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: \xff\r\n\r\n",
    ],
)
async def test_a_server_that_is_none_is_an_error(answer: bytes) -> None:
    async with scripted(answer, greet=False, stay=False) as (url, _):
        with pytest.raises(ConnectionError):
            await WebSocket.open(url, max_size=LIMIT)


async def echo(server: web.WebSocketResponse) -> None:
    async for message in server:
        await server.send_bytes(message.data)


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[WebSocket]:
    async with asyncio.timeout(20):
        client = await WebSocket.open(url, max_size=LIMIT)
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def serving(
    serve: Serve, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[str]:
    """Serve WebSockets with aiohttp at any path but a few, and return the URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse(timeout=1.0)
        await websocket.prepare(request)
        await serve(websocket)
        return websocket

    async def move(request: web.Request) -> web.StreamResponse:
        location = {"Location": request.query["to"]}
        return web.Response(status=int(request.query["status"]), headers=location)

    async def guard(request: web.Request) -> web.StreamResponse:
        secret = base64.b64encode(b"user:p@ss").decode()
        assert request.headers["Authorization"] == f"Basic {secret}"
        return await handle(request)

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="Welcome")

    async def nothing(request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound

    application = web.Application()
    application.add_routes(
        [
            web.get("/moved", move),
            web.get("/private", guard),
            web.get("/page", page),
            web.get("/nothing", nothing),
            web.get("/{any:.*}", handle),
        ]
    )
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def scripted(
    answer: bytes, *, greet: bool = True, at_once: bool = False, stay: bool = True
) -> AsyncGenerator[tuple[str, asyncio.StreamReader]]:
    """Serve these bytes; return the URL and what the client says after its request.

    :param greet: accept the WebSocket first.
    :param at_once: send all of that together.
    :param stay: keep the connection open.
    """
    heard = asyncio.StreamReader()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        request = await reader.readuntil(b"\r\n\r\n")
        if greet:
            writer.write(acceptance(request))
            if not at_once:
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.write(answer)
        while stay and (data := await reader.read(1000)):
            heard.feed_data(data)
        heard.feed_eof()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/x", heard
    finally:
        server.close()
        for writer in writers:
            writer.close()
        closed = (writer.wait_closed() for writer in writers)
        await asyncio.gather(*closed, return_exceptions=True)


def acceptance(request: bytes) -> bytes:
    lines = request.decode().split("\r\n")
    key = next(x.split()[1] for x in lines if x.lower().startswith("sec-websocket-key"))
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())
    accept = base64.b64encode(digest.digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def frame(first: int, payload: bytes) -> bytes:
    """Return a frame of a server, which has no mask."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes([first]) + length + payload


async def code_in(heard: asyncio.StreamReader) -> int:
    """Return the code in the close frame that comes next."""
    first, length = await heard.readexactly(2)
    assert (first, length & 0x80) == (CLOSE, 0x80)
    mask = await heard.readexactly(4)
    payload = await heard.readexactly(length & 0x7F)
    return int.from_bytes(bytes(a ^ b for a, b in zip(payload[:2], mask, strict=False)))


def found(addresses: list[tuple[str, int]]) -> list[Any]:
    """Return what getaddrinfo returns for these."""
    kind = socket.SOCK_STREAM
    return [(socket.AF_INET, kind, 6, "", address) for address in addresses]


def without_global_ipv4(
    host: str, port: int, family: int, kind: int, *, flags: int
) -> list[Any]:
    """Answer as glibc does where no interface but the loopback has an IPv4 address."""
    addresses = {
        "127.0.0.1": ["127.0.0.1"],
        "both.test": ["::1", "127.0.0.1"],
        "ipv4.test": ["127.0.0.1"],
    }.get(host)
    if addresses is None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if flags & socket.AI_ADDRCONFIG:
        addresses = [each for each in addresses if ":" in each]
    if not addresses:
        text = "Address family for hostname not supported"
        raise socket.gaierror(socket.EAI_ADDRFAMILY, text)
    families = (
        socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses
    )
    return [
        (each, kind, 6, "", (address, port))
        for each, address in zip(families, addresses, strict=True)
    ]


@asynccontextmanager
async def full_server() -> AsyncGenerator[tuple[str, int]]:
    """Return an address where connections are neither taken nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex(address)
            yield address
        finally:
            for sock in waiting:
                sock.close()


def server_context(directory: Path) -> ssl.SSLContext:
    key, certificate = directory / "key", directory / "certificate"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=nobody"),
            *("-days", "2", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
        env=dict(os.environ),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
