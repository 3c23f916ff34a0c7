"""The default gateway, read from the kernel's routing tables in /proc.

Of several default routes the one with the lowest metric counts, as it does for the
kernel. Routes without a gateway, such as those into a tunnel, lead to nothing that
could map a port.
"""

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from meshwg.runtime.socket_options import set_fwmark

ROUTES4 = Path("/proc/thread-self/net/route")
ROUTES6 = Path("/proc/thread-self/net/ipv6_route")

RTF_UP = 0x1
RTF_GATEWAY = 0x2
RTF_REJECT = 0x200

SOMEWHERE6 = "2000::1"
"""Any address in the Internet, to ask the kernel which source it would use."""
DISCARD_PORT = 9


@dataclass(frozen=True, slots=True)
class Gateway:
    """A default gateway as this host sees it."""

    address: str
    """An IPv6 link-local one carries its zone."""
    local: str
    """The address that this host sends from."""
    fwmark: int = 0
    """Marks what this host sends to it (SO_MARK), 0 for no mark."""


def find_gateway(family: socket.AddressFamily, fwmark: int = 0) -> Gateway | None:
    """Return the default gateway, or ``None`` if there is none that can be used.

    :param fwmark: of what is sent to it.
    """
    is_ipv4 = family == socket.AF_INET
    try:
        text = (ROUTES4 if is_ipv4 else ROUTES6).read_text()
    except OSError:
        return None
    address = parse_routes4(text) if is_ipv4 else parse_routes6(text)
    if address is None:
        return None
    local = _source_towards(family, address if is_ipv4 else SOMEWHERE6, fwmark)
    return Gateway(address, local, fwmark) if local is not None else None


def parse_routes4(text: str) -> str | None:
    """Return the default gateway in the form of /proc/net/route."""
    candidates = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        destination, gateway, flags, mask = (int(fields[n], 16) for n in (1, 2, 3, 7))
        wanted = RTF_UP | RTF_GATEWAY
        if destination == 0 and mask == 0 and flags & wanted == wanted:
            candidates.append((int(fields[6]), gateway))
    if not candidates:
        return None
    _, gateway = min(candidates, key=lambda candidate: candidate[0])
    return str(ipaddress.IPv4Address(gateway.to_bytes(4, "little")))


def parse_routes6(text: str) -> str | None:
    """Return the default gateway in the form of /proc/net/ipv6_route."""
    candidates = []
    for line in text.splitlines():
        destination, length, _, _, gateway, metric, _, _, flags, interface = (
            line.split()
        )
        usable = int(flags, 16) & (RTF_UP | RTF_GATEWAY | RTF_REJECT)
        if usable == RTF_UP | RTF_GATEWAY and int(destination + length, 16) == 0:
            address = ipaddress.IPv6Address(bytes.fromhex(gateway))
            zone = f"%{interface}" if address.is_link_local else ""
            candidates.append((int(metric, 16), f"{address}{zone}"))
    return min(candidates)[1] if candidates else None


def _source_towards(
    family: socket.AddressFamily, destination: str, fwmark: int
) -> str | None:
    """Return the address that datagrams to a destination leave from; none is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            set_fwmark(sock, fwmark)
            sock.connect((destination, DISCARD_PORT))
        except OSError:
            return None
        source = str(sock.getsockname()[0])
    address = ipaddress.ip_address(source.partition("%")[0])
    return None if address.is_unspecified or address.is_link_local else source
