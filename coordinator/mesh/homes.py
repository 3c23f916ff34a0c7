"""Which coordinator processes are alive, and when nodes of dead ones count as offline.

A node is online as long as the process it is connected to says so. When that process
dies, its nodes come back within their longest back-off, to it or to another process.
Only those that do not are marked offline. So a restart of the coordinator changes
nothing that peers see.
"""

from collections.abc import Iterable

from coordinator.mesh.nodes import Node

BEAT_INTERVAL = 3.0
"""Seconds between two signs of life of a process, where several share a database."""
BEAT_TIMEOUT = 10.0
"""Seconds without a sign of life after which a process counts as dead."""
GRACE = 40.0
"""Seconds for the nodes of a dead process to come back: more than their back-off."""


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
