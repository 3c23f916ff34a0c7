"""Commits whose answer was lost: they were carried out or not, and nobody says which.

PostgreSQL commits, and then answers. A connection that breaks in between leaves this
process not knowing, and what it was asked for must be done neither twice nor never. So
each transaction leaves its number in the row of its process, and is there with it or
not at all. The next transaction looks first whether the last one is there.

The row says so also after a failover, where the numbers that PostgreSQL itself gives
its transactions would be given again.
"""

from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.mesh.operations import Operation, Result
from coordinator.store import schema

FORGET_WRITER = 86400.0
"""Seconds after which the row of a process that is gone is removed."""

MOST_OPEN = 4
"""Transactions in doubt that are remembered: each is followed by a look at the last."""

Outcomes = Sequence[tuple[Operation, Result]]

_CLOCK = "extract(epoch from clock_timestamp())"
_NOTE = text(
    f"INSERT INTO writers (writer, number, at) VALUES (:writer, :number, {_CLOCK}) "
    "ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at"
)
_FORGET = text(f"DELETE FROM writers WHERE at < {_CLOCK} - :age")


class Doubt:
    """What one process has committed, as far as it knows.

    :param writer: a name of the process that no other has.
    """

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._number = 0
        self._open: list[tuple[int, Outcomes]] = []
        """Transactions of which it is not known whether they were committed, by their
        numbers, with what came of their operations if they were."""

    def __bool__(self) -> bool:
        return bool(self._open)

    async def note(self, connection: AsyncConnection, outcomes: Outcomes) -> None:
        """Leave the number of a transaction with what else it writes."""
        self._number += 1
        values = {"writer": self._writer, "number": self._number}
        await connection.execute(_NOTE, values)
        # From here on the commit may be carried out without an answer.
        self._open = [*self._open[-MOST_OPEN + 1 :], (self._number, outcomes)]

    def settle(self) -> None:
        """The last transaction was answered: all is known."""
        self._open = []

    async def outcomes(self, connection: AsyncConnection) -> dict[int, Result]:
        """Return what became of operations that were in doubt, by their identity.

        What was not carried out is not among them.
        """
        if not self._open:
            return {}
        table = schema.writers
        last = await connection.scalar(
            select(table.c.number).where(table.c.writer == self._writer)
        )
        for number, outcomes in self._open:
            if number == last:
                return {id(operation): result for operation, result in outcomes}
        return {}


async def forget_writers(connection: AsyncConnection) -> None:
    """Remove what processes have left that are gone for long."""
    await connection.execute(_FORGET, {"age": FORGET_WRITER})
