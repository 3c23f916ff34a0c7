"""The addresses and routes of a node's own interface, and those of the host.

The interface vanishes with the TUN descriptor, and its addresses and routes with it, so
nothing has to be undone here.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Container, Iterable
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import Any, NamedTuple

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from meshwg.errors import ConfigError
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.netlink import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
    subscribe,
)

SETTLE = 0.25
"""Seconds that the network must be quiet before a change is reported."""

IPNetwork = IPv4Network | IPv6Network

_GROUPS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV6_ROUTE
)
_HEADER = struct.Struct("=IHHII")
_MESSAGE_INDEX = struct.Struct("=4xi")
_ADDRESS_AND_LINK_MESSAGES = (16, 17, 20, 21)
_FLAG_UP = 0x1
_FLAG_LOOPBACK = 0x8
_SCOPE_LINK = 253
_MAIN_TABLE = 254
_ETHERNET_MTU = 1500
_MIN_MTU = 1280
_OVERHEAD = 100
_TENTATIVE_OR_WORSE = 0x40 | 0x20 | 0x08


class MeshInterface:
    """The addresses and routes of the node's own interface."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index = socket.if_nametoindex(name)
        self._addresses: set[str] = set()
        self._routes: set[str] = set()
        self._lock = asyncio.Lock()

    async def up(self, mtu: int) -> None:
        """Set the MTU and bring the interface up."""
        async with AsyncIPRoute() as netlink:
            await netlink.link("set", index=self.index, mtu=mtu, state="up")

    async def configure(
        self, addresses: Iterable[str], prefixes: Iterable[str]
    ) -> None:
        """Set these addresses and routes, and remove others that were set here.

        :raises ConfigError: if the system refuses one; the others are set all the same.
        """
        problems: list[str] = []
        async with self._lock, AsyncIPRoute() as netlink:
            wanted, present = set(addresses), self._addresses
            for address in present - wanted:
                await self._change_address(netlink, "del", address)
            for address in sorted(wanted - present):
                problems += await self._change_address(netlink, "replace", address)
            self._addresses = wanted
            wanted, present = set(prefixes), self._routes
            for prefix in present - wanted:
                await self._change_route(netlink, "del", prefix)
            for prefix in sorted(wanted - present):
                problems += await self._change_route(netlink, "add", prefix)
            self._routes = wanted
        if problems:
            raise ConfigError(problems[0])

    async def _change_address(
        self, netlink: Any, command: str, address: str
    ) -> list[str]:
        """Return what went wrong, in sentences for the user."""
        interface = ip_interface(address)
        try:
            await netlink.addr(
                command,
                index=self.index,
                address=str(interface.ip),
                prefixlen=interface.network.prefixlen,
            )
        except NetlinkError as error:
            return [
                f"The address {address} cannot be given to {self.name} ({error}): "
                "check whether IPv6 is disabled on this machine"
            ]
        return []

    async def _change_route(self, netlink: Any, command: str, prefix: str) -> list[str]:
        try:
            await netlink.route(command, dst=prefix, oif=self.index)
        except NetlinkError as error:
            return [f"The route to {prefix} cannot be added to {self.name} ({error})"]
        return []


class Network(NamedTuple):
    """The network that the host is in."""

    addresses: tuple[str, ...]
    """Those at which other machines may reach this one: without loopback, link-local
    ones, interfaces that are down, and the mesh interface itself."""
    networks: tuple[str, ...]
    """The networks of these addresses."""
    default_routes: tuple[tuple[int, str], ...]
    """Interface index and gateway of each, the preferred one first."""

    def overlapping(self, prefixes: Iterable[str]) -> str | None:
        """Return the first prefix that overlaps a network here, if one does."""
        here = [ip_network(text) for text in self.networks]
        for text in prefixes:
            network = ip_network(text)
            if any(_overlap(network, other) for other in here):
                return text
        return None


async def look_around(except_interface: int) -> Network:
    """Return the network as it is now."""
    async with AsyncIPRoute() as netlink:
        usable = {link["index"] for link in await _usable_links(netlink)}
        usable.discard(except_interface)
        interfaces = await _addresses(netlink, usable)
        routes = await _default_routes(netlink)
    interfaces.sort(key=lambda each: (each.version, int(each.ip)))
    return Network(
        tuple(str(each.ip) for each in interfaces),
        tuple(str(each.network) for each in interfaces),
        tuple(route for route in routes if route[0] != except_interface),
    )


async def _addresses(
    netlink: AsyncIPRoute, usable: Container[int]
) -> list[IPv4Interface | IPv6Interface]:
    """Return the addresses on usable links that others can reach."""
    return [
        ip_interface(f"{host}/{message['prefixlen']}")
        async for message in await netlink.addr("dump")
        if message["index"] in usable
        and message["scope"] < _SCOPE_LINK
        and not message["flags"] & _TENTATIVE_OR_WORSE
        and (host := message.get("IFA_LOCAL") or message.get("IFA_ADDRESS"))
    ]


async def _default_routes(netlink: AsyncIPRoute) -> list[tuple[int, str]]:
    """Return interface and gateway of each default route, the lowest metric first."""
    found = [
        (
            route.get("RTA_PRIORITY") or 0,
            route.get("RTA_OIF") or 0,
            route.get("RTA_GATEWAY") or "",
        )
        async for route in await netlink.route("dump")
        if route["dst_len"] == 0 and route["table"] == _MAIN_TABLE
    ]
    return [(interface, gateway) for _, interface, gateway in sorted(found)]


async def automatic_mtu() -> int:
    """Return an MTU for the mesh, in bytes, that fits what the host's links carry.

    A packet grows by at most 40 bytes of IPv6, 8 of UDP, 4 of a relay's ChannelData and
    32 of WireGuard; the rest of the hundred is for PPPoE and the like on the way.
    """
    async with AsyncIPRoute() as netlink:
        mtus = [link.get("IFLA_MTU") for link in await _usable_links(netlink)]
    smallest = min((mtu for mtu in mtus if mtu), default=_ETHERNET_MTU)
    return max(_MIN_MTU, min(smallest, _ETHERNET_MTU) - _OVERHEAD)


async def _usable_links(netlink: Any) -> list[Any]:
    return [
        link
        async for link in await netlink.link("dump")
        if link["flags"] & _FLAG_UP and not link["flags"] & _FLAG_LOOPBACK
    ]


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


class NetworkWatcher:
    """Reports that addresses, routes or links of the host have changed.

    :param on_change: called once the network has been quiet for :data:`SETTLE`.
    :param except_interface: index of the interface whose own changes do not count.
    """

    def __init__(self, on_change: Callable[[], None], *, except_interface: int) -> None:
        self._except = except_interface
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(on_change)
        self._socket = subscribe(_GROUPS)
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._alarm.clear()

    def _on_readable(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                # Messages were lost, so there was a change.
                self._schedule()
                return
            if self._is_of_interest(data):
                self._schedule()

    def _is_of_interest(self, data: bytes) -> bool:
        """Tell whether a message is about anything but the mesh interface.

        A route has the index in an attribute, so routes through the mesh interface are
        not recognized: they are few, and a needless look costs little.
        """
        if len(data) < _HEADER.size + _MESSAGE_INDEX.size:
            return False
        kind = _HEADER.unpack_from(data)[1]
        (index,) = _MESSAGE_INDEX.unpack_from(data, _HEADER.size)
        return kind not in _ADDRESS_AND_LINK_MESSAGES or index != self._except

    def _schedule(self) -> None:
        now = self._loop.time()
        self._alarm.clear()
        self._alarm.set(now + SETTLE, now)
