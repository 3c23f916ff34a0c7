"""The connection to a relay over TCP and TLS."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meshwg.proxies import Proxies
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.runtime import stream as stream_module
from meshwg.runtime.stream import BACKLOG, RelayStream
from meshwg.transmit import Endpoint, Transmit
from tests.runtime.connectproxy import connect_proxy

HOST = "127.0.0.1"
SOMEWHERE = Endpoint(HOST, 1, 70_000)


async def test_bytes_go_both_ways_over_tcp() -> None:
    async with serving(echo) as port:
        node = Node(port)
        await node.event("open")

        assert node.stream.send(Transmit(SOMEWHERE, [b"one", b"two"]))

        await node.until(lambda: node.data == b"onetwo")
        node.stream.close()
        await node.stream_is_over()
        assert node.events == ["open"]


async def test_bytes_go_both_ways_over_tls(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with serving(echo, context) as port:
        node = Node(port, Transport.TLS)
        await node.event("open")

        node.stream.send(Transmit(SOMEWHERE, [b"secret"]))

        await node.until(lambda: node.data == b"secret")
        node.stream.close()
        await node.stream_is_over()


async def test_a_relay_is_reached_through_the_proxy_of_the_environment() -> None:
    async with serving(echo) as port, connect_proxy(port) as proxy:
        node = Node(443, proxies=proxy.proxies)
        await node.event("open")

        node.stream.send(Transmit(SOMEWHERE, [b"through"]))

        await node.until(lambda: node.data == b"through")
        assert proxy.asked == ["CONNECT relay.test:443 HTTP/1.1"]
        node.stream.close()


async def test_a_proxy_that_does_not_lead_to_a_relay_is_reported() -> None:
    async with connect_proxy(1) as proxy:
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        node = Node(443, proxies=proxy.proxies)

        await node.until(lambda: bool(node.events))
        assert "does not lead to relay.test:443 (HTTP 403)" in node.events[0]


async def test_a_refused_connection_is_reported_with_its_reason() -> None:
    node = Node(free_port())

    await node.event("closed: Connection refused")


async def test_a_server_without_tls_is_reported_with_its_reason() -> None:
    async with serving(talk_http) as port:
        node = Node(port, Transport.TLS)

        await node.until(lambda: bool(node.events))
        assert node.events[0].startswith("closed: TLS failed")


async def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "CONNECT_TIMEOUT", 0.05)
    async with serving(be_silent) as port:
        node = Node(port, Transport.TLS)

        await node.event("closed: it could not be opened in time")


async def test_a_connection_closed_by_the_relay_is_reported_once() -> None:
    async with serving(hang_up) as port:
        node = Node(port)
        await node.event("closed: The relay closed it")

        node.stream.send(Transmit(SOMEWHERE, [b"too late"]))
        node.stream.close()
        await asyncio.sleep(0)

        assert node.events == ["open", "closed: The relay closed it"]


async def test_closing_before_it_is_open_reports_nothing() -> None:
    async with serving(echo) as port:
        node = Node(port)
        node.stream.close()
        await node.stream_is_over()

        assert node.events == []


async def test_what_was_sent_before_closing_still_arrives() -> None:
    received = bytearray()

    async def collect(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        received.extend(await reader.read())
        writer.close()

    async with serving(collect) as port:
        node = Node(port)
        await node.event("open")
        node.stream.send(Transmit(SOMEWHERE, [b"farewell"]))
        node.stream.close()

        await node.until(lambda: bytes(received) == b"farewell")


async def test_a_relay_that_does_not_read_costs_the_oldest_packets_only() -> None:
    async with serving(be_silent) as port:
        node = Node(port)
        await node.event("open")
        for number in range(2000):
            node.stream.send(Transmit(SOMEWHERE, [b"%08d" % number * 1000]))

        stream = node.stream
        kept = [bytes(data[:8]) for data in stream._backlog]
        assert stream.dropped > 100
        assert kept[-1] == b"00001999"
        assert sum(map(len, stream._backlog)) <= BACKLOG
        stream._backlog.clear()
        assert stream._transport is not None
        stream._transport.abort()
        await node.until(lambda: len(node.events) == 2)


async def test_a_connection_that_blocked_goes_on_when_the_relay_reads_again() -> None:
    may_read = asyncio.Event()
    received = bytearray()

    async def read_late(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await may_read.wait()
        while data := await reader.read(1 << 16):
            received.extend(data)
        writer.close()

    async with serving(read_late) as port:
        node = Node(port)
        await node.event("open")
        for _ in range(2000):
            node.stream.send(Transmit(SOMEWHERE, [bytes(8000)]))
        may_read.set()
        await node.until(lambda: not node.stream._is_paused)
        node.stream.send(Transmit(SOMEWHERE, [b"last"]))
        node.stream.close()

        await node.until(lambda: received.endswith(b"last"))
        assert (len(received) - 4) % 8000 == 0


class Node:
    """What stands behind a stream: it notes what is told."""

    def __init__(
        self,
        port: int,
        transport: Transport = Transport.TCP,
        proxies: Proxies | None = None,
    ) -> None:
        self.events: list[str] = []
        self.data = b""
        url = RelayUrl("relay.test", port, transport)
        self.stream = RelayStream(
            RelayServer(url, HOST, "user", "password"),
            on_open=lambda: self.events.append("open"),
            on_data=self._on_data,
            on_close=lambda reason: self.events.append(f"closed: {reason}"),
            proxies=proxies,
        )

    async def event(self, name: str) -> None:
        """Wait for an event."""
        await self.until(lambda: name in self.events)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (several sources may change it)
                await asyncio.sleep(0.005)

    async def stream_is_over(self) -> None:
        """Let the loop close what is to be closed."""
        await asyncio.sleep(0.02)

    def _on_data(self, data: bytes) -> None:
        self.data += data


@asynccontextmanager
async def serving(
    handle: Callable[..., Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve one kind of behaviour; yield the port."""
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.create_task(serve(reader, writer))] = writer

    server = await asyncio.start_server(accept, HOST, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if connections:
            await asyncio.wait(connections, timeout=0.2)
        for task, writer in connections.items():
            if task.cancel():
                writer.transport.abort()
        for _ in range(3):
            # What is closed is gone after some turns of the loop.
            await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        await asyncio.sleep(5)
    finally:
        writer.close()


async def talk_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a certificate that nobody has signed."""
    pem = tmp_path / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-days", "1", "-subj", "/CN=relay.test"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(pem)),
        ],
        check=True,
        capture_output=True,
    )
    pem.write_text(pem.read_text() + (tmp_path / "key.pem").read_text())
    return pem
