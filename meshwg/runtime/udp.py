"""UDP sockets that carry batches: segmentation offloads and sticky source addresses.

One ``sendmsg`` with UDP_SEGMENT hands the kernel up to 64 datagrams, one ``recvmsg``
with UDP_GRO returns as many: system calls cost more than everything else here. Each
received :class:`~meshwg.transmit.Endpoint` remembers the local address it was sent to
(IP_PKTINFO), and whatever is sent to that endpoint leaves from there.

Nothing that the network does raises: a datagram that cannot be sent is counted, as if
it had been lost on its way.
"""

import contextlib
import errno
import os
import re
import socket
import struct
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from meshwg.transmit import UDP, Endpoint, Source, Transmit

IP_PKTINFO = 8

Ancillary = tuple[int, int, bytes]
"""A control message: level, type, data."""
Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module has it, of IPv4 or IPv6."""

_PKTINFO4 = struct.Struct("=I4s4s")
_PKTINFO6 = struct.Struct("=16sI")


def ask_for_pktinfo(sock: socket.socket) -> None:
    """Have the kernel say which local address a datagram was sent to."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def parse_pktinfo(data: bytes) -> Source | None:
    """Return the local address in an in_pktinfo or in6_pktinfo."""
    if len(data) == _PKTINFO4.size:
        interface, host, _ = _PKTINFO4.unpack(data)
        return Source(socket.inet_ntop(socket.AF_INET, host), interface)
    if len(data) == _PKTINFO6.size:
        host, interface = _PKTINFO6.unpack(data)
        return Source(socket.inet_ntop(socket.AF_INET6, host), interface)
    return None


def pktinfo(source: Source | None) -> list[Ancillary]:
    """Return the control message that pins a source, none for ``None``."""
    if source is None:
        return []
    if ":" in source.host:
        host = socket.inet_pton(socket.AF_INET6, source.host)
        data = _PKTINFO6.pack(host, source.interface)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, data)]
    host = socket.inet_pton(socket.AF_INET, source.host)
    data = _PKTINFO4.pack(source.interface, host, bytes(4))
    return [(socket.IPPROTO_IP, IP_PKTINFO, data)]


def hop_limit(ttl: int, *, is_ipv4: bool) -> Ancillary:
    """Return the control message that limits the hops of one call."""
    value = ttl.to_bytes(4, sys.byteorder)
    if is_ipv4:
        return socket.IPPROTO_IP, socket.IP_TTL, value
    return socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, value


def host_of(address: Address) -> str:
    """Return the host of an address, with the zone of an IPv6 link-local one."""
    if len(address) == 4 and address[3]:
        return f"{address[0]}%{_interface_name(address[3])}"
    return address[0]


def address_of(endpoint: Endpoint, *, is_ipv4: bool) -> Address:
    """Return the address of an endpoint."""
    host, _, zone = endpoint.host.partition("%")
    if is_ipv4:
        return host, endpoint.port
    return host, endpoint.port, 0, _interface_index(zone)


def _interface_name(index: int) -> str:
    """Return an interface's name, or its number if it has just gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def _interface_index(zone: str) -> int:
    """Return the number of an interface given by name or number, 0 if there is none."""
    if not zone or zone.isdecimal():
        return int(zone or 0)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        return 0


BUFFER_SIZE = 7 << 20
"""What wireguard-go asks for: a burst at 10 Gbit/s for 6 ms."""

SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SO_BINDTOIFINDEX = 62
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
FIRST_KERNEL_WITH_SOUND_GRO = (5, 12)


def enlarge_buffers(sock: socket.socket) -> None:
    """Have room for bursts, as far as the system allows."""
    for option, force in (
        (socket.SO_RCVBUF, SO_RCVBUFFORCE),
        (socket.SO_SNDBUF, SO_SNDBUFFORCE),
    ):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)
        with contextlib.suppress(OSError):  # The force needs a privilege.
            sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_SIZE)


def receive_batches(sock: socket.socket) -> None:
    """Have the kernel join datagrams (UDP_GRO) where it does that well."""
    if _kernel_version() >= FIRST_KERNEL_WITH_SOUND_GRO:
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)


def can_segment(sock: socket.socket) -> bool:
    """Return whether the kernel knows UDP_SEGMENT."""
    try:
        sock.getsockopt(SOL_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def get_fwmark(sock: socket.socket) -> int:
    """Return the mark of what the socket sends (SO_MARK), 0 for none."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)


def set_fwmark(sock: socket.socket, mark: int) -> None:
    """Mark what the socket sends from now on.

    :raises OSError: EPERM without the privilege.
    """
    # The kernel asks for the privilege even where nothing changes.
    if get_fwmark(sock) != mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)


