"""Links between namespaces: the only module that runs ``ip``.

Commands go to ``ip -batch``, which configures a namespace in about 4 ms. A link is made
only when both ends are running: packets sent before that are lost.

The two ends get different interface indexes. If they are equal, as they often are in
two new namespaces, the kernel does not treat the link as urgent, and takes up to a
second to report that it is running (``linkwatch_urgent_event``).
"""

import fcntl
import itertools
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from ipaddress import ip_interface

from netlab.errors import LabError, NotReady
from netlab.netns import Namespace

MTU = 1500
BRIDGE_ADDRESS = "02:00:00:00:00:01"
"""The hardware address of every bridge; no two are on one segment."""
READY_WITHIN = 10.0
"""Seconds that a link has to come up."""

SIOCGIFFLAGS = 0x8913
IFF_RUNNING = 0x40

_indexes = itertools.count(1000)


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a link."""

    namespace: Namespace
    interface: str


def ip(namespace: Namespace, *commands: str) -> None:
    """Run ``ip`` commands, each without the leading ``ip``, inside a namespace."""
    _batch(["ip", "-n", namespace.name, "-batch", "-"], commands)


def connect(inside: Port, outside: Port, mtu: int = MTU) -> None:
    """Make a veth pair between two namespaces and bring it up."""
    _batch(
        ["ip", "-batch", "-"],
        (
            f"link add name {inside.interface} index {next(_indexes)} mtu {mtu} "
            f"netns {inside.namespace.name} type veth "
            f"peer name {outside.interface} index {next(_indexes)} mtu {mtu} "
            f"netns {outside.namespace.name}",
        ),
    )
    for end in (inside, outside):
        ip(end.namespace, f"link set {end.interface} up")
    for end in (inside, outside):
        wait_running(end)


def make_bridge(port: Port, addresses: list[str]) -> None:
    """Make a bridge that forwards at once and has these addresses.

    Its hardware address is fixed. By default a bridge takes the lowest one of its
    ports, so that it changes as ports are added, and packets to the old one are lost.
    """
    name = port.interface
    ip(
        port.namespace,
        f"link add name {name} address {BRIDGE_ADDRESS} "
        "type bridge forward_delay 0 mcast_snooping 0",
        f"link set {name} up",
        *(add_address(address, name) for address in addresses),
    )


def enslave(port: Port, bridge: str) -> None:
    """Plug one end of a link into a bridge of its namespace."""
    ip(port.namespace, f"link set {port.interface} master {bridge}")


def unplug(port: Port) -> None:
    """Remove a link; its other end vanishes too."""
    ip(port.namespace, f"link delete {port.interface}")


def set_up(port: Port, up: bool) -> None:
    """Set this end down, or up again and wait for the carrier."""
    ip(port.namespace, f"link set {port.interface} {'up' if up else 'down'}")
    if up:
        wait_running(port)


def add_address(address: str, interface: str) -> str:
    """Return the command that adds an address, without duplicate detection if IPv6."""
    nodad = " nodad" if ip_interface(address).version == 6 else ""
    return f"address add {address} dev {interface}{nodad}"


def wait_running(port: Port) -> None:
    """Wait until the kernel reports that the interface is running."""
    request = struct.pack("16sh14x", port.interface.encode(), 0)

    def poll() -> None:
        deadline = time.monotonic() + READY_WITHIN
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            while True:
                answer = fcntl.ioctl(probe, SIOCGIFFLAGS, request)
                if struct.unpack_from("H", answer, 16)[0] & IFF_RUNNING:
                    return
                if time.monotonic() > deadline:
                    raise NotReady(
                        f"{port.interface} in {port.namespace.name} has no carrier."
                    )
                time.sleep(0.001)

    port.namespace.call(poll)


def _batch(command: list[str], lines: tuple[str, ...]) -> None:
    done = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True
    )
    if done.returncode != 0:
        complaint = done.stderr.strip() or "no reason given"
        raise LabError(f"{' '.join(command)}: {complaint} (one of {list(lines)})")
