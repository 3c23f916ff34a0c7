"""Bounds on what one node, and one address, may take of the coordinator."""

import ipaddress
from collections import Counter


class TokenBucket:
    """So many at once, and so many a second after that."""

    __slots__ = ("_burst", "_level", "_rate", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._updated = burst, now

    def take(self, now: float) -> bool:
        """Return whether one more is allowed, and count it if it is."""
        level = self._level + (now - self._updated) * self._rate
        self._level, self._updated = min(level, self._burst), now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class AddressLimits:
    """Counts connections per source address; an IPv6 host counts as its /64.

    Connections that have not registered yet cost the most and are bounded most tightly.

    :param most: connections of one address.
    :param most_new: those among them that have not registered.
    """

    def __init__(self, most: int, most_new: int) -> None:
        self._most, self._most_new = most, most_new
        self._connections: Counter[str] = Counter()
        self._new: Counter[str] = Counter()

    def opened(self, address: str) -> bool:
        """Count a connection; return whether it is allowed."""
        source = _source(address)
        full = self._connections[source] >= self._most
        if full or self._new[source] >= self._most_new:
            return False
        self._connections[source] += 1
        self._new[source] += 1
        return True

    def registered(self, address: str) -> None:
        """A counted connection has registered."""
        _decrease(self._new, _source(address))

    def closed(self, address: str, *, registered: bool) -> None:
        """A counted connection is gone."""
        source = _source(address)
        _decrease(self._connections, source)
        if not registered:
            _decrease(self._new, source)

    def __len__(self) -> int:
        """How many addresses are counted right now."""
        return len(self._connections)


def _source(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def _decrease(counter: Counter[str], source: str) -> None:
    counter[source] -= 1
    if counter[source] <= 0:
        del counter[source]
