"""Asks an address in a network behind this node whether it is there, by ICMP.

A socket for echo requests needs no privilege where the system permits it to the user's
group; else a raw one is used, which root may have. It carries the node's mark, so what
it asks is never asked through the mesh.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

from meshwg.errors import NotPermitted
from meshwg.node.lanhealth import PROBE_INTERVAL, LanHealth
from meshwg.packet.ip import checksum, word_sum
from meshwg.runtime.tasks import TaskSet

_ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""The ICMP types of request and reply."""
_PROTOCOLS = {
    socket.AF_INET: socket.IPPROTO_ICMP,
    socket.AF_INET6: socket.IPPROTO_ICMPV6,
}


class LanProbe:
    """Probes one address from now on, in a running loop.

    :param fwmark: of the node's own sockets, 0 for none.
    :param on_change: called when :attr:`is_dead` changes.
    :raises NotPermitted: if the system lets this program send no echo requests.
    """

    def __init__(
        self, address: str, fwmark: int, on_change: Callable[[], None]
    ) -> None:
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._address = address
        self._health = LanHealth()
        self._on_change = on_change
        self._identifier = os.urandom(2)
        self._sequence = 0
        self._socket = _open(self._family, fwmark)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._on_readable)
        self._tasks = TaskSet()
        self._tasks.run(self._probe())

    @property
    def is_dead(self) -> bool:
        """Whether the address does not answer."""
        return self._health.is_dead

    def close(self) -> None:
        """Stop."""
        self._tasks.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def _probe(self) -> None:
        while True:
            with self._noticing():
                self._health.probe()
                self._send()
            await asyncio.sleep(PROBE_INTERVAL)

    def _send(self) -> None:
        self._sequence = (self._sequence + 1) % (1 << 16)
        body = self._identifier + self._sequence.to_bytes(2) + b"meshwg: are you there?"
        request = _ECHO[self._family][0]
        total = checksum(word_sum(bytes([request, 0, 0, 0]) + body))
        message = bytes([request, 0]) + total.to_bytes(2) + body
        with contextlib.suppress(OSError):
            # Without a way there it is not answered, and that is all there is to know.
            self._socket.sendto(message, (self._address, 0))

    def _on_readable(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, source = self._socket.recvfrom(2048)
                if source[0] == self._address and self._is_reply(data):
                    with self._noticing():
                        self._health.answer()

    def _is_reply(self, data: bytes) -> bool:
        """Tell whether this answers the last request.

        What a raw socket receives begins with the header of IPv4. In other sockets the
        system has put an identifier of its own, and gives only what answers it.
        """
        is_raw = self._socket.type == socket.SOCK_RAW
        if is_raw and self._family == socket.AF_INET:
            data = data[(data[0] & 15) * 4 :] if data else b""
        is_reply = len(data) >= 8 and data[0] == _ECHO[self._family][1]
        if not is_reply or data[6:8] != self._sequence.to_bytes(2):
            return False
        return not is_raw or data[4:6] == self._identifier

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        before = self._health.is_dead
        yield
        if self._health.is_dead != before:
            self._on_change()


def _open(family: int, fwmark: int) -> socket.socket:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sock = socket.socket(family, kind, _PROTOCOLS[socket.AddressFamily(family)])
        except PermissionError:
            continue
        sock.setblocking(False)
        if fwmark:
            with contextlib.suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, fwmark)
        return sock
    raise NotPermitted(
        "This system permits no echo requests to this program: set "
        "net.ipv4.ping_group_range to a range that its group is in"
    )
