"""Links, addresses, routes and rules of this thread's network namespace, read and set.

Each call is a conversation with the kernel, which answers at once; errors are those of
the system calls, with their numbers (rtnetlink(7)).
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

from meshwg.routing import (
    PROTOCOL,
    Action,
    IPInterface,
    IPNetwork,
    Route,
    RoutingRule,
)
from meshwg.runtime.netlink import (
    RECEIVE_SIZE,
    attribute,
    message,
    parse_attributes,
    parse_messages,
)

IFF_UP = 0x1
IFF_LOOPBACK = 0x8

SCOPE_UNIVERSE = 0
SCOPE_LINK = 253

IFA_F_SECONDARY = 0x01
"""The address is not the first of its network; of IPv6: it is a temporary one."""
IFA_F_NODAD = 0x02
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80
IFA_F_NOPREFIXROUTE = 0x200

# From linux/netlink.h, linux/rtnetlink.h, linux/if_link.h and linux/fib_rules.h.
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_REQUEST = 0x1
_ACKNOWLEDGE = 0x4
_DUMP = 0x300
_REPLACE = 0x100
_EXCLUSIVE = 0x200
_CREATE = 0x400
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34

_LINK_MESSAGE = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, changed flags."""
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO = 3, 4, 18
_IFLA_INFO_KIND = 1

_ADDRESS_MESSAGE = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_LIFETIMES = struct.Struct("=IIII")
"""struct ifa_cacheinfo: seconds for which an address is preferred, and valid; when it
was made, and changed."""

