"""The little of rtnetlink that is needed without a library, above all by ``meshwg-wg``.

pyroute2 has all of it, and takes a fifth of a second to import.
"""

import socket
import struct
from collections.abc import Iterator

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV6_IFADDR = 0x100
RTMGRP_IPV6_ROUTE = 0x400

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_REQUEST_DUMP = 0x301
_IFA_ADDRESS = 1
_IFA_LOCAL = 2

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
_ADDRESS_MESSAGE_SIZE = 8
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_SIZE = 1 << 16


def subscribe(groups: int) -> socket.socket:
    """Return a non-blocking socket that becomes readable when something changes."""
    sock = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_NONBLOCK,
        socket.NETLINK_ROUTE,
    )
    try:
        sock.bind((0, groups))
    except BaseException:
        sock.close()
        raise
    return sock


def drain(sock: socket.socket) -> None:
    """Discard what waits at a subscribed socket."""
    while True:
        try:
            sock.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: some messages were lost; those that are left follow.
            continue


def local_addresses() -> frozenset[bytes]:
    """Return all addresses, packed, in the network namespace of this thread."""
    request = _HEADER.pack(
        _HEADER.size + _ADDRESS_MESSAGE_SIZE, _RTM_GETADDR, _REQUEST_DUMP, 1, 0
    )
    found: set[bytes] = set()
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as sock:
        sock.send(request + bytes(_ADDRESS_MESSAGE_SIZE))
        while True:
            for kind, body in parse_messages(sock.recv(_RECEIVE_SIZE)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return frozenset(found)
                if kind == _RTM_NEWADDR:
                    attributes = parse_attributes(body[_ADDRESS_MESSAGE_SIZE:])
                    # With a peer, IFA_ADDRESS is the peer's.
                    local = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
                    if local is not None:
                        found.add(local)


def parse_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each netlink message."""
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes of a message by their types."""
    attributes = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        attributes[kind] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return attributes


def _aligned(length: int) -> int:
    """Return a length with the padding that netlink puts after it."""
    return (length + 3) & ~3
