"""The network around a node: its interface's addresses and routes, and the host's.

The interface vanishes with the TUN descriptor, and its addresses and routes with it, so
nothing has to be undone here.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface, ip_network

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshwg.errors import ConfigError

SETTLE = 0.25
"""Seconds that the network must be quiet before a change is reported."""

_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR = 0x10
_RTMGRP_IPV4_ROUTE = 0x40
_RTMGRP_IPV6_IFADDR = 0x100
_RTMGRP_IPV6_ROUTE = 0x400
_GROUPS = (
    _RTMGRP_LINK
    | _RTMGRP_IPV4_IFADDR
    | _RTMGRP_IPV4_ROUTE
    | _RTMGRP_IPV6_IFADDR
    | _RTMGRP_IPV6_ROUTE
)
_HEADER = struct.Struct("=IHHII")
_MESSAGE_INDEX = struct.Struct("=4xi")
_ADDRESS_AND_LINK_MESSAGES = (16, 17, 20, 21)
_FLAG_UP = 0x1
_FLAG_LOOPBACK = 0x8
_SCOPE_LINK = 253
_TENTATIVE_OR_WORSE = 0x40 | 0x20 | 0x08


class MeshInterface:
    """The addresses and routes of the node's own interface."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._netlink = IPRoute()
        self._addresses: set[str] = set()
        self._routes: set[str] = set()
        (self.index,) = self._netlink.link_lookup(ifname=name)

    def close(self) -> None:
        """Stop configuring; what is configured stays as long as the interface."""
        self._netlink.close()

    def up(self, mtu: int) -> None:
        """Set the MTU and bring the interface up."""
        self._netlink.link("set", index=self.index, mtu=mtu, state="up")

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """Give the interface these addresses and no others that came from here.

        :raises ConfigError: if the system refuses one.
        """
        wanted = set(addresses)
        for address in self._addresses - wanted:
            self._change_address("del", address)
        for address in wanted - self._addresses:
            self._change_address("replace", address)
        self._addresses = wanted

    def set_routes(self, prefixes: Iterable[str]) -> None:
        """Send these networks into the mesh and no others that came from here.

        :raises ConfigError: if the system refuses one.
        """
        wanted = set(prefixes)
        for prefix in self._routes - wanted:
            self._change_route("del", prefix)
        for prefix in wanted - self._routes:
            self._change_route("replace", prefix)
        self._routes = wanted

    def _change_address(self, command: str, address: str) -> None:
        interface = ip_interface(address)
        try:
            self._netlink.addr(
                command,
                index=self.index,
                address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
            )
        except NetlinkError as error:
            if command != "del":
                raise ConfigError(
                    f"The address {address} cannot be given to {self.name} ({error}): "
                    "see whether IPv6 is disabled on this machine"
                ) from None

    def _change_route(self, command: str, prefix: str) -> None:
        try:
            self._netlink.route(command, dst=prefix, oif=self.index)
        except NetlinkError as error:
            if command != "del":
                raise ConfigError(
                    f"The route to {prefix} cannot be added to {self.name} ({error})"
                ) from None


def host_addresses(except_interface: int) -> list[str]:
    """Return the addresses at which other machines may reach this one.

    Not among them: loopback, addresses of interfaces that are down, link-local ones,
    and those of the mesh interface itself.
    """
    with IPRoute() as netlink:
        usable = {
            link["index"]
            for link in netlink.get_links()
            if link["flags"] & _FLAG_UP and not link["flags"] & _FLAG_LOOPBACK
        } - {except_interface}
        found = [
            message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
            for message in netlink.get_addr()
            if message["index"] in usable
            and message["scope"] < _SCOPE_LINK
            and not message["flags"] & _TENTATIVE_OR_WORSE
        ]
    return sorted(
        (address for address in found if address),
        key=lambda text: (ip_address(text).version, int(ip_address(text))),
    )


def overlapping(networks: Iterable[str], except_interface: int) -> str | None:
    """Return one of these networks that another interface's network overlaps."""
    with IPRoute() as netlink:
        taken = [
            ip_interface(f"{message.get('IFA_ADDRESS')}/{message['prefixlen']}").network
            for message in netlink.get_addr()
            if message["index"] != except_interface
        ]
    for text in networks:
        network = ip_network(text)
        for other in taken:
            if network.version == other.version and network.overlaps(other):
                return text
    return None


class NetworkWatcher:
    """Tells when addresses, routes or links of the host have changed.

    :param on_change: called once the network has been quiet for :data:`SETTLE`.
    :param except_interface: index of the interface whose own changes do not count.
    """

    def __init__(self, on_change: Callable[[], None], *, except_interface: int) -> None:
        self._on_change = on_change
        self._except = except_interface
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0
        )
        self._socket.bind((0, _GROUPS))
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def close(self) -> None:
        """Watch no longer."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()

    def _on_readable(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                # The kernel had more to say than the socket holds: look for oneself.
                self._schedule()
                return
            if self._is_of_interest(data):
                self._schedule()

    def _is_of_interest(self, data: bytes) -> bool:
        """Tell whether a message is about anything but the mesh interface.

        Routes through it are its own too, but tell no index in a fixed place: they are
        few, and a needless look at the addresses costs little.
        """
        if len(data) < _HEADER.size + _MESSAGE_INDEX.size:
            return False
        kind = _HEADER.unpack_from(data)[1]
        (index,) = _MESSAGE_INDEX.unpack_from(data, _HEADER.size)
        return kind not in _ADDRESS_AND_LINK_MESSAGES or index != self._except

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(SETTLE, self._report)

    def _report(self) -> None:
        self._timer = None
        self._on_change()