def bind_beside(sock: socket.socket, other: socket.socket, host: str) -> None:
    """Bind a socket to the port that another one has.

    SO_REUSEPORT is for sockets of one user that all ask for it. The other one asks for
    this moment alone, so that its port is not taken together with strangers.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, other.getsockname()[1]))
    finally:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def _kernel_version() -> tuple[int, int]:
    """Return the major and minor version of the running kernel."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


ANCILLARY_SIZE = 128
"""Bytes of control messages: there is room for PKTINFO and UDP_GRO."""
CACHE_SIZE = 1024


class UdpReceiver:
    """What is the same in receiving, whether a socket is connected or not.

    :param local: the only local address, where the kernel does not tell it of each
        datagram.
    """

    buffer = memoryview(bytearray(1 << 16))
    """Where datagrams are received, by all sockets: nothing stays there."""

    def __init__(
        self, sock: socket.socket, link: int, *, local: Source | None = None
    ) -> None:
        self.link = link
        self.errors: Counter[str] = Counter()
        """What could not be sent or received, by the name of the error."""
        self.refused_interface: int | None = None
        """Index of the one interface that is not listened to: that of the tunnel which
        the socket carries, since a tunnel must not run through itself."""
        self.remote: Endpoint | None = None
        """The only endpoint that is heard, if the socket is connected to one."""
        self.remote_address: Address | None = None
        """The address of :attr:`remote`; others may have been heard before."""
        self.receive_raw: Callable[[], tuple[int, list[Ancillary], int, Address]]
        self.receive_raw = partial(sock.recvmsg_into, [self.buffer], ANCILLARY_SIZE)
        """Receive datagrams into the buffer, and return their length in bytes, control
        messages, flags, and the source's address.

        :raises OSError: what :meth:`cannot_receive` counts.
        """
        self._socket = sock
        self._local = local
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

    def _remember_endpoint(self, address: Address, pktinfo: bytes) -> Endpoint | None:
        """Return the endpoint for a source address and the PKTINFO that came along,
        ``None`` if it is beyond the refused interface."""
        source = parse_pktinfo(pktinfo) if self._local is None else self._local
        if source is not None and source.interface == self.refused_interface:
            return None
        endpoint = Endpoint(host_of(address), address[1], self.link, source)
        if len(self._endpoints) >= CACHE_SIZE:
            self._endpoints.clear()
        self._endpoints[address, pktinfo] = endpoint
        return endpoint

    def _count(self, error: OSError, datagrams: int = 1) -> None:
        """Count what was lost by an error."""
        self.errors[errno.errorcode.get(error.errno or 0, "unknown")] += datagrams


class ConnectedUdpSocket(UdpReceiver):
    """A socket that hears and sends to one endpoint only.

    :param sock: connected to the endpoint, and bound to the endpoint's source.
    """

    def __init__(self, sock: socket.socket, remote: Endpoint) -> None:
        super().__init__(sock, remote.link, local=remote.source)
        enlarge_buffers(sock)
        self.remote: Endpoint = remote
        self.remote_address = sock.getpeername()
        self._endpoints[self.remote_address, b""] = remote
        self.send_alone: Callable[[bytes], int] = sock.send
        """Send a datagram to :attr:`remote`.

        :raises OSError: if it is not sent, or one before it was refused.
        """
        if sock.family == socket.AF_INET6:
            self.send_alone = self._send_pinned
        self._send = sock.sendmsg
        self._pktinfo = pktinfo(remote.source)

    @classmethod
    def beside(cls, other: socket.socket, remote: Endpoint) -> "ConnectedUdpSocket":
        """Return a socket at the port of another one, and with its mark.

        :param remote: an endpoint with a source, which the socket is bound to.
        :raises OSError: if the system refuses, or cannot (before Linux 5.1).
        """
        assert remote.source is not None, "a connected socket has a local address"
        sock = socket.socket(other.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            interface = remote.source.interface
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, interface)
            set_fwmark(sock, get_fwmark(other))
            bind_beside(sock, other, remote.source.host)
            sock.connect(address_of(remote, is_ipv4=other.family == socket.AF_INET))
            return cls(sock, remote)
        except BaseException:
            sock.close()
            raise

    def _send_pinned(self, datagram: bytes) -> int:
        """Send to the remote, if the source address is still this host's.

        For IPv6, the kernel does not ask that of a connected socket by itself.
        """
        return self._send((datagram,), self._pktinfo)


