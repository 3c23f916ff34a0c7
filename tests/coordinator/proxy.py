"""A proxy as nginx is one: it strips a path, and says whose request it passes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

CLIENT = "203.0.113.7"
"""Whom it names, whoever it is."""


class Proxy:
    """Passes requests below ``/mesh/`` on to a server on this machine."""

    host, port = "127.0.0.1", 0

    def __init__(self) -> None:
        self.behind: tuple[str, int] = ("", 0)
        self.asked: list[str] = []
        self.takes_off: tuple[str, ...] = ()
        """Headers of requests that it does not pass on, in small letters."""
        self.holds_back = 0.0
        """Seconds for which it waits for more before it passes something on."""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, _, rest = head.partition("\r\n")
            self.asked.append(first)
            line = first.replace(" /mesh/", " /", 1)
            kept = [
                each
                for each in rest.split("\r\n")
                if each.partition(":")[0].lower() not in self.takes_off
            ]
            told = f"X-Forwarded-For: 198.51.100.66, {CLIENT}"
            text = "\r\n".join([line, told, *kept])
            back, forth = await asyncio.open_connection(*self.behind)
            forth.write(text.encode())
            await asyncio.gather(
                _pass_on(reader, forth, self.holds_back),
                _pass_on(back, writer, self.holds_back),
            )
        writer.close()


@contextlib.asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    """Run a proxy; say where it leads in :attr:`Proxy.behind`."""
    made = Proxy()
    server = await asyncio.start_server(made.serve, made.host, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holds_back: float
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            await asyncio.sleep(holds_back)
            writer.write(data)
            await writer.drain()
    writer.close()
