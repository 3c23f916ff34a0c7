"""The little of rtnetlink that is needed without a library, above all by meshwg-wg."""

import socket
import struct
from collections.abc import Iterator

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV6_IFADDR = 0x100
RTMGRP_IPV6_ROUTE = 0x400
RTMGRP_IPV4_RULE = 0x80
RTMGRP_IPV6_RULE = 0x40000
RTMGRP_NEXTHOP = 0x80000000
RTMGRP_ROUTING = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV6_RULE
)
"""All that says where packets go, but for next hops that stand alone."""

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_REQUEST_DUMP = 0x301
_IFA_ADDRESS = 1
_IFA_LOCAL = 2

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
_ADDRESS_MESSAGE = struct.Struct("=4xI")
"""struct ifaddrmsg, of which the interface's index is looked at."""
_ATTRIBUTE = struct.Struct("=HH")
RECEIVE_SIZE = 1 << 16


def subscribe(groups: int, protocol: int = socket.NETLINK_ROUTE) -> socket.socket:
    """Return a non-blocking socket that becomes readable when something changes."""
    sock = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_NONBLOCK,
        protocol,
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
            sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: some messages were lost; those that are left follow.
            continue


def local_addresses() -> frozenset[bytes]:
    """Return all addresses, packed, in the network namespace of this thread."""
    return frozenset(address for _, address in addresses())


def addresses() -> list[tuple[int, bytes]]:
    """Return the same with the indices of their interfaces."""
    found: list[tuple[int, bytes]] = []
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as sock:
        sock.send(message(_RTM_GETADDR, _REQUEST_DUMP, bytes(_ADDRESS_MESSAGE.size)))
        while True:
            for kind, body in parse_messages(sock.recv(RECEIVE_SIZE)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return found
                if kind == _RTM_NEWADDR:
                    (interface,) = _ADDRESS_MESSAGE.unpack_from(body)
                    attributes = parse_attributes(body[_ADDRESS_MESSAGE.size :])
                    # With a peer, IFA_ADDRESS is the peer's.
                    local = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
                    if local is not None:
                        found.append((interface, local))


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return a message with its header; the body's attributes are aligned."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, aligned."""
    data = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return data.ljust(_aligned(len(data)), b"\0")


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
