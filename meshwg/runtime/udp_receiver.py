"""The receiving half of a UDP socket: batches of datagrams, and their sources.

One ``recvmsg`` with UDP_GRO returns up to 64 datagrams of one source. Each
:class:`~meshwg.transmit.Endpoint` remembers the local address it was heard at. Nothing
that the network does raises: it is counted.
"""

import errno
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

from meshwg.packet.lateness import Lateness
from meshwg.runtime.pktinfo import Address, Ancillary, host_of, parse_pktinfo
from meshwg.runtime.socket_options import SOL_UDP, last_waited, receive_batches
from meshwg.transmit import Endpoint, Source

ANCILLARY_SIZE = 128
"""Bytes of control messages: there is room for PKTINFO and UDP_GRO."""
BUFFER_SIZE = 1 << 16
CACHE_SIZE = 1024


class _Shared(threading.local):
    """What the sockets of one thread share, and so find in the processor's caches."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BUFFER_SIZE))


_shared = _Shared()


class UdpReceiver:
    """What is the same in receiving, whether a socket is connected or not.

    It belongs to the thread that it was made in.

    :param local: the only local address, where the kernel does not tell it of each
        datagram.
    """

    def __init__(
        self, sock: socket.socket, link: int, *, local: Source | None = None
    ) -> None:
        self.link = link
        self.errors: Counter[str] = Counter()
        """What could not be sent or received, by the name of the error."""
        self.refuses: Callable[[int], bool] | None = None
        """Whether the interface of an index is not listened to: that of the tunnel
        which the socket carries, since a tunnel must not run through itself."""
        self.remote: Endpoint | None = None
        """The only endpoint that is heard, if the socket is connected to one."""
        self.remote_address: Address | None = None
        """The address of :attr:`remote`; others may have been heard before."""
        self.buffer = _shared.buffer
        """Where datagrams are received: nothing stays there."""
        self.receive_raw: Callable[[], tuple[int, list[Ancillary], int, Address]]
        self.receive_raw = partial(sock.recvmsg_into, [self.buffer], ANCILLARY_SIZE)
        """Receive datagrams into the buffer, and return their length in bytes, control
        messages, flags, and the source's address.

        :raises OSError: what :meth:`cannot_receive` counts.
        """
        self.late = 0
        """Datagrams that were dropped because too many waited."""
        self._socket = sock
        self._local = local
        self._lateness = Lateness()
        # Known sources, by their address and the PKTINFO of their datagrams.
        self._endpoints: dict[tuple[Address, bytes], Endpoint] = {}
        receive_batches(sock)

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self) -> tuple[list[bytes], Endpoint] | None:
        """Return the datagrams of one system call and where they came from.

        There may be more; ``None`` means that there are none now, or none to be had.
        """
        try:
            size, ancillary, _, address = self.receive_raw()
        except OSError as error:
            self.cannot_receive(error)
            return None
        return self.unpack(size, ancillary, address)

    def cannot_receive(self, error: OSError) -> None:
        """Count an error, unless it says that there is nothing to receive."""
        if not isinstance(error, BlockingIOError):
            self._count(error)

    def unpack(
        self, size: int, ancillary: list[Ancillary], address: Address
    ) -> tuple[list[bytes], Endpoint] | None:
        """Return the datagrams that :attr:`receive_raw` put into the buffer."""
        stride = size
        pktinfo = b""
        for level, _, data in ancillary:
            if level == SOL_UDP:
                stride = int.from_bytes(data, sys.byteorder)
            else:
                pktinfo = data
        endpoint = self._endpoints.get((address, pktinfo))
        if endpoint is None:
            endpoint = self._remember_endpoint(address, pktinfo)
            if endpoint is None:
                self.errors["ELOOP"] += 1
                return None
        batch = bytes(self.buffer[:size])
        if size <= stride:
            return [batch], endpoint
        return [batch[i : i + stride] for i in range(0, size, stride)], endpoint

    def has_stood(self, now: float) -> bool:
        """Return whether datagrams wait for too long for too long, so that one should
        be dropped; to be asked after one was received and more may wait."""
        waited = last_waited(self._socket)
        if self._lateness.is_too_much(waited, now):
            self.late += 1
            return True
        return False

    def has_been_emptied(self) -> None:
        """Note that no datagram waited a moment ago."""
        self._lateness.is_too_much(0.0, 0.0)

    def _remember_endpoint(self, address: Address, pktinfo: bytes) -> Endpoint | None:
        """Return the endpoint for a source address and the PKTINFO that came along,
        ``None`` if it is beyond an interface that is refused."""
        source = parse_pktinfo(pktinfo) if self._local is None else self._local
        if self.refuses is not None and source and self.refuses(source.interface):
            return None
        endpoint = Endpoint(host_of(address), address[1], self.link, source)
        if len(self._endpoints) >= CACHE_SIZE:
            self._endpoints.clear()
        self._endpoints[address, pktinfo] = endpoint
        return endpoint

    def _count(self, error: OSError, datagrams: int = 1) -> None:
        """Count what was lost by an error."""
        self.errors[errno.errorcode.get(error.errno or 0, "unknown")] += datagrams
