"""What a node has sent: when, what kind of datagram, and where to."""

from collections import Counter
from enum import StrEnum

from meshwg.transmit import Transmit
from meshwg.wire import stun

CHANNEL_HEADER = 4
SEND_INDICATION = b"\0\x16"


class Sent(StrEnum):
    """What a datagram is; what a relay is to pass on counts as what is inside."""

    INITIATION = "initiation"
    RESPONSE = "response"
    COOKIE = "cookie"
    DATA = "data"
    STUN = "stun"
    OTHER = "other"


_WIREGUARD = {
    b"\1\0\0\0": Sent.INITIATION,
    b"\2\0\0\0": Sent.RESPONSE,
    b"\3\0\0\0": Sent.COOKIE,
    b"\4\0\0\0": Sent.DATA,
}


class SendLog:
    """The datagrams that a node has sent, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[float, Sent, str]] = []
        """When, what, and to which host: a relay's, for what it passes on."""

    def add(self, transmit: Transmit, now: float) -> None:
        """Note a batch."""
        host = transmit.destination.host
        for datagram in transmit.datagrams:
            self.entries.append((now, kind_of(bytes(datagram)), host))

    def by_kind(self, since: float = 0.0) -> Counter[Sent]:
        """Return how many there were of each kind."""
        return Counter(kind for at, kind, _ in self.entries if at >= since)

    def by_host(self, since: float = 0.0) -> Counter[str]:
        """Return how many there were to each host."""
        return Counter(host for at, _, host in self.entries if at >= since)


def kind_of(datagram: bytes) -> Sent:
    """Return the kind of a datagram, or of what is in a relay's wrapping."""
    kind = _WIREGUARD.get(datagram[:4])
    if kind is not None:
        return kind
    if datagram[:1] and 0x40 <= datagram[0] <= 0x4F:
        return kind_of(datagram[CHANNEL_HEADER:])
    if not stun.is_stun(datagram):
        return Sent.OTHER
    if datagram[:2] == SEND_INDICATION:
        inside = stun.parse(datagram).attributes.get(stun.Attribute.DATA)
        if isinstance(inside, bytes):
            return kind_of(inside)
    return Sent.STUN
