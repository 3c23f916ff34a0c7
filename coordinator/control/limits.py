"""Bounds on the connections that one address, one network and all together may have."""

from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from meshwg.limits import network_of, site_of

Holder = TypeVar("Holder", bound=Hashable)


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


class FairSlots(Generic[Holder]):
    """Places for those who have not proved anything yet, which nobody can occupy.

    A site, and a network, has only so many. When all are taken, a newcomer gets that of
    the longest silent holder of the network that has most of them. So whoever comes
    from many addresses takes the places from himself, and who says at once what he came
    for is not sent away for it.

    :param most: places in all.
    :param per_site: of one IPv4 address or IPv6 /64.
    :param per_network: of one IPv6 /48.
    """

    def __init__(self, most: int, *, per_site: int, per_network: int) -> None:
        self._most, self._per_site, self._per_network = most, per_site, per_network
        self._hosts: dict[Holder, str] = {}
        self._sites: Counter[str] = Counter()
        self._networks: dict[str, OrderedDict[Holder, None]] = {}
        """Each with its holders, the longest silent first."""
        self._by_size: dict[int, dict[str, None]] = {}
        """Networks by how many places they hold, the longest silent first."""
        self._evicted: list[Holder] = []

    def __len__(self) -> int:
        """How many places are taken."""
        return len(self._hosts)

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._hosts

    def enter(self, holder: Holder, host: str, *, is_shared: bool = False) -> bool:
        """Take a place; return whether its site and network may have one more.

        See :meth:`evicted` for who has to go.

        :param is_shared: whether others come from there, who are not known yet; then
            all of them together have no less than there is.
        """
        site, network = site_of(host), network_of(host)
        if not is_shared and self._is_full(site, network):
            return False
        if len(self._hosts) >= self._most:
            self._evict()
        self._hosts[holder] = host
        self._sites[site] += 1
        holders = self._networks.setdefault(network, OrderedDict())
        holders[holder] = None
        self._resize(network, len(holders) - 1, len(holders))
        return True

    def heard(self, holder: Holder) -> None:
        """A holder has said something."""
        host = self._hosts.get(holder)
        if host is not None:
            network = network_of(host)
            holders = self._networks[network]
            holders.move_to_end(holder)
            self._resize(network, len(holders), len(holders))

    def leave(self, holder: Holder) -> None:
        """Give a place back; nothing if the holder has none."""
        host = self._hosts.pop(holder, None)
        if host is None:
            return
        network = network_of(host)
        _decrease(self._sites, site_of(host))
        holders = self._networks[network]
        del holders[holder]
        self._resize(network, len(holders) + 1, len(holders))
        if not holders:
            del self._networks[network]

    def evicted(self) -> list[Holder]:
        """Return, once, the holders whose places others have got."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def _is_full(self, site: str, network: str) -> bool:
        has_many = len(self._networks.get(network, ())) >= self._per_network
        return has_many or self._sites[site] >= self._per_site

    def _evict(self) -> None:
        fullest = next(iter(self._by_size[max(self._by_size)]))
        holder = next(iter(self._networks[fullest]))
        self.leave(holder)
        self._evicted.append(holder)

    def _resize(self, network: str, before: int, after: int) -> None:
        if before:
            del self._by_size[before][network]
            if not self._by_size[before]:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[network] = None


def _decrease(counter: Counter[str], site: str) -> None:
    counter[site] -= 1
    if counter[site] <= 0:
        del counter[site]
