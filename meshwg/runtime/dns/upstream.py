"""The way to other people's name servers.

Each message goes out of a socket of its own, at a port that the system chooses at
random, and only the server it was sent to can answer there. The sockets carry no mark:
such a server is reached as the machine's other programs reach it, through the exit if
one is used.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable

from meshwg.dns.forwarder import PATIENCE, Forwarder, ServerQuery
from meshwg.dns.framing import LENGTH, framed
from meshwg.dns.message import MAX_MESSAGE
from meshwg.runtime import clock
from meshwg.runtime.dns.stub import DNS_PORT

Way = socket.socket | asyncio.Task[None]


class Upstream:
    """The sockets of one forwarder.

    :param on_turn: called after something was handed to the forwarder.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        on_turn: Callable[[], None],
        port: int = DNS_PORT,
    ) -> None:
        self._forwarder = forwarder
        self._on_turn = on_turn
        self._port = port
        self._ways: dict[int, Way] = {}

    def ask(self, query: ServerQuery) -> None:
        """Send a message to a server."""
        if query.is_stream:
            work = self._ask_by_stream(query)
            self._ways[query.number] = asyncio.get_running_loop().create_task(work)
            return
        try:
            sock = _connected(query.host, self._port)
        except OSError:
            self._forwarder.failed(query.number, clock.now())
            return
        self._ways[query.number] = sock
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._read, query.number, sock)
        with contextlib.suppress(OSError):
            sock.send(query.message)

    def close(self, numbers: Iterable[int]) -> None:
        """Close the sockets of these numbers."""
        for number in numbers:
            way = self._ways.pop(number, None)
            if isinstance(way, socket.socket):
                asyncio.get_running_loop().remove_reader(way)
                way.close()
            elif way is not None and way is not asyncio.current_task():
                way.cancel()

    def close_all(self) -> None:
        """Close all sockets."""
        self.close(list(self._ways))

    def _read(self, number: int, sock: socket.socket) -> None:
        try:
            message = sock.recv(MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            # Nobody listens there.
            self._forwarder.failed(number, clock.now())
        else:
            self._forwarder.receive_answer(number, message, clock.now())
        self._on_turn()

    async def _ask_by_stream(self, query: ServerQuery) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                message = await _exchange(query.host, self._port, query.message)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self._forwarder.failed(query.number, clock.now())
        else:
            self._forwarder.receive_answer(query.number, message, clock.now())
        self._on_turn()


def _connected(host: str, port: int) -> socket.socket:
    """Return a socket for one server.

    :raises OSError: if that is no address, or there is no way there.
    """
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


async def _exchange(host: str, port: int, message: bytes) -> bytes:
    """Send a message on a stream, and return the next one that comes."""
    reader, writer = await asyncio.open_connection(
        host, port, flags=socket.AI_NUMERICHOST
    )
    try:
        writer.write(framed(message))
        length = int.from_bytes(await reader.readexactly(LENGTH))
        return await reader.readexactly(length)
    finally:
        writer.close()
