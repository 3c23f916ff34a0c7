"""An HTTP proxy that opens connections, as squid is one, for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from meshwg.proxies import Proxies, Proxy

HOST = "127.0.0.1"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxy:
    """Leads to one port of this machine, whatever it is asked for."""

    def __init__(self, leads_to: int) -> None:
        self.port = 0
        self.leads_to = leads_to
        self.answer = ESTABLISHED
        self.asked: list[str] = []
        """The requests' first lines."""
        self.headers: list[str] = []

    @property
    def proxies(self) -> Proxies:
        """Those of a node that has this one for everything."""
        proxy = Proxy(HOST, self.port, "https_proxy", "me:secret")
        return Proxies(proxy, proxy)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *headers = head.split("\r\n")
            self.asked.append(first)
            self.headers += headers
            writer.write(self.answer)
            if self.answer == ESTABLISHED:
                back, forth = await asyncio.open_connection(HOST, self.leads_to)
                await asyncio.gather(_pass_on(reader, forth), _pass_on(back, writer))
        await _close(writer)


@contextlib.asynccontextmanager
async def connect_proxy(leads_to: int) -> AsyncIterator[ConnectProxy]:
    """Run a proxy that leads to a port."""
    made = ConnectProxy(leads_to)
    connections: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(made.serve(reader, writer)))

    server = await asyncio.start_server(accept, HOST, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        if connections:
            # Whoever is connected still is about to leave.
            await asyncio.wait(connections, timeout=10)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
