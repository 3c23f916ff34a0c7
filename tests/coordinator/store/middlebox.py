"""What stands between a program and PostgreSQL, and can break what goes through it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from coordinator.dsn import PostgresServer, parse_url
from tests.coordinator.programs import loopback


class Middlebox:
    """Passes TCP connections on to the Unix socket of a server.

    :param url: of a database on that server.
    """

    def __init__(self, url: str) -> None:
        server = parse_url(url)
        assert isinstance(server, PostgresServer)
        self._socket = f"{server.hosts[0].name}/.s.PGSQL.5432"
        self._database = server.database
        self._listener = socket.create_server((loopback(), 0))
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.loses: bytes | None = None
        """Once this was asked for, the answer is lost with the connection."""
        self.freezes_after_loss = False
        self.accepted = 0

    @property
    def where(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        return f"postgresql://mesh@{self.where}/{self._database}?sslmode=disable"

    def freeze(self) -> None:
        """Let nothing through, and tell nobody: connections stay open."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let everything through again."""
        self._flows.set()

    def cut(self) -> None:
        """Break all connections."""
        for task in self._tasks:
            task.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Middlebox"]:
        server = await asyncio.start_server(self._accept, sock=self._listener)
        try:
            yield self
        finally:
            server.close()
            self.cut()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        inner_reader, inner = await asyncio.open_unix_connection(self._socket)
        lost = asyncio.Event()
        ways = [
            asyncio.create_task(self._ask(reader, inner, lost)),
            asyncio.create_task(self._answer(inner_reader, writer, lost)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.wait(ways)
            writer.transport.abort()
            inner.transport.abort()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        inner: asyncio.StreamWriter,
        lost: asyncio.Event,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                await self._flows.wait()
                if self.loses is not None and self.loses in data:
                    self.loses = None
                    lost.set()
                inner.write(data)

    async def _answer(
        self,
        inner_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lost: asyncio.Event,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await inner_reader.read(1 << 16):
                await self._flows.wait()
                if lost.is_set():
                    if self.freezes_after_loss:
                        self.freeze()
                    return
                writer.write(data)
