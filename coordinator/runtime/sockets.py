"""UDP sockets of the coordinator on the event loop, read and written in batches."""

import asyncio
from collections.abc import Callable

from coordinator.turn.backlog import Backlog
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint, Transmit

MAX_READS = 32
"""Reads in one turn of the event loop; then others have theirs."""
BACKLOG = 4 << 20
"""Bytes kept while a socket blocks, beyond what the kernel keeps."""


class BatchSocket:
    """A UDP socket that hands over what arrives, and keeps what cannot be sent yet."""

    def __init__(
        self,
        socket: UdpSocket,
        on_datagrams: Callable[[list[bytes], Endpoint], None],
    ) -> None:
        """Begin to read.

        :param on_datagrams: called with each batch, which has one source.
        """
        self._socket = socket
        self._on_datagrams = on_datagrams
        self._backlog: Backlog[Transmit] = Backlog(BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(socket.fileno(), self._readable)

    @property
    def dropped(self) -> int:
        """Datagrams that were dropped for newer ones."""
        return self._backlog.dropped

    def send(self, transmit: Transmit) -> None:
        """Send a batch, now or when the socket takes it."""
        if self._socket.is_blocked:
            datagrams = transmit.datagrams
            self._backlog.push(transmit, len(datagrams), sum(map(len, datagrams)))
        elif not self._socket.send(transmit):
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def close(self) -> None:
        """Stop and close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._backlog.clear()
        self._socket.close()

    def _readable(self) -> None:
        """Read what there is, and hand it over in one batch for each source.

        Many senders send packet by packet, and the kernel may not have coalesced what
        arrived. What has piled up since the last turn makes a batch, too.
        """
        batches: dict[Endpoint, list[bytes]] = {}
        for _ in range(MAX_READS):
            received = self._socket.receive()
            if received is None:
                break
            datagrams, source = received
            if source in batches:
                batches[source] += datagrams
            else:
                batches[source] = datagrams
        for source, datagrams in batches.items():
            self._on_datagrams(datagrams, source)

    def _writable(self) -> None:
        if not self._socket.flush():
            return
        while self._backlog:
            if not self._socket.send(self._backlog.pop()):
                return
        self._loop.remove_writer(self._socket.fileno())
