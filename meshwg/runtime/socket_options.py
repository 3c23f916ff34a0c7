"""Options of UDP sockets that the socket module has no names for, and their use."""

import contextlib
import fcntl
import os
import re
import socket
import struct
import time

BUFFER_SIZE = 7 << 20
"""What wireguard-go asks for: a burst at 10 Gbit/s for 6 ms."""

IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_DONT = 0
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SO_BINDTOIFINDEX = 62
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
SIOCGSTAMPNS = 0x8907
FIRST_KERNEL_WITH_SOUND_GRO = (5, 12)

_TIMESPEC = struct.Struct("ll")


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
        # What only looks like such a kernel, as sandboxes do, may not know it.
        with contextlib.suppress(OSError):
            sock.setsockopt(SOL_UDP, UDP_GRO, 1)


def allow_fragments(sock: socket.socket) -> None:
    """Let routers, and for IPv6 this host, fragment what is too long for the path.

    By default Linux sets "don't fragment" on datagrams that fit the first link, and
    relies on ICMP to hear of narrower ones. Where that is filtered, long datagrams
    would vanish, and packets inside a tunnel with them, whose senders hear nothing
    either. What one call segments never has the bit, so only lone ones would vanish.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)


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

    SO_REUSEPORT is for sockets of one user that all ask for it. The other one asks only
    for this moment, so that as long as it is alone its port is its own.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, other.getsockname()[1]))
    finally:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def last_waited(sock: socket.socket) -> float:
    """Return for how many seconds the last datagram had waited that was received.

    From the first call on, the kernel notes when datagrams arrive: until then it is 0.
    """
    try:
        arrived = fcntl.ioctl(sock, SIOCGSTAMPNS, bytes(_TIMESPEC.size))
    except OSError:
        return 0.0
    seconds, nanoseconds = _TIMESPEC.unpack(arrived)
    waited: float = time.time() - seconds - nanoseconds / 1e9
    return max(0.0, waited)


def _kernel_version() -> tuple[int, int]:
    """Return the major and minor version of the running kernel."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
