"""Whose an address is: a node's of some class, one behind a node, or anybody's."""

from collections.abc import Iterable
from typing import NamedTuple

from meshwg.prefixes import to_address, to_network

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
        self._numbers: dict[str, int] = {}
        """Of which classes they are."""
        self._ahead: dict[str, int] = {}
        """Of which some of them are to be."""

    def put(
        self,
        key: str,
        number: int,
        addresses: Iterable[str],
        routes: Iterable[str],
        *,
        is_hub: bool = False,
        is_ahead: bool = False,
    ) -> bool:
        """Know a node; return whether places changed that had been known.

        :param number: of its class.
        :param is_hub: whether it forwards between others.
        :param is_ahead: whether the number counts only when :meth:`settle` is called.
        """
        entry = _Node(tuple(addresses), tuple(routes), is_hub)
        known, number = self._nodes.get(key), number or NO_CLASS
        if is_ahead or key in self._ahead:
            self._ahead[key] = number
            number = self._numbers.get(key, NO_CLASS)
        if known == entry and self._numbers[key] == number:
            return False
        if known != entry:
            self._forget(key)
            self._keep(key, entry)
        self._numbers[key] = number
        return known is not None

    def settle(self) -> bool:
        """Have the classes that were told ahead; return whether there are any."""
        has_any = bool(self._ahead)
        self._numbers.update(self._ahead)
        self._ahead = {}
        return has_any

    def remove(self, key: str) -> None:
        """Forget a node."""
        self._forget(key)
        self._numbers.pop(key, None)
        self._ahead.pop(key, None)

    def _keep(self, key: str, entry: "_Node") -> None:
        """Know where a node is."""
        self._nodes[key] = entry
        for address in entry.addresses:
            self._keys[to_address(address).packed] = key
        for route in entry.routes:
            self._networks.add(route, key)

    def _forget(self, key: str) -> None:
        """Know where a node is no more."""
        known = self._nodes.pop(key, None)
        if known is None:
            return
        for address in known.addresses:
            packed = to_address(address).packed
            if self._keys.get(packed) == key:
                del self._keys[packed]
        for route in known.routes:
            self._networks.remove(route, key)

    def find(self, address: bytes) -> int:
        """Return the class of the node with an address, or one of the other places."""
        key = self._keys.get(address)
        if key is not None:
            return self._numbers[key]
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
    network = to_network(text)
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen, shift, int(network.network_address) >> shift
