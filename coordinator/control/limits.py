"""Bounds on the connections that one address may have."""

from collections import Counter

from meshwg.limits import site_of


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
        site = site_of(address)
        full = self._connections[site] >= self._most
        if full or self._new[site] >= self._most_new:
            return False
        self._connections[site] += 1
        self._new[site] += 1
        return True

    def registered(self, address: str) -> None:
        """A counted connection has registered."""
        _decrease(self._new, site_of(address))

    def closed(self, address: str, *, registered: bool) -> None:
        """A counted connection is gone."""
        site = site_of(address)
        _decrease(self._connections, site)
        if not registered:
            _decrease(self._new, site)

    def __len__(self) -> int:
        """How many addresses are counted right now."""
        return len(self._connections)


def _decrease(counter: Counter[str], site: str) -> None:
    counter[site] -= 1
    if counter[site] <= 0:
        del counter[site]
