"""The connections that this machine has already, as ``/proc/net`` shows them.

A firewall that begins to watch sees the middle of these, and cannot tell who began
them. The kernel can: an accepted connection has a port at which something listens.
"""

import contextlib
import os
import struct
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

TABLES = Path("/proc/thread-self/net")
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OWN_FILES = Path("/proc/self/fd")
_ESTABLISHED, _LISTENING = "01", "0A"
MAX_KNOWN = 4096
"""Connections of each kind that are told apart; more than these begin anew."""

IPAddress = IPv4Address | IPv6Address
Connection = tuple[IPAddress, int, int]
"""The far end's address and port, and the port here."""


@dataclass(frozen=True, slots=True)
class _SocketEntry:
    """One line of a table."""

    port: int
    remote: IPAddress
    remote_port: int
    state: str
    inode: str


@dataclass(slots=True)
class EarlierConnections:
    """What there was before a firewall began to watch."""

    accepted: list[Connection] = field(default_factory=list)
    """TCP connections that others began."""
    begun: list[Connection] = field(default_factory=list)
    """TCP connections that programs of this machine began."""
    ports: list[int] = field(default_factory=list)
    """UDP ports that the system chose: nobody outside knows them but who was asked."""


def earlier_connections() -> EarlierConnections:
    """Return what there is now, without what this process itself has."""
    own = set(_own_inodes())
    streams = [each for name in ("tcp", "tcp6") for each in _read(name)]
    listening = {each.port for each in streams if each.state == _LISTENING}
    found = EarlierConnections()
    for each in streams:
        if each.state != _ESTABLISHED or each.inode in own or each.remote.is_loopback:
            continue
        kind = found.accepted if each.port in listening else found.begun
        if len(kind) < MAX_KNOWN:
            kind.append((each.remote, each.remote_port, each.port))
    found.ports = _chosen_ports(own)
    return found


def _chosen_ports(own: Collection[str]) -> list[int]:
    first, last = map(int, PORT_RANGE.read_text().split())
    datagrams = [each for name in ("udp", "udp6") for each in _read(name)]
    ports = {each.port for each in datagrams if each.inode not in own}
    ports -= {each.port for each in datagrams if each.inode in own}
    return sorted(each for each in ports if first <= each <= last)[:MAX_KNOWN]


def _own_inodes() -> Iterator[str]:
    for each in os.listdir(_OWN_FILES):
        with contextlib.suppress(OSError):
            target = os.readlink(_OWN_FILES / each)
            if target.startswith("socket:["):
                yield target.removeprefix("socket:[").removesuffix("]")


def _read(name: str) -> Iterator[_SocketEntry]:
    try:
        _, *lines = (TABLES / name).read_text().splitlines()
    except (OSError, ValueError):
        # IPv6 may be switched off.
        return
    for line in lines:
        _, local, remote, state, _, _, _, _, _, inode, *_ = line.split()
        host, port = _parse_end(remote)
        yield _SocketEntry(_parse_end(local)[1], host, port, state, inode)


def _parse_end(text: str) -> tuple[IPAddress, int]:
    """Return an address and a port; the address is in words of the machine's order."""
    host, _, port = text.partition(":")
    packed = bytes.fromhex(host)
    if sys.byteorder == "little":
        count = len(packed) // 4
        packed = struct.pack(f">{count}I", *struct.unpack(f"<{count}I", packed))
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address, int(port, 16)
