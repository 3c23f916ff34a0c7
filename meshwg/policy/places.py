"""Whose an address is: a node's of some class, one behind a node, or anybody's."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

ANY_CLASS = 0
"""Stands in rules for all classes, and for all addresses behind nodes."""
BEHIND = -1
"""The place of addresses behind nodes."""
OUTSIDE = -2
"""The place of all other addresses: the internet."""
NO_CLASS = -3
"""The place of nodes that the coordinator gave no class: no rule is about them."""


class Places:
    """The places of addresses, as the netmap has them."""

    def __init__(self) -> None:
        self._classes: dict[bytes, int] = {}
        self._networks = _Behind()
        self._nodes: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {}

    def put(
        self, key: str, number: int, addresses: Iterable[str], routes: Iterable[str]
    ) -> bool:
        """Know a node; return whether places changed that had been known.

        :param number: of its class.
        """
        entry = number, tuple(addresses), tuple(routes)
        known = self._nodes.get(key)
        if known == entry:
            return False
        self.remove(key)
        self._nodes[key] = entry
        for address in entry[1]:
            self._classes[ip_address(address).packed] = number or NO_CLASS
        for route in entry[2]:
            self._networks.add(route)
        return known is not None

    def remove(self, key: str) -> None:
        """Forget a node."""
        known = self._nodes.pop(key, None)
        if known is None:
            return
        for address in known[1]:
            self._classes.pop(ip_address(address).packed, None)
        for route in known[2]:
            self._networks.remove(route)

    def find(self, address: bytes) -> int:
        """Return the class of the node with an address, or one of the other places."""
        number = self._classes.get(address)
        if number is not None:
            return number
        return BEHIND if address in self._networks else OUTSIDE


class _Behind:
    """Networks that nodes have behind them, counted, as several may have one."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int, int], int] = {}
        """By bits of the address, bits after the prefix, and prefix."""
        self._shifts: tuple[tuple[int, int], ...] = ()

    def add(self, text: str) -> None:
        key = _key(text)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._note()

    def remove(self, text: str) -> None:
        key = _key(text)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
        self._note()

    def __contains__(self, address: bytes) -> bool:
        if not self._shifts:
            return False
        bits, number = 8 * len(address), int.from_bytes(address)
        return any(
            of == bits and (bits, shift, number >> shift) in self._counts
            for of, shift in self._shifts
        )

    def _note(self) -> None:
        self._shifts = tuple(sorted(dict.fromkeys(key[:2] for key in self._counts)))


def _key(text: str) -> tuple[int, int, int]:
    network = ip_network(text)
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen, shift, int(network.network_address) >> shift
