"""One look at the network without a daemon: the sockets and names for a discovery.

Every address family that the host has a route for gets five sockets of its own and a
:class:`~meshwg.nat.discovery.NatDiscovery`; the gateway is asked about port mapping
meanwhile. Nothing that the network does raises here: what was not found out in time is
unknown.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from meshwg.errors import ConfigError
from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.discovery import (
    BRISK,
    FRESH_SOCKETS,
    NO_ROUTE,
    DiscoveryReport,
    NatDiscovery,
    ServerReport,
)
from meshwg.nat.lifetime import AGES, LifetimeSearch
from meshwg.nat.verdict import verdict
from meshwg.routing import mark_beside
from meshwg.runtime import rtnetlink
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.default_gateway import find_gateway
from meshwg.runtime.resolver import look_up
from meshwg.runtime.socket_options import set_fwmark
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint, Transmit

DEFAULT_PORT = 3478
MARGIN = 0.2
"""Seconds of the limit that are kept for the program itself."""
RESOLVE_SHARE = 0.4
"""The share of the limit that name resolution may take."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)
NO_ADDRESS = "its name has no address"


@dataclass(slots=True)
class PortMappingSummary:
    """Which protocols the gateway speaks, and the endpoint it forwards."""

    pcp: bool = False
    nat_pmp: bool = False
    upnp: bool = False
    external: Endpoint | None = None


@dataclass(slots=True)
class NetcheckReport:
    """Everything that one look found."""

    ipv4: NatBehavior
    ipv6: NatBehavior | None
    """``None`` where the host has no IPv6."""
    servers: list[ServerReport] = field(default_factory=list)
    unresolved: dict[str, str] = field(default_factory=dict)
    """Servers whose name gave no address, and why."""
    port_mapping: PortMappingSummary = field(default_factory=PortMappingSummary)
    age: float | None = 0.0
    """Seconds since that was found, ``None`` if it was not found in time."""

    @property
    def verdict(self) -> str:
        """What this network allows, in a sentence."""
        spoken = self.port_mapping
        forwarder = None
        if spoken.external is not None:
            names = (
                ("PCP", spoken.pcp),
                ("NAT-PMP", spoken.nat_pmp),
                ("UPnP", spoken.upnp),
            )
            forwarder = next((name for name, speaks in names if speaks), "PCP")
        reasons = {server.error for server in self.servers}
        is_offline = bool(reasons) and reasons <= {NO_ROUTE}
        return verdict(self.ipv4, self.ipv6, forwarder, is_offline=is_offline)

    def to_json(self) -> dict[str, Any]:
        """Return the object of ``meshwg netcheck --json``."""
        reachable = self.ipv4.reachable or (
            self.ipv6 is not None and self.ipv6.reachable
        )
        return {
            "schema": 1,
            "udp": reachable,
            "ipv4": self.ipv4.to_json(),
            "ipv6": None if self.ipv6 is None else self.ipv6.to_json(),
            "servers": [
                *(_server_json(server) for server in self.servers),
                *(
                    {"address": name, "rtt_ms": None, "error": error}
                    for name, error in self.unresolved.items()
                ),
            ],
            "port_mapping": {
                "pcp": self.port_mapping.pcp,
                "nat_pmp": self.port_mapping.nat_pmp,
                "upnp": self.port_mapping.upnp,
                "external": _text(self.port_mapping.external),
            },
            "verdict": self.verdict,
            "age_s": None if self.age is None else round(self.age, 1),
        }