MAX_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of the oldest kernels with UDP_SEGMENT."""
MAX_BATCH = 65507
"""The longest UDP payload of an IPv4 packet."""
MAX_WAITING = 1024
"""Batches kept while a socket blocks."""
BIND_ATTEMPTS = 100

SOURCE_IS_GONE = (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV)
"""A pinned source that was removed: IPv4 gives the first, IPv6 the second; the last,
if its interface went too."""
CANNOT_SEGMENT = (errno.EIO, errno.EINVAL, errno.EMSGSIZE)
"""EIO: never on this socket. The others: not these datagrams, on the way they take."""


class UdpSocket(UdpReceiver):
    """One UDP socket of one address family, for all endpoints.

    :param on_unpinned: called with an endpoint, without its source, whose sticky
        source address has gone: what is sent there must not be pinned again.
    """

    def __init__(
        self,
        sock: socket.socket,
        link: int = UDP,
        on_unpinned: Callable[[Endpoint], None] | None = None,
    ) -> None:
        super().__init__(sock, link)
        enlarge_buffers(sock)
        ask_for_pktinfo(sock)
        self.on_unpinned = on_unpinned
        self._is_ipv4 = sock.family == socket.AF_INET
        self._gso = can_segment(sock)
        self._waiting: deque[Transmit] = deque()
        self._send = sock.sendmsg
        self._routes: dict[Endpoint, tuple[Address, list[Ancillary]]] = {}

    @classmethod
    def open(
        cls,
        family: socket.AddressFamily,
        port: int = 0,
        link: int = UDP,
        fwmark: int = 0,
        on_unpinned: Callable[[Endpoint], None] | None = None,
    ) -> "UdpSocket":
        """Return a socket bound to ``port`` on all addresses of ``family``.

        :raises OSError: EADDRINUSE if the port is taken, EAFNOSUPPORT if the system
            does not have the family, EPERM if it does not permit the mark.
        """
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            set_fwmark(sock, fwmark)
            sock.bind(("", port))
            return cls(sock, link, on_unpinned)
        except BaseException:
            sock.close()
            raise

    @property
    def is_blocked(self) -> bool:
        """Whether batches wait for the socket to become writable."""
        return bool(self._waiting)

    def set_fwmark(self, mark: int) -> None:
        """Mark what is sent from now on (SO_MARK), 0 for no mark.

        :raises OSError: EPERM without the privilege.
        """
        set_fwmark(self._socket, mark)

    def close(self) -> None:
        """Close the socket and forget what waits."""
        self._waiting.clear()
        super().close()

    def send(self, transmit: Transmit) -> bool:
        """Send a batch; return whether the socket takes more.

        ``False`` means that the socket blocks. What was not sent is kept, and goes
        first, when :meth:`flush` is called after the socket has become writable.
        """
        datagrams = transmit.datagrams
        route = self._routes.get(transmit.destination)
        if len(datagrams) == 1 and not self._waiting and route and not transmit.ttl:
            address, ancillary = route
            try:
                self._send(datagrams, ancillary, 0, address)
                return True
            except OSError:
                pass  # What follows meets the same error, and deals with it.
        if self._waiting:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(transmit)
            else:
                self.errors["ENOBUFS"] += len(datagrams)
            return False
        return self._send_all(transmit)

    def connected(self, remote: Endpoint) -> ConnectedUdpSocket:
        """Return another socket of the same port, which hears one endpoint only.

        Its errors are counted with those of this one.

        :param remote: an endpoint with a source, which the socket is bound to.
        :raises OSError: if the system refuses, or cannot (before Linux 5.1).
        """
        own = ConnectedUdpSocket.beside(self._socket, remote)
        own.errors = self.errors
        return own

    def flush(self) -> bool:
        """Send what waits; return whether the socket takes more."""
        while self._waiting:
            if not self._send_all(self._waiting.popleft()):
                return False
        return True

    def _send_all(self, transmit: Transmit) -> bool:
        """Send the runs of a batch, keeping the rest if the socket blocks."""
        datagrams, endpoint = transmit.datagrams, transmit.destination
        limit = MAX_SEGMENTS if self._gso else 1
        start = 0
        while start < len(datagrams):
            end = _end_of_run(datagrams, start, limit)
            try:
                self._send_run(endpoint, datagrams[start:end], transmit.ttl)
            except BlockingIOError:
                rest = Transmit(endpoint, datagrams[start:], transmit.ttl)
                self._waiting.appendleft(rest)
                return False
            except OSError as error:
                if endpoint.source is not None and error.errno in SOURCE_IS_GONE:
                    endpoint = self._unpin(endpoint)
                    continue
                if end - start > 1 and error.errno in CANNOT_SEGMENT:
                    self._gso = self._gso and error.errno != errno.EIO
                    limit = 1
                    continue
                self._count(error, end - start)
            start = end
        return True

    def _send_run(
        self, endpoint: Endpoint, run: Sequence[bytes], ttl: int | None
    ) -> None:
        """Send datagrams of equal length, the last perhaps shorter, by one call."""
        address, ancillary = self._route(endpoint)
        if len(run) > 1:
            segment_size = len(run[0]).to_bytes(2, sys.byteorder)
            ancillary = [*ancillary, (SOL_UDP, UDP_SEGMENT, segment_size)]
        if ttl is not None:
            ancillary = [*ancillary, hop_limit(ttl, is_ipv4=self._is_ipv4)]
        self._send(run, ancillary, 0, address)

    def _unpin(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint without its source, after telling the owner."""
        unpinned = endpoint.unpinned()
        if self.on_unpinned is not None:
            self.on_unpinned(unpinned)
        return unpinned

    def _route(self, endpoint: Endpoint) -> tuple[Address, list[Ancillary]]:
        return self._routes.get(endpoint) or self._remember_route(endpoint)

    def _remember_route(self, endpoint: Endpoint) -> tuple[Address, list[Ancillary]]:
        """Return the socket address and the control messages for an endpoint."""
        address = address_of(endpoint, is_ipv4=self._is_ipv4)
        route = (address, pktinfo(endpoint.source))
        if len(self._routes) >= CACHE_SIZE:
            self._routes.clear()
        self._routes[endpoint] = route
        return route


