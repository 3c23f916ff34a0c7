"""Which coordinator processes are alive, and when nodes of dead ones count as offline.

A node is online as long as the process it is connected to says so. When that process
dies, its nodes come back within their longest back-off, to it or to another process.
Only those that do not are marked offline. So a restart of the coordinator changes
nothing that peers see.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordinator.mesh.nodes import Node

BEAT_INTERVAL = 3.0
"""Seconds between two signs of life of a process, where several share a database."""
BEAT_TIMEOUT = 10.0
"""Seconds without a sign of life after which a process counts as dead."""
GRACE = 40.0
"""Seconds for the nodes of a dead process to come back: more than their back-off."""


@dataclass(frozen=True, slots=True)
class Home:
    """A coordinator process, as all on one database know it."""

    name: str
    url: str = ""
    """Where nodes find it."""
    direct: str = ""
    """Where the other coordinators find it, and no other one; empty if nowhere."""


@dataclass(frozen=True, slots=True)
class Roll:
    """What a process hears of the others when it gives a sign of life."""

    alive: Mapping[str, Home]
    """Those that gave one lately, by name."""
    urls: tuple[str, ...] = ()
    """Where nodes find those that gave one in the last hour: some may be away just now,
    and back when a node looks for them."""

    def others(self, own: Home) -> tuple[str, ...]:
        """Return where nodes find others than a process, dead or alive."""
        return tuple(each for each in self.urls if each != own.url)

    def living(self, own: Home) -> tuple[str, ...]:
        """Return where nodes find others than a process that are alive."""
        urls = dict.fromkeys(home.url for home in self.alive.values())
        return tuple(each for each in urls if each and each != own.url)


class Homes:
    """Follows the signs of life of all processes on one database.

    :param own: the name of this process.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._dead_since: dict[str, float] = {}

    def overdue(
        self, nodes: Iterable[Node], alive: Iterable[str], now: float
    ) -> frozenset[str]:
        """Return the processes whose nodes have had their time to come back.

        :param alive: the processes that gave a sign of life lately.
        """
        living = {self._own, *alive}
        in_use = {node.home for node in nodes if node.online}
        dead = sorted(in_use - living)
        self._dead_since = {home: self._dead_since.get(home, now) for home in dead}
        return frozenset(
            home for home, since in self._dead_since.items() if now - since >= GRACE
        )
