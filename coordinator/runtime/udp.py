"""The UDP sockets of the coordinator: STUN, and the relay on the same ports.

Binding requests are answered here; whatever else arrives is the relay's, batch by
batch. Both send through :meth:`UdpService.send`, where a destination's ``link`` names
the socket.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator, Sequence

from coordinator.runtime.metrics import Metric, counter, counters
from coordinator.stun import StunServer
from meshwg.errors import MeshError, NotPermitted
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint, Transmit

BATCHES_PER_TURN = 64
"""Reads of one socket before the others and the rest of the process have a turn."""

_BINDING_REQUEST = b"\x00\x01"

OnBatch = Callable[[Sequence[bytes], Endpoint], None]


class UdpService:
    """Serves STUN on all sockets of a :class:`StunServer`.

    :param on_relay: takes what is no Binding request: datagrams of one source, whose
        ``link`` is the socket they came to.
    """

    def __init__(self, stun: StunServer, on_relay: OnBatch | None = None) -> None:
        self.stun = stun
        self.on_relay = on_relay
        self._sockets: list[UdpSocket] = []

    async def start(self) -> None:
        """Bind every socket and begin to serve.

        :raises MeshError: if an address cannot be bound; then none is.
        """
        loop = asyncio.get_running_loop()
        try:
            for link, local in enumerate(self.stun.sockets):
                self._sockets.append(_bind(local, link))
        except BaseException:
            await self.close()
            raise
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._read, sock, loop)

    async def close(self) -> None:
        """Close the sockets."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
            loop.remove_writer(sock.fileno())
            sock.close()
        self._sockets.clear()

    def send(self, transmit: Transmit) -> None:
        """Send datagrams from the socket that their destination's link names."""
        if not self._sockets:
            return
        sock = self._sockets[transmit.destination.link]
        if not sock.send(transmit):
            loop = asyncio.get_running_loop()
            loop.add_writer(sock.fileno(), self._flush, sock, loop)

    def metrics(self) -> Iterator[Metric]:
        """Yield what ``/metrics`` shows."""
        yield counter("stun_answers", "Binding requests answered", self.stun.answers)
        yield counters(
            "stun_drops",
            "Datagrams that got no answer",
            "reason",
            {drop.name.lower(): count for drop, count in self.stun.drops.items()},
        )
        errors: dict[str, int] = {}
        for sock in self._sockets:
            for name, count in sock.errors.items():
                errors[name] = errors.get(name, 0) + count
        yield counters("udp_errors", "Datagrams the system refused", "error", errors)

    def _read(self, sock: UdpSocket, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for _ in range(BATCHES_PER_TURN):
            received = sock.receive()
            if received is None:
                return
            self._handle(*received, now)

    def _handle(self, datagrams: Sequence[bytes], source: Endpoint, now: float) -> None:
        others = [data for data in datagrams if data[:2] != _BINDING_REQUEST]
        if len(others) < len(datagrams):
            for data in datagrams:
                if data[:2] == _BINDING_REQUEST:
                    self._answer(data, source, now)
        if others and self.on_relay is not None:
            self.on_relay(others, source)
        elif others:
            for data in others:
                self._answer(data, source, now)

    def _answer(self, data: bytes, source: Endpoint, now: float) -> None:
        answer = self.stun.receive_datagram(data, source, now)
        if answer is not None:
            self.send(answer)

    def _flush(self, sock: UdpSocket, loop: asyncio.AbstractEventLoop) -> None:
        if sock.flush():
            loop.remove_writer(sock.fileno())


def _bind(local: Endpoint, link: int) -> UdpSocket:
    """Return a socket bound to a local endpoint.

    :raises MeshError: if that is not possible.
    """
    family = socket.AF_INET6 if ":" in local.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((local.host, local.port))
        return UdpSocket(sock, link)
    except OSError as error:
        sock.close()
        raise _explained(local, error) from error


def _explained(local: Endpoint, error: OSError) -> MeshError:
    """Return the error as a sentence that says what to do."""
    if error.errno == errno.EADDRINUSE:
        return MeshError(
            f"UDP port {local.port} of {local.host} is taken: stop what uses it, "
            "or name another port with --stun"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return MeshError(
            f"{local.host} is not an address of this machine: name one with --stun"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(
            f"UDP port {local.port} needs privileges: run as root, or name a port "
            "above 1023 with --stun"
        )
    return MeshError(f"UDP {local} cannot be served ({error.strerror}): check --stun")
