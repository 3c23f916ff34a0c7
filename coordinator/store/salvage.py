"""Carrying operations out so that one which fails does not fail its neighbours.

A database refuses a whole transaction for one value that it cannot hold. So when a
transaction fails, its operations are divided, until those that fail stand alone.
Whether the database itself fails is not told from the text of an error: it is asked to
write what it holds already.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coordinator.mesh.operations import Changes, Operation, Refused, Result
from coordinator.store.engine import StoreError
from coordinator.store.store import Store
from meshwg.wire.control import ErrorCode

ATTEMPTS = 2
"""Of an operation that stands alone: other writers may have been in its way."""

REFUSAL = Refused(
    ErrorCode.MALFORMED, "The coordinator's database does not take this; see its log"
)


@dataclass(slots=True)
class Done:
    """What was carried out, in the order of the operations."""

    outcomes: list[tuple[Operation, Result]] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    error: StoreError | None = None
    """The database failed after these outcomes; the rest was not carried out."""


async def carry_out(
    store: Store,
    operations: Sequence[Operation],
    unix_time: float,
    *,
    doubtful: bool,
    on_refused: Callable[[Operation, Exception], None],
) -> Done:
    """Carry out, in one transaction if possible, all operations that do not fail alone.

    :param doubtful: whether the database failed just before.
    :param on_refused: called with each that does, and with what it failed of.
    """
    done = Done()
    waiting = deque([(list(operations), 1)])
    while waiting:
        part, attempt = waiting.popleft()
        try:
            if doubtful:
                await store.rewrite()
            doubtful = True
            await _commit(store, part, unix_time, done)
        except StoreError as error:
            done.error = error
            break
        except _Failed as failed:
            if len(part) > 1:
                middle = len(part) // 2
                waiting.extendleft([(part[middle:], 1), (part[:middle], 1)])
            elif attempt < ATTEMPTS:
                waiting.appendleft((part, attempt + 1))
            else:
                on_refused(part[0], failed.cause)
                done.outcomes.append((part[0], REFUSAL))
    return done


class _Failed(Exception):
    """A transaction failed, perhaps for what it was to carry out."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


async def _commit(
    store: Store, operations: Sequence[Operation], unix_time: float, done: Done
) -> None:
    """Carry out some operations in one transaction.

    :raises StoreError: if the database does not work, or refuses even to be read.
    """
    try:
        commit = await store.commit(operations, unix_time)
    except StoreError as error:
        if not error.refused or not operations:
            raise
        raise _Failed(error) from error
    except Exception as error:
        if not operations:
            raise
        raise _Failed(error) from error
    done.outcomes += commit.outcomes
    done.changes += commit.changes