async def netcheck(
    servers: Sequence[str], *, limit: float = 5.0, lifetime: bool = False
) -> NetcheckReport:
    """Look at the network this program runs in, past the meshes of this machine.

    :param servers: STUN servers as ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``.
    :param limit: seconds for everything but the lifetime.
    :param lifetime: whether also to measure how long idle mappings live, which takes
        minutes.
    :raises ConfigError: if a server is not written as one.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limit - MARGIN
    named = [_parse_server(server) for server in servers]
    fwmark = _underlay_mark()
    resolved, unresolved = await _resolve(named, limit * RESOLVE_SHARE)
    mapping = asyncio.create_task(probe_port_mapping(end - loop.time(), fwmark))
    ipv4, ipv6 = await asyncio.gather(
        *(_discover(family, resolved, end - loop.time(), fwmark) for family in FAMILIES)
    )
    if lifetime:
        ipv4 = await _with_lifetime(ipv4, fwmark)
    return NetcheckReport(
        ipv4.behavior,
        ipv6.behavior if _has_route(ipv6) else None,
        [*ipv4.servers, *ipv6.servers],
        unresolved,
        await mapping,
    )


class Machine(Protocol):
    """What :class:`_Sockets` drives."""

    def receive_stun(self, data: bytes, source: Endpoint, now: float) -> bool: ...

    def handle_timer(self, now: float) -> None: ...

    def datagrams_to_send(self) -> list[Transmit]: ...

    def get_timer(self) -> float | None: ...


class _Sockets:
    """Fresh UDP sockets of one family, by link, and the machine that uses them."""

    def __init__(
        self, family: socket.AddressFamily, count: int, fwmark: int = 0
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = [
            UdpSocket.open(family, link=link, fwmark=fwmark) for link in range(count)
        ]
        self._machine: Machine | None = None
        self._alarm = Alarm(self._wake)
        self._finished = self._loop.create_future()

    @property
    def ports(self) -> dict[int, int]:
        """Local port by link."""
        return {link: sock.port for link, sock in enumerate(self._sockets)}

    async def run(self, machine: Machine) -> None:
        """Drive a machine until its timer is ``None``; then the sockets are closed."""
        self._machine = machine
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._read, sock)
        self._turn()
        try:
            await self._finished
        finally:
            self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._alarm.clear()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def _read(self, sock: UdpSocket) -> None:
        while (received := sock.receive()) is not None:
            datagrams, source = received
            for data in datagrams:
                if self._machine is not None:
                    self._machine.receive_stun(data, source, self._loop.time())
        self._turn()

    def _wake(self) -> None:
        if self._machine is not None:
            self._machine.handle_timer(self._loop.time())
        self._turn()

    def _turn(self) -> None:
        """Send what is to be sent and set the timer."""
        if self._machine is None or self._finished.done():
            return
        for transmit in self._machine.datagrams_to_send():
            self._sockets[transmit.destination.link].send(transmit)
        due = self._machine.get_timer()
        if due is None:
            self._finished.set_result(None)
        else:
            self._alarm.set(due, self._loop.time())


async def _discover(
    family: socket.AddressFamily,
    servers: Sequence[Endpoint],
    limit: float,
    fwmark: int,
) -> DiscoveryReport:
    """Run a discovery for one family, if the host has a route to a server of it."""
    of_family = [one for one in servers if _family_of(one.host) == family]
    local = {server: _local_address(family, server, fwmark) for server in of_family}
    routed = [server for server in of_family if local[server] is not None]
    unrouted = tuple(
        ServerReport(server, None, NO_ROUTE)
        for server in of_family
        if local[server] is None
    )
    if not routed:
        return DiscoveryReport(NatBehavior(), unrouted)
    sockets = _Sockets(family, 1 + FRESH_SOCKETS, fwmark)
    discovery = NatDiscovery(
        routed,
        sockets.ports,
        addresses=[address for address in local.values() if address is not None],
        random=os.urandom,
        now=asyncio.get_running_loop().time(),
        limit=limit,
        patience=BRISK,
    )
    await sockets.run(discovery)
    report = discovery.next_event()
    assert report is not None
    return replace(report, servers=(*report.servers, *unrouted))


def _has_route(report: DiscoveryReport) -> bool:
    return any(server.error != NO_ROUTE for server in report.servers)


async def measure_lifetime(server: Endpoint, fwmark: int = 0) -> float | None:
    """Return for how many seconds idle mappings live, ``None`` if unknown.

    It takes as long as they live, five minutes at most.

    :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
    """
    sockets = _Sockets(_family_of(server.host), len(AGES) + 2, fwmark)
    search = LifetimeSearch(
        server,
        list(sockets.ports),
        random=os.urandom,
        now=asyncio.get_running_loop().time(),
    )
    await sockets.run(search)
    return search.lifetime


async def _with_lifetime(report: DiscoveryReport, fwmark: int) -> DiscoveryReport:
    """Return the report with the lifetime of idle mappings, if a server answered."""
    server = next((one.address for one in report.servers if one.error is None), None)
    if server is None:
        return report
    lifetime = await measure_lifetime(server, fwmark)
    return replace(report, behavior=replace(report.behavior, lifetime=lifetime))


async def probe_port_mapping(limit: float, fwmark: int) -> PortMappingSummary:
    """Ask the gateway which protocols of port mapping it speaks.

    :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
    """
    from meshwg.runtime import portmap

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        try:
            async with asyncio.timeout(limit):
                found = await portmap.probe(
                    sock.getsockname()[1], find=partial(find_gateway, fwmark=fwmark)
                )
        except TimeoutError:
            return PortMappingSummary()
    return PortMappingSummary(found.pcp, found.nat_pmp, found.upnp, found.external)


async def _resolve(
    named: Sequence[tuple[str, int]], limit: float
) -> tuple[list[Endpoint], dict[str, str]]:
    """Return the endpoints of servers, and why others have none."""
    lookups = [_addresses(host, port, limit) for host, port in named]
    endpoints: dict[Endpoint, None] = {}
    unresolved: dict[str, str] = {}
    for (host, port), found in zip(named, await asyncio.gather(*lookups), strict=True):
        endpoints |= dict.fromkeys(found)
        if not found:
            unresolved[str(Endpoint(host, port))] = NO_ADDRESS
    return list(endpoints), unresolved


async def _addresses(host: str, port: int, limit: float) -> list[Endpoint]:
    """Return the addresses of a name, none if they are not known in time."""
    try:
        async with asyncio.timeout(limit):
            found = await look_up(host, port)
    except (OSError, TimeoutError):
        return []
    return [Endpoint(str(address[0]), port) for *_, address in found]


def _parse_server(text: str) -> tuple[str, int]:
    """Return host and port of a server as a user writes it."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"'{text}' is not a STUN server: write HOST, HOST:PORT or [IPV6]:PORT"
        )
    return host, int(port)


def _underlay_mark() -> int:
    """Return the mark that keeps packets out of all meshes of this machine.

    It is 0 where there are none, and for users who may not set it.
    """
    try:
        found = [rule for version in (4, 6) for rule in rtnetlink.rules(version)]
        mark = mark_beside(found)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            set_fwmark(probe, mark)
    except OSError:
        return 0
    return mark


def _local_address(
    family: socket.AddressFamily, server: Endpoint, fwmark: int
) -> str | None:
    """Return the local address that routing chooses towards a server."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            set_fwmark(sock, fwmark)
            sock.connect((server.host, server.port))
            return str(sock.getsockname()[0])
    except OSError:
        return None


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _server_json(server: ServerReport) -> dict[str, Any]:
    return {
        "address": str(server.address),
        "rtt_ms": None if server.rtt is None else round(server.rtt * 1000, 1),
        "error": server.error,
    }


def _text(endpoint: Endpoint | None) -> str | None:
    return None if endpoint is None else str(endpoint)
