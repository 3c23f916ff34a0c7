"""What nodes offer and others are not told of, said once in the log.

It may be a router that waits for its administrator, or somebody who wants the packets
of others.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from coordinator.mesh.approvals import EXIT, HUB, ItemState
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes

MAX_TOLD = 1024
MAX_TOLD_OF_ONE = 16
"""Items that the log has of one node, so that none can fill it with made up ones."""

_WISHES = {EXIT: "to be an exit", HUB: "to be a hub"}

logger = logging.getLogger(__name__)


class WaitingOffers:
    """Remembers what the log has said."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()
        self._told_of: Counter[str] = Counter()

    def look(self, changes: Iterable[Changes]) -> None:
        """Say what is new in committed changes."""
        for change in changes:
            for node in change.nodes:
                for state in node.withheld:
                    self._tell(node, state)

    def _tell(self, node: Node, state: ItemState) -> None:
        news = (node.key, state.item, state.state)
        is_too_much = (
            len(self._told) >= MAX_TOLD or self._told_of[node.key] >= MAX_TOLD_OF_ONE
        )
        if news in self._told or is_too_much or node.expired:
            return
        self._told.add(news)
        self._told_of[node.key] += 1
        what = _WISHES.get(state.item, f"the network {state.item}")
        logger.warning(
            "%s offers %s, and others are not told of it: %s",
            node.name,
            what,
            state.reason,
        )