class UdpSockets:
    """An IPv4 and an IPv6 socket on one port; a system may lack one of the families."""

    def __init__(self, ipv4: UdpSocket | None, ipv6: UdpSocket | None) -> None:
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.errors: Counter[str] = Counter()
        """What had no socket to go through."""

    @classmethod
    def open(
        cls,
        port: int = 0,
        fwmark: int = 0,
        on_unpinned: Callable[[Endpoint], None] | None = None,
    ) -> "UdpSockets":
        """Return sockets bound to one port, a free one if ``port`` is 0.

        :raises OSError: EADDRINUSE if the port is taken in either family,
            EAFNOSUPPORT if the system has neither, EPERM if it forbids the mark.
        """
        for attempts_left in reversed(range(BIND_ATTEMPTS)):
            ipv4 = _open_if_supported(socket.AF_INET, port, fwmark, on_unpinned)
            try:
                same = ipv4.port if ipv4 else port
                ipv6 = _open_if_supported(socket.AF_INET6, same, fwmark, on_unpinned)
            except OSError as error:
                if ipv4:
                    ipv4.close()
                is_taken = error.errno == errno.EADDRINUSE
                if not (is_taken and port == 0 and attempts_left):
                    raise
                continue
            if ipv4 is None and ipv6 is None:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            return cls(ipv4, ipv6)
        raise AssertionError("The last attempt returns or raises")

    def __iter__(self) -> Iterator[UdpSocket]:
        """Iterate over the sockets that exist."""
        return (sock for sock in (self.ipv4, self.ipv6) if sock is not None)

    @property
    def port(self) -> int:
        """The local port of both."""
        return next(iter(self)).port

    def send(self, transmit: Transmit) -> bool:
        """Send through the socket of the destination's family (:meth:`UdpSocket.send`).

        What has no socket is counted and lost: the answer is ``True``.
        """
        sock = self.of(transmit.destination)
        if sock is None:
            self.errors["EAFNOSUPPORT"] += len(transmit.datagrams)
            return True
        return sock.send(transmit)

    def of(self, endpoint: Endpoint) -> UdpSocket | None:
        """Return the socket of the endpoint's family, if there is one."""
        return self.ipv6 if ":" in endpoint.host else self.ipv4

    def set_fwmark(self, mark: int) -> None:
        """Mark what is sent from now on; see :meth:`UdpSocket.set_fwmark`."""
        for sock in self:
            sock.set_fwmark(mark)

    def close(self) -> None:
        """Close both sockets."""
        for sock in self:
            sock.close()


def _open_if_supported(
    family: socket.AddressFamily,
    port: int,
    fwmark: int,
    on_unpinned: Callable[[Endpoint], None] | None,
) -> UdpSocket | None:
    """Return a socket, or ``None`` if the system does not have the family."""
    try:
        return UdpSocket.open(family, port, UDP, fwmark, on_unpinned)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise


def _end_of_run(datagrams: Sequence[bytes], start: int, limit: int) -> int:
    """Return where the datagrams end that may go with the first by one call."""
    size = len(datagrams[start])
    end = start + 1
    if size == 0:
        return end
    stop = min(len(datagrams), start + min(limit, MAX_BATCH // size))
    while end < stop and len(datagrams[end]) == size:
        end += 1
    if end < stop and 0 < len(datagrams[end]) < size:
        end += 1
    return end
