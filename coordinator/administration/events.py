"""What changes in the mesh, as events that somebody follows.

The last ones are kept for a while, so that whoever loses the connection can go on where
he was. Whoever was away for longer, or begins, gets ``begin``: he reads the lists anew,
and follows from there. While nobody follows, nothing is kept.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from coordinator.administration.rights import Actor, Scope
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.records import dns_record, node_record, policy_record
from coordinator.mesh.registry import Registry

KEPT: Final = 1000
"""Events."""
MAX_FOLLOWERS: Final = 64

BEGIN: Final = "begin"
NODE: Final = "node"
NODE_REMOVED: Final = "node-removed"
POLICY: Final = "policy"
RECORDS: Final = "records"

SCOPES: Final[Mapping[str, Scope]] = MappingProxyType(
    {
        NODE: Scope.NODES_READ,
        NODE_REMOVED: Scope.NODES_READ,
        POLICY: Scope.POLICY_READ,
        RECORDS: Scope.NAMES_READ,
    }
)
"""What one must be allowed to read for each kind of event."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event."""

    number: int
    kind: str
    record: dict[str, Any]


class EventLog:
    """The last events of one coordinator process.

    :param home: the name of the process: numbers of another one mean nothing here.
    """

    def __init__(self, home: str) -> None:
        self._home = home
        self._number = 0
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._followers = 0
        self._shown: dict[str, tuple[object, ...]] = {}
        """What was last shown of each node, by key, while somebody follows."""

    @property
    def number(self) -> int:
        """That of the last event."""
        return self._number

    def begin_to_follow(self, registry: Registry) -> bool:
        """Keep events for one more follower; return whether there may be one more."""
        if self._followers >= MAX_FOLLOWERS:
            return False
        if not self._followers:
            # What happened meanwhile was not kept.
            self._number += 1
            self._shown = {key: _shown(node) for key, node in registry.nodes.items()}
        self._followers += 1
        return True

    def end_to_follow(self) -> None:
        """Keep them for one less."""
        self._followers -= 1
        if not self._followers:
            self._kept.clear()
            self._shown.clear()

    def note(self, changes: Changes, registry: Registry) -> None:
        """Take what was committed, which the registry has already."""
        if not self._followers:
            return
        for key in changes.removed:
            if self._shown.pop(key, None) is not None:
                self._add(NODE_REMOVED, {"public_key": key})
        for node in changes.nodes:
            shown = _shown(node)
            if self._shown.get(node.key) != shown:
                self._shown[node.key] = shown
                self._add(NODE, {"node": node_record(node, registry.networks)})
        if changes.policy is not None:
            self._add(POLICY, {"policy": policy_record(changes.policy.record)})
        if changes.records is not None:
            domain = registry.domain
            listed = [dns_record(each, domain) for each in changes.records]
            self._add(RECORDS, {"domain": domain, "records": listed})

    def place(self, last: str) -> int | None:
        """Return the number that a follower has seen last.

        :param last: the id of an event, as the follower tells it.
        :return: ``None`` if it has to begin anew.
        """
        home, _, text = last.partition("-")
        is_number = text.isascii() and text.isdecimal() and len(text) < 19
        if home != self._home or not is_number:
            return None
        number = int(text)
        first = self._kept[0].number if self._kept else self._number + 1
        return number if first - 1 <= number <= self._number else None

    def after(self, number: int, actor: Actor) -> Iterator[Happening]:
        """Yield what somebody may read of what came after an event."""
        for each in tuple(self._kept):
            if each.number > number and actor.may(SCOPES[each.kind]):
                yield each

    def id_of(self, number: int) -> str:
        """Return the id of an event."""
        return f"{self._home}-{number}"

    def _add(self, kind: str, record: dict[str, Any]) -> None:
        self._number += 1
        self._kept.append(Happening(self._number, kind, record))


def _shown(node: Node) -> tuple[object, ...]:
    """Return what is of interest in a node: not where it is at the moment."""
    return (
        node.name,
        node.number,
        node.online,
        node.role,
        node.routes,
        node.announced,
        node.exit,
        node.withheld,
        node.expired,
        node.owner,
        node.tags,
    )
