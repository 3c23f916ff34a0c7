"""How long ephemeral nodes have been away, by the clock that nobody sets.

When a node was connected last is noted by the wall clock, which may be set by hours in
a moment. So what counts is for how long this process has seen it away; after a restart
it waits anew.
"""

from collections.abc import Iterable

from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Sweep

GRACE = 300.0
"""Seconds that an ephemeral node may be away without having said that it leaves."""
INTERVAL = 60.0
"""Seconds between two looks at who is away."""


class Absences:
    """Since when nodes are away that are to be removed if they stay away."""

    def __init__(self, now: float) -> None:
        self._since: dict[tuple[str, str], float] = {}
        """By public key, and by the connection that each had last."""
        self._look_at = now + INTERVAL

    def get_timer(self) -> float:
        """Return when to look again."""
        return self._look_at

    def look(self, nodes: Iterable[Node], now: float) -> Sweep | None:
        """Return the removal of those who have been away for too long, if any have."""
        if now < self._look_at:
            return None
        self._look_at = now + INTERVAL
        away = [
            (node.key, node.session)
            for node in nodes
            if node.ephemeral and not node.online
        ]
        self._since = {each: self._since.get(each, now) for each in away}
        gone = [each for each, since in self._since.items() if now - since >= GRACE]
        return Sweep(tuple(gone)) if gone else None