_ROUTE_MESSAGE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope,
type, flags."""
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_RTA_PREFSRC, _RTA_MULTIPATH, _RTA_TABLE = 7, 9, 15
_NEXT_HOP = struct.Struct("=HBBi")
"""struct rtnexthop: length, flags, weight, index."""
_RTM_F_CLONED = 0x200

_RULE_MESSAGE = struct.Struct("=BBBBBxxBI")
"""struct fib_rule_hdr: family, lengths of destination and source, TOS, table, action,
flags."""
_FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK = 2, 3, 6, 10
_FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 14, 15, 16, 21
_SELECTORS = (1, 2, 3, 11, 12, 17, 19, 20, 22, 23, 24)
"""Destination, source, interfaces, realms, tunnel, VRF, user, protocol and ports."""
_FR_ACT_TO_TBL = 1
_FIB_RULE_INVERT = 0x2
_FIB_RULE_FIND_SADDR = 0x10000
_LOOPBACK = "lo"
_NOTHING = b"\xff\xff\xff\xff"

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {family.value: version for version, family in _FAMILIES.items()}


class KernelLink(NamedTuple):
    """An interface."""

    number: int
    name: str
    flags: int
    mtu: int
    kind: str
    """As ``ip -details link`` calls it, empty for hardware."""


class KernelAddress(NamedTuple):
    """An address of an interface."""

    link: int
    """Number of the interface."""
    interface: IPInterface
    scope: int
    flags: int


class KernelRoute(NamedTuple):
    """A route in any table."""

    table: int
    prefix: IPNetwork
    link: int
    """Number of the interface, 0 for none."""
    gateway: str
    """Empty for none."""
    metric: int
    action: int
    source: str | None
    protocol: int


# What there is.


def links() -> list[KernelLink]:
    """Return all interfaces."""
    request = _LINK_MESSAGE.pack(0, 0, 0, 0, 0)
    return [_parse_link(body) for body in _dump(_RTM_GETLINK, _RTM_NEWLINK, request)]


def addresses() -> list[KernelAddress]:
    """Return the addresses of all interfaces, IPv4 and IPv6."""
    request = bytes(_ADDRESS_MESSAGE.size)
    found = _dump(_RTM_GETADDR, _RTM_NEWADDR, request)
    return [each for body in found if (each := _parse_address(body)) is not None]


def routes(version: int) -> list[KernelRoute]:
    """Return the routes of an IP version in all tables."""
    request = _ROUTE_MESSAGE.pack(_FAMILIES[version], 0, 0, 0, 0, 0, 0, 0, 0)
    found = (
        _parse_route(body)
        for body in _dump(_RTM_GETROUTE, _RTM_NEWROUTE, request)
        if body[0] == _FAMILIES[version]
    )
    return [each for each in found if each is not None]


def rules(version: int) -> list[RoutingRule]:
    """Return the rules of an IP version in their order.

    :raises OSError: EOPNOTSUPP if the system has none.
    """
    request = _RULE_MESSAGE.pack(_FAMILIES[version], 0, 0, 0, 0, 0, 0)
    return [
        _parse_rule(body)
        for body in _dump(_RTM_GETRULE, _RTM_NEWRULE, request)
        if body[0] == _FAMILIES[version]
    ]


def _parse_link(body: bytes) -> KernelLink:
    _, _, index, flags, _ = _LINK_MESSAGE.unpack_from(body)
    found = parse_attributes(body[_LINK_MESSAGE.size :])
    details = parse_attributes(found.get(_IFLA_LINKINFO, b""))
    return KernelLink(
        index,
        _text(found.get(_IFLA_IFNAME, b"")),
        flags,
        _number(found.get(_IFLA_MTU, b"")),
        _text(details.get(_IFLA_INFO_KIND, b"")),
    )


def _parse_address(body: bytes) -> KernelAddress | None:
    family, length, flags, scope, index = _ADDRESS_MESSAGE.unpack_from(body)
    found = parse_attributes(body[_ADDRESS_MESSAGE.size :])
    # With a peer, IFA_ADDRESS is the peer's.
    local = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))
    if family not in _VERSIONS or local is None:
        return None
    flags = _number(found[_IFA_FLAGS]) if _IFA_FLAGS in found else flags
    return KernelAddress(index, ip_interface((local, length)), scope, flags)


def _parse_route(body: bytes) -> KernelRoute | None:
    """Return a route, or ``None`` for an entry of a cache."""
    family, length, _, _, table, protocol, _, action, flags = (
        _ROUTE_MESSAGE.unpack_from(body)
    )
    if flags & _RTM_F_CLONED:
        return None
    found = parse_attributes(body[_ROUTE_MESSAGE.size :])
    if _RTA_MULTIPATH in found:
        first = found[_RTA_MULTIPATH]
        size, _, _, index = _NEXT_HOP.unpack_from(first)
        hop = parse_attributes(first[_NEXT_HOP.size : size])
        found = {**found, **hop, _RTA_OIF: struct.pack("=i", index)}
    zero = bytes(4 if family == socket.AF_INET else 16)
    gateway, source = found.get(_RTA_GATEWAY), found.get(_RTA_PREFSRC)
    return KernelRoute(
        table=_number(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
        prefix=ip_network((found.get(_RTA_DST, zero), length), strict=False),
        link=_number(found.get(_RTA_OIF, b"")),
        gateway="" if gateway is None else str(ip_address(gateway)),
        metric=_number(found.get(_RTA_PRIORITY, b"")),
        action=action,
        source=None if source is None else str(ip_address(source)),
        protocol=protocol,
    )


def _parse_rule(body: bytes) -> RoutingRule:
    family, _, length, tos, table, action, flags = _RULE_MESSAGE.unpack_from(body)
    found = parse_attributes(body[_RULE_MESSAGE.size :])
    mark, mask = (_number(found.get(kind, b"")) for kind in (_FRA_FWMARK, _FRA_FWMASK))
    inverted = bool(flags & _FIB_RULE_INVERT)
    is_from_here = _text(found.get(_FRA_IIFNAME, b"")) == _LOOPBACK
    selects = tos or any(kind in found for kind in _SELECTORS)
    suppresses = found.get(_FRA_SUPPRESS_PREFIXLEN, _NOTHING)
    is_lookup = action == _FR_ACT_TO_TBL
    return RoutingRule(
        version=_VERSIONS[family],
        priority=_number(found.get(_FRA_PRIORITY, b"")),
        table=_number(found.get(_FRA_TABLE, bytes([table]))) if is_lookup else 0,
        source=ip_network((found[_FRA_SRC], length)) if _FRA_SRC in found else None,
        unmarked=mask if mark == 0 and not inverted else 0,
        marked=mask if mark == mask and not inverted else 0,
        is_local=is_from_here and not inverted,
        is_forwarded=is_from_here and inverted,
        finds_source=bool(flags & _FIB_RULE_FIND_SADDR),
        is_ours=found.get(_FRA_PROTOCOL) == bytes([PROTOCOL]),
        is_for_all=not selects and (inverted if mark else not inverted),
        suppresses=-1 if suppresses == _NOTHING else _number(suppresses),
    )


# All of it at once.


class Snapshot(NamedTuple):
    """Everything above, as it was within a few milliseconds."""

    links: list[KernelLink]
    addresses: list[KernelAddress]
    routes: list[KernelRoute]
    rules: dict[int, list[RoutingRule]]
    """By IP version; empty where the system has none."""


def take_snapshot() -> Snapshot:
    """Return what there is.

    :raises OSError: if the kernel does not say.
    """
    return Snapshot(
        links(),
        addresses(),
        [route for version in _FAMILIES for route in routes(version)],
        {version: _rules_if_any(version) for version in _FAMILIES},
    )


def _rules_if_any(version: int) -> list[RoutingRule]:
    try:
        return rules(version)
    except OSError:
        return []


# What is to be.


def set_link(index: int, *, mtu: int | None = None) -> None:
    """Bring an interface up, and set its MTU in bytes.

    :raises OSError: if the kernel refuses it.
    """
    body = _LINK_MESSAGE.pack(0, 0, index, IFF_UP, IFF_UP)
    if mtu is not None:
        body += attribute(_IFLA_MTU, struct.pack("=I", mtu))
    _change(_RTM_NEWLINK, 0, body)


def add_address(
    index: int, interface: IPInterface, *, seconds: int | None = None
) -> None:
    """Give an interface an address, for which no route is made.

    :param seconds: after which the kernel removes it, ``None`` for never. Connections
        of this machine do not begin from one that is removed.
    :raises OSError: if the kernel refuses it.
    """
    flags = IFA_F_NOPREFIXROUTE | (IFA_F_NODAD if interface.version == 6 else 0)
    extra = attribute(_IFA_FLAGS, struct.pack("=I", flags))
    if seconds is not None:
        extra += attribute(_IFA_CACHEINFO, _LIFETIMES.pack(0, seconds, 0, 0))
    _change_address(_RTM_NEWADDR, _CREATE | _REPLACE, index, interface, extra)


def remove_address(index: int, interface: IPInterface) -> None:
    """Take an address from an interface.

    :raises OSError: if the kernel refuses it.
    """
    _change_address(_RTM_DELADDR, 0, index, interface)


def add_route(table: int, index: int, route: Route, *, replace: bool = True) -> None:
    """Add a route into an interface, or an exception from such routes.

    :param replace: whether it takes the place of another one to the same network.
    :raises OSError: if the kernel refuses it.
    """
    flags = _CREATE | (_REPLACE if replace else _EXCLUSIVE)
    _change_route(_RTM_NEWROUTE, flags, table, index, route)


def remove_route(table: int, index: int, route: Route) -> None:
    """Remove a route.

    :raises OSError: if the kernel refuses it.
    """
    _change_route(_RTM_DELROUTE, 0, table, index, route)


def add_rule(rule: RoutingRule) -> None:
    """Add a rule of a node.

    :raises OSError: if the kernel refuses it.
    """
    _change(_RTM_NEWRULE, _CREATE | _EXCLUSIVE, _rule_body(rule))


def remove_rule(rule: RoutingRule) -> None:
    """Remove a rule of a node.

    :raises OSError: if the kernel refuses it.
    """
    _change(_RTM_DELRULE, 0, _rule_body(rule))


def _change_address(
    kind: int, flags: int, index: int, interface: IPInterface, extra: bytes = b""
) -> None:
    host, length = interface.ip.packed, interface.network.prefixlen
    family = _FAMILIES[interface.version]
    body = _ADDRESS_MESSAGE.pack(family, length, 0, SCOPE_UNIVERSE, index)
    body += attribute(_IFA_LOCAL, host) + attribute(_IFA_ADDRESS, host) + extra
    _change(kind, flags, body)


def _change_route(kind: int, flags: int, table: int, index: int, route: Route) -> None:
    prefix, has_link = route.prefix, route.action is Action.UNICAST
    # No gateway of another route is looked for behind a default route of this scope.
    is_near = prefix.version == 4 and has_link and prefix.prefixlen > 0
    scope = SCOPE_LINK if is_near else SCOPE_UNIVERSE
    body = _ROUTE_MESSAGE.pack(
        _FAMILIES[prefix.version],
        *(prefix.prefixlen, 0, 0, 0, PROTOCOL, scope, route.action, 0),
    )
    body += attribute(_RTA_DST, prefix.network_address.packed)
    body += attribute(_RTA_TABLE, struct.pack("=I", table))
    if has_link:
        body += attribute(_RTA_OIF, struct.pack("=I", index))
    if route.metric:
        body += attribute(_RTA_PRIORITY, struct.pack("=I", route.metric))
    if route.source is not None:
        body += attribute(_RTA_PREFSRC, ip_address(route.source).packed)
    _change(kind, flags, body)


def _rule_body(rule: RoutingRule) -> bytes:
    flags = _FIB_RULE_INVERT if rule.is_forwarded else 0
    flags |= _FIB_RULE_FIND_SADDR if rule.finds_source else 0
    length = 0 if rule.source is None else rule.source.prefixlen
    body = _RULE_MESSAGE.pack(
        _FAMILIES[rule.version], 0, length, 0, 0, _FR_ACT_TO_TBL, flags
    )
    body += attribute(_FRA_PRIORITY, struct.pack("=I", rule.priority))
    body += attribute(_FRA_TABLE, struct.pack("=I", rule.table))
    body += attribute(_FRA_PROTOCOL, bytes([PROTOCOL]))
    if rule.is_local or rule.is_forwarded:
        body += attribute(_FRA_IIFNAME, _LOOPBACK.encode() + b"\0")
    if rule.source is not None:
        body += attribute(_FRA_SRC, rule.source.network_address.packed)
    if mask := rule.unmarked | rule.marked:
        body += attribute(_FRA_FWMARK, struct.pack("=I", rule.marked))
        body += attribute(_FRA_FWMASK, struct.pack("=I", mask))
    return body


# Conversations.


def _dump(kind: int, answer: int, body: bytes) -> Iterator[bytes]:
    """Yield the bodies of the messages that a dump consists of.

    What changes while it is made may be in it or not; a change also has its message, so
    that whoever watches looks again.
    """
    with _conversation() as sock:
        sock.send(message(kind, _REQUEST | _DUMP, body))
        while True:
            for found, content in parse_messages(sock.recv(RECEIVE_SIZE)):
                if found == _NLMSG_DONE:
                    return
                if found == _NLMSG_ERROR:
                    _raise(content)
                    return
                if found == answer:
                    yield content


def _change(kind: int, flags: int, body: bytes) -> None:
    with _conversation() as sock:
        sock.send(message(kind, _REQUEST | _ACKNOWLEDGE | flags, body))
        for found, content in parse_messages(sock.recv(RECEIVE_SIZE)):
            if found == _NLMSG_ERROR:
                _raise(content)


def _conversation() -> socket.socket:
    return socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )


def _raise(content: bytes) -> None:
    """Raise the error of an answer, unless it is that of success."""
    (number,) = struct.unpack_from("=i", content)
    if number:
        raise OSError(-number, os.strerror(-number))


def _number(value: bytes) -> int:
    return int.from_bytes(value[:4], sys.byteorder)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
