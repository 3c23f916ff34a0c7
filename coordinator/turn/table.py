"""All allocations of one relay, found by client and by relayed address."""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from coordinator.turn.allocation import Allocation, Refusal
from coordinator.turn.limits import Limits
from meshwg.transmit import Endpoint, Random

RESERVATION_LIFETIME = 30.0
"""Seconds that a reserved port is kept (RFC 8656 section 7.2)."""


class Reservation(NamedTuple):
    """The port after an even one, kept for the holder of a token (EVEN-PORT)."""

    relayed: Endpoint
    node: str
    expires: float


class AllocationTable:
    """Keeps allocations until they expire, each at an address of its own."""

    def __init__(
        self,
        hosts: Mapping[int, str],
        ports: range,
        limits: Limits,
        random: Random,
    ) -> None:
        """Allocate ports of some addresses.

        :param hosts: the relay's public address for each IP version, 4 and 6.
        """
        self._hosts = dict(hosts)
        self._ports = ports
        self._limits = limits
        self._random = random
        self._by_client: dict[Endpoint, Allocation] = {}
        self._by_relayed: dict[Endpoint, Allocation] = {}
        self._by_node: dict[str, list[Allocation]] = {}
        self._reservations: dict[bytes, Reservation] = {}
        self._deadlines: list[tuple[float, int, Allocation]] = []
        self._serial = count()

    def __len__(self) -> int:
        return len(self._by_client)

    def of(self, client: Endpoint) -> Allocation | None:
        """Return the allocation of a client, whose endpoint is not pinned."""
        return self._by_client.get(client)

    def at(self, relayed: Endpoint) -> Allocation | None:
        """Return the allocation that has a relayed address."""
        return self._by_relayed.get(relayed)

    def all(self) -> list[Allocation]:
        """Return all allocations; the list does not follow later changes."""
        return list(self._by_client.values())

    def is_own_host(self, host: str) -> bool:
        """Return whether relayed addresses are at this address."""
        return host in self._hosts.values()

    def make_room(self, node: str, now: float) -> Allocation | None:
        """Make sure that a node may have one more allocation.

        Returns the allocation that was removed for it: a node that changes its address
        leaves its allocation behind, silent until it expires.

        :raises Refusal: 486 if the node has too many in use, 508 if the relay has.
        """
        own = self._by_node.get(node, ())
        if len(own) >= self._limits.allocations_per_node:
            oldest = min(own, key=lambda allocation: allocation.heard_at)
            if oldest.heard_at + self._limits.silence > now:
                raise Refusal(486, "Allocation Quota Reached")
            self.remove(oldest)
            return oldest
        if len(self) >= self._limits.allocations:
            raise Refusal(508, "Insufficient Capacity")
        return None

    def pick(self, version: int, step: int = 1, reserve: bool = False) -> Endpoint:
        """Return a relayed address that is free, at a port that cannot be guessed.

        :param step: 2 for an even port.
        :param reserve: whether the next port has to be free as well.
        :raises Refusal: 440 without an address of that version, 508 without a port.
        """
        host = self._hosts.get(version)
        if host is None:
            raise Refusal(440, "Address Family not Supported")
        first = self._ports.start + self._ports.start % step
        ports = range(first, self._ports.stop - reserve, step)
        start = int.from_bytes(self._random(4), "big")
        taken = {reserved.relayed for reserved in self._reservations.values()}
        for offset in range(len(ports)):
            relayed = Endpoint(host, ports[(start + offset) % len(ports)])
            wanted = [relayed, relayed._replace(port=relayed.port + 1)]
            if not any(
                each in self._by_relayed or each in taken
                for each in wanted[: 1 + reserve]
            ):
                return relayed
        raise Refusal(508, "Insufficient Capacity")

    def reserve(self, relayed: Endpoint, node: str, now: float) -> bytes:
        """Keep the port after a relayed address; return the token for it.

        :raises Refusal: 508 if the node keeps too many ports already.
        """
        held = [r for r in self._reservations.values() if r.node == node]
        if len(held) >= self._limits.allocations_per_node:
            raise Refusal(508, "Insufficient Capacity")
        token = self._random(8)
        following = relayed._replace(port=relayed.port + 1)
        expires = now + RESERVATION_LIFETIME
        self._reservations[token] = Reservation(following, node, expires)
        return token

    def redeem(self, token: bytes, node: str, now: float) -> Endpoint:
        """Return the relayed address that a token stands for.

        :raises Refusal: 508 if there is no such reservation (RFC 8656 section 7.2).
        """
        self._expire_reservations(now)
        reservation = self._reservations.get(token)
        if reservation is None or reservation.node != node:
            raise Refusal(508, "Insufficient Capacity")
        del self._reservations[token]
        return reservation.relayed

    def add(self, allocation: Allocation) -> None:
        """Take in a new allocation."""
        self._by_client[allocation.client.unpinned()] = allocation
        self._by_relayed[allocation.relayed] = allocation
        self._by_node.setdefault(allocation.node, []).append(allocation)
        self._schedule(allocation)

    def refresh(self, allocation: Allocation, expires: float) -> None:
        """Let an allocation live until another time, later or earlier."""
        earlier = expires < allocation.expires
        allocation.expires = expires
        if earlier:
            self._schedule(allocation)

    def remove(self, allocation: Allocation) -> None:
        """Forget an allocation."""
        del self._by_client[allocation.client.unpinned()]
        del self._by_relayed[allocation.relayed]
        self._by_node[allocation.node].remove(allocation)
        if not self._by_node[allocation.node]:
            del self._by_node[allocation.node]

    def next_expiry(self) -> float | None:
        """Return when to call :meth:`expire`, which may turn out to be too early."""
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> list[Allocation]:
        """Forget what has expired, and return it.

        A refresh to a later time leaves the entry in the heap; when its old time comes,
        it is put back with the new one.
        """
        self._expire_reservations(now)
        expired: list[Allocation] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            allocation = heappop(self._deadlines)[2]
            if self._by_relayed.get(allocation.relayed) is not allocation:
                continue
            if allocation.expires > now:
                self._schedule(allocation)
                continue
            self.remove(allocation)
            expired.append(allocation)
        return expired

    def _schedule(self, allocation: Allocation) -> None:
        entry = (allocation.expires, next(self._serial), allocation)
        heappush(self._deadlines, entry)
        if len(self._deadlines) > 2 * len(self) + 64:
            self._compact()

    def _compact(self) -> None:
        """Drop outdated entries, which a busy client could pile up."""
        self._deadlines = [
            (allocation.expires, next(self._serial), allocation)
            for allocation in self._by_client.values()
        ]
        heapify(self._deadlines)

    def _expire_reservations(self, now: float) -> None:
        for token in [t for t, r in self._reservations.items() if r.expires <= now]:
            del self._reservations[token]
