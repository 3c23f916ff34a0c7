"""The allowed IPs of a device: longest-prefix match from addresses to peers.

One table for each address family holds a dictionary for each prefix length in use; a
bounded cache answers for addresses seen before, which is nearly every packet.
"""

from collections.abc import Callable, Hashable
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)
Network = IPv4Network | IPv6Network

_CACHE_SIZE = 8192


class AllowedIPs(Generic[P]):
    """Which peer owns which addresses. A prefix belongs to one peer at a time."""

    def __init__(self) -> None:
        self._tables: dict[int, _Table[P]] = {4: _Table(32), 16: _Table(128)}
        self._networks: dict[P, dict[Network, None]] = {}
        self._cache: _Cache[P] = _Cache(self._lookup_slowly)
        self.lookup: Callable[[bytes], P | None] = self._cache.__getitem__
        """Return the peer of an address of 4 or 16 bytes in network order."""

    def insert(self, network: Network, peer: P) -> None:
        """Give a prefix to a peer; another peer that had it loses it."""
        table = self._tables[len(network.network_address.packed)]
        previous = table.insert(network, peer)
        if previous is not None and previous != peer:
            del self._networks[previous][network]
        self._networks.setdefault(peer, {})[network] = None
        self._cache.clear()

    def remove(self, network: Network, peer: P) -> None:
        """Take a prefix from a peer, if it has it."""
        networks = self._networks.get(peer, {})
        if network in networks:
            del networks[network]
            self._tables[len(network.network_address.packed)].remove(network)
            self._cache.clear()

    def clear(self, peer: P) -> None:
        """Take everything from a peer."""
        for network in self._networks.pop(peer, {}):
            self._tables[len(network.network_address.packed)].remove(network)
        self._cache.clear()

    def of(self, peer: P) -> list[Network]:
        """Return the prefixes of a peer, oldest first."""
        return list(self._networks.get(peer, ()))

    def _lookup_slowly(self, address: bytes) -> P | None:
        table = self._tables.get(len(address))
        if table is None:
            return None
        peer = table.lookup(int.from_bytes(address, "big"))
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[bytes(address)] = peer
        return peer


class _Cache(dict[bytes, P | None]):
    """Answers that were given before; for others it asks."""

    def __init__(self, ask: Callable[[bytes], P | None]) -> None:
        self._ask = ask

    def __missing__(self, address: bytes) -> P | None:
        return self._ask(address)


class _Table(Generic[P]):
    """The prefixes of one address family, by length, the longest first."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._by_length: list[tuple[int, dict[int, P]]] = []

    def lookup(self, address: int) -> P | None:
        for shift, peers in self._by_length:
            peer = peers.get(address >> shift)
            if peer is not None:
                return peer
        return None

    def insert(self, network: Network, peer: P) -> P | None:
        """Return the peer that had the prefix before."""
        shift = self._bits - network.prefixlen
        peers = dict(self._by_length).get(shift)
        if peers is None:
            peers = {}
            self._by_length.append((shift, peers))
            self._by_length.sort(key=lambda entry: entry[0])
        key = int(network.network_address) >> shift
        previous = peers.get(key)
        peers[key] = peer
        return previous

    def remove(self, network: Network) -> None:
        shift = self._bits - network.prefixlen
        peers = dict(self._by_length)[shift]
        del peers[int(network.network_address) >> shift]
        if not peers:
            self._by_length.remove((shift, peers))
