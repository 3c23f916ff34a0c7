"""Whether datagrams may still leave from where they are pinned, once routes changed.

A datagram to a known endpoint leaves from the address and over the interface at which
the endpoint was heard (the sticky source). That is right until the host's routes change
and lead elsewhere: then the kernel's own WireGuard forgets the source, and so do the
sockets here (:meth:`meshwg.runtime.udp.UdpSocket.follow_routes`).
"""

import os
import socket
import struct
from collections.abc import Callable
from typing import Self

from meshwg.runtime import netlink
from meshwg.runtime.changes import ChangeWatcher
from meshwg.runtime.socket_options import get_fwmark
from meshwg.transmit import Endpoint, Source

SETTLE = 0.02
"""Seconds for several changes to be made together, as by a DHCP client."""
INTERVAL = 0.5
"""Seconds between two looks at all routes in use, each of which takes about 30 us."""

_GROUPS = netlink.RTMGRP_ROUTING | netlink.RTMGRP_NEXTHOP

# From linux/rtnetlink.h.
_RTM_NEWROUTE = 24
_RTM_GETROUTE = 26
_REQUEST = 1
_RTA_DST = 1
_RTA_SRC = 2
_RTA_OIF = 4
_RTA_MARK = 16
_RTA_UID = 25
_RTA_IP_PROTO = 27
_RTA_SPORT = 28
_RTA_DPORT = 29
_ROUTE_MESSAGE = struct.Struct("=BBB9x")
"""struct rtmsg, of which a request has family and lengths of the addresses in bits."""


def watch_routes(on_change: Callable[[], None]) -> ChangeWatcher:
    """Call back when datagrams may have to leave from elsewhere, until it is closed."""
    return ChangeWatcher(_GROUPS, on_change, settle=SETTLE, interval=INTERVAL)


class Routes:
    """The routes of this thread's namespace, while they are looked at."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        self._addresses = frozenset(netlink.addresses())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def source_for(self, endpoint: Endpoint, sock: socket.socket) -> Source | None:
        """Return from where a socket should send to an endpoint that has a source.

        That is the source while the route leads over its interface. Otherwise it is the
        address alone, if that belongs to the host as such, as one of a loopback
        interface does, or ``None``, so that an address of the new interface is chosen.
        """
        source = endpoint.source
        if source is None or not source.interface or "%" in endpoint.host:
            return source
        interface = self._interface_to(endpoint, source, sock)
        if interface == source.interface:
            return source
        host = socket.inet_pton(sock.family, source.host)
        is_elsewhere = (source.interface, host) not in self._addresses
        if interface is not None and is_elsewhere:
            return Source(source.host, 0)
        return None

    def _interface_to(
        self, endpoint: Endpoint, source: Source, sock: socket.socket
    ) -> int | None:
        """Return the index of the interface that a route from a source leads over.

        ``None`` stands for no route, or a source that is none of the host's addresses.
        """
        family = sock.family
        host = socket.inet_pton(family, source.host)
        if family == socket.AF_INET6 and all(
            host != each for _, each in self._addresses
        ):
            # For IPv6, the kernel finds a route for any source.
            return None
        bits = 8 * len(host)
        request = _ROUTE_MESSAGE.pack(family, bits, bits) + b"".join(
            netlink.attribute(kind, value)
            for kind, value in (
                (_RTA_DST, socket.inet_pton(family, endpoint.host)),
                (_RTA_SRC, host),
                (_RTA_MARK, struct.pack("=I", get_fwmark(sock))),
                (_RTA_UID, struct.pack("=I", os.geteuid())),
                (_RTA_IP_PROTO, bytes([socket.IPPROTO_UDP])),
                (_RTA_SPORT, struct.pack("!H", sock.getsockname()[1])),
                (_RTA_DPORT, struct.pack("!H", endpoint.port)),
            )
        )
        try:
            self._socket.send(netlink.message(_RTM_GETROUTE, _REQUEST, request))
            answer = self._socket.recv(netlink.RECEIVE_SIZE)
        except OSError:
            return None
        for kind, body in netlink.parse_messages(answer):
            if kind == _RTM_NEWROUTE:
                index = netlink.parse_attributes(body[_ROUTE_MESSAGE.size :])
                return int.from_bytes(index.get(_RTA_OIF, b""), "little") or None
        return None
