"""Operations that wait for the database, in order and without duplicates.

Only the last of several updates of one node is kept, so a database that is away for
long costs memory for each node, not for each message.
"""

from collections.abc import Iterable

from coordinator.mesh.operations import (
    Disconnect,
    Join,
    NoteFlows,
    Operation,
    Update,
    UseLease,
)

RETRY_INTERVAL = 1.0
"""Seconds between two attempts while the database fails."""
BATCH = 500
"""Operations in one transaction."""


class PendingOperations:
    """A queue for one transaction at a time."""

    def __init__(self, now: float) -> None:
        self._waiting: dict[tuple[object, ...], Operation] = {}
        self._not_before = now

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, operation: Operation) -> None:
        """Queue an operation in place of one that it supersedes."""
        slot = _slot(operation)
        if isinstance(operation, Update):
            # It goes to the end: a join that it must follow may be waiting, too.
            older = self._waiting.pop(slot, None)
            if isinstance(older, Update):
                operation = operation.after(older)
        self._waiting[slot] = operation

    def take(self, now: float) -> list[Operation]:
        """Return the operations of the next transaction."""
        if now < self._not_before:
            return []
        batch = list(self._waiting.items())[:BATCH]
        for slot, _ in batch:
            del self._waiting[slot]
        return [operation for _, operation in batch]

    def put_back(self, operations: Iterable[Operation], now: float) -> None:
        """Return what could not be committed, to be tried again a little later."""
        newer = self._waiting
        self._waiting = {_slot(operation): operation for operation in operations}
        for operation in newer.values():
            self.add(operation)
        self._not_before = now + RETRY_INTERVAL


def _slot(operation: Operation) -> tuple[object, ...]:
    match operation:
        case Join() | Disconnect():
            return type(operation), operation.session
        case Update() | NoteFlows():
            return type(operation), operation.key
        case UseLease():
            return type(operation), operation.session, operation.number
        case _:
            return type(operation), operation
