"""Whose an address is: a node's of some class, one behind a node, or anybody's."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

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
        self._keys: dict[bytes, str] = {}
        """Whose an address is."""
        self._networks = _Behind()
        self._nodes: dict[str, _Node] = {}

    def put(
        self,
        key: str,
        number: int,
        addresses: Iterable[str],
        routes: Iterable[str],
        *,
        is_hub: bool = False,
    ) -> bool:
        """Know a node; return whether places changed that had been known.

        :param number: of its class.
        :param is_hub: whether it forwards between others.
        """
        entry = _Node(number or NO_CLASS, tuple(addresses), tuple(routes), is_hub)
        known = self._nodes.get(key)
        if known == entry:
            return False
        self.remove(key)
        self._nodes[key] = entry
        for address in entry.addresses:
            self._keys[ip_address(address).packed] = key
        for route in entry.routes:
            self._networks.add(route, key)
        return known is not None

    def remove(self, key: str) -> None:
        """Forget a node."""
        known = self._nodes.pop(key, None)
        if known is None:
            return
        for address in known.addresses:
            packed = ip_address(address).packed
            if self._keys.get(packed) == key:
                del self._keys[packed]
        for route in known.routes:
            self._networks.remove(route, key)

    def find(self, address: bytes) -> int:
        """Return the class of the node with an address, or one of the other places."""
        key = self._keys.get(address)
        if key is not None:
            return self._nodes[key].number
        return BEHIND if self._networks.owners(address) else OUTSIDE

    def forwards_to(self, source: bytes, destination: bytes) -> bool:
        """Tell whether packets for a destination may come by, or to, who has a source.

        That is a hub, or who has the destination, or is beside it behind one node.
        """
        owners = self._owners(source)
        if any(self._nodes[key].is_hub for key in owners):
            return True
        others = self._owners(destination)
        return owners == others or any(key in others for key in owners)

    def _owners(self, address: bytes) -> tuple[str, ...]:
        """Return the nodes that have an address, or have it behind them."""
        key = self._keys.get(address)
        return self._networks.owners(address) if key is None else (key,)


class _Node(NamedTuple):
    """What the netmap says of a node."""

    number: int
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    is_hub: bool


class _Behind:
    """Networks that nodes have behind them; several may have one."""

    def __init__(self) -> None:
        self._owners: dict[tuple[int, int, int], tuple[str, ...]] = {}
        """By bits of the address, bits after the prefix, and prefix."""
        self._shifts: tuple[tuple[int, int], ...] = ()

    def add(self, text: str, key: str) -> None:
        network = _key(text)
        self._owners[network] = (*self._owners.get(network, ()), key)
        self._note()

    def remove(self, text: str, key: str) -> None:
        network = _key(text)
        owners = self._owners.pop(network, ())
        left = tuple(each for each in owners if each != key)
        if left:
            self._owners[network] = left
        self._note()

    def owners(self, address: bytes) -> tuple[str, ...]:
        """Return who has the longest prefix of an address, nobody if there is none."""
        if not self._shifts:
            return ()
        bits, number = 8 * len(address), int.from_bytes(address)
        for of, shift in self._shifts:
            if of == bits:
                owners = self._owners.get((bits, shift, number >> shift))
                if owners is not None:
                    return owners
        return ()

    def _note(self) -> None:
        self._shifts = tuple(sorted(dict.fromkeys(key[:2] for key in self._owners)))


def _key(text: str) -> tuple[int, int, int]:
    network = ip_network(text)
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen, shift, int(network.network_address) >> shift
