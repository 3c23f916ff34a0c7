"""Accepts connections at a listening socket, also when the system has no room for more.

What asyncio does then is to try as often as the queue is long, each time with a
traceback in the log, and that every second.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

BURST = 16
"""Connections that are accepted before the rest of the program has its turn."""
RETRY_INTERVAL = 0.5
"""Seconds until accepting is tried again after the system refused."""

logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts what arrives at one socket, until it is closed.

    :param on_connection: called with each connection, which it owns and does not block.
    :param name: what the socket is, for the log.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_connection: Callable[[socket.socket], None],
        name: str,
    ) -> None:
        self._sock = sock
        self._on_connection = on_connection
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._failing = False
        sock.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Stop, and close the socket."""
        if self._retry is not None:
            self._retry.cancel()
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(BURST):
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return
            self._failing = False
            connection.setblocking(False)
            self._on_connection(connection)

    def _pause(self, error: OSError) -> None:
        """Leave what waits in the queue; of failures in a row, log the first."""
        if not self._failing:
            logger.error(
                "%s takes no connections for now (%s): allow this program more open "
                "files",
                self._name,
                error.strerror,
            )
        self._failing = True
        self._loop.remove_reader(self._sock)
        self._retry = self._loop.call_later(RETRY_INTERVAL, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock, self._accept)
