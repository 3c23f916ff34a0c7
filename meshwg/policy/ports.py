"""Ports as policies write them: ``tcp/5432``, ``tcp/9100-9110``, ``udp/*``, ``icmp``.

The coordinator's policy, what it tells nodes, and a node's own guard use this form.
"""

import re
from dataclasses import dataclass

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
"""Numbers of protocols (IANA)."""
ANY = -1
"""Any protocol, also those without ports."""
MAX_PORT = 65535

_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_WORDS = {number: word for word, number in _PROTOCOLS.items()}
_PORTS = re.compile(r"(tcp|udp)/(?:(\*)|(\d{1,6})(?:-(\d{1,6}))?)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """What a rule allows at its destination."""

    protocol: int
    """:data:`ICMP` stands for both versions of it; :data:`ANY`."""
    first: int = 0
    last: int = MAX_PORT

    def covers(self, protocol: int, port: int) -> bool:
        """Tell whether packets of a protocol, to a port if it has any, are meant."""
        if self.protocol == ANY:
            return True
        if protocol == ICMPV6:
            protocol = ICMP
        return self.protocol == protocol and self.first <= port <= self.last

    def includes(self, other: "Ports") -> bool:
        """Tell whether all that another allows is allowed by this one."""
        return self.protocol == ANY or (
            self.protocol == other.protocol
            and self.first <= other.first
            and other.last <= self.last
        )

    def __str__(self) -> str:
        if self.protocol == ANY:
            return "any"
        if self.protocol == ICMP:
            return "icmp"
        word = _WORDS[self.protocol]
        if (self.first, self.last) == (0, MAX_PORT):
            return f"{word}/*"
        if self.first == self.last:
            return f"{word}/{self.first}"
        return f"{word}/{self.first}-{self.last}"


EVERYTHING = Ports(ANY)


def parse_ports(text: str) -> Ports:
    """Return the ports that a text stands for.

    :raises ValueError: if it has another form, or no such ports exist; the message says
        what to write instead.
    """
    if text == "any":
        return EVERYTHING
    if text == "icmp":
        return Ports(ICMP)
    found = _PORTS.fullmatch(text)
    if found is None:
        raise ValueError("write tcp/443, tcp/9100-9110, udp/*, icmp or any")
    protocol = _PROTOCOLS[found[1]]
    if found[2]:
        return Ports(protocol)
    first, last = int(found[3]), int(found[4] or found[3])
    if not 1 <= first <= MAX_PORT or not 1 <= last <= MAX_PORT:
        raise ValueError("ports are numbers from 1 to 65535")
    if first > last:
        raise ValueError("write the lower port first")
    return Ports(protocol, first, last)


def ports_label(protocol: int, port: int) -> str:
    """Return a protocol and a port as a policy would name them."""
    if protocol in (ICMP, ICMPV6):
        return "icmp"
    if protocol in _WORDS:
        return f"{_WORDS[protocol]}/{port}"
    return f"protocol {protocol}"
