"""Whether what nodes were told survives the loss of a database server.

A node that was let in knows so; if the database forgets it in a failover, it is a
stranger to its own mesh. PostgreSQL's standbys follow without being waited for, unless
it is told otherwise.
"""

from dataclasses import dataclass

from sqlalchemy import text

from coordinator.dsn import PostgresServer
from coordinator.store.engine import Engine, transaction

_SETTINGS = text(
    "SELECT current_setting('fsync'), current_setting('full_page_writes'), "
    "current_setting('synchronous_commit'), "
    "current_setting('synchronous_standby_names'), "
    "(SELECT count(*) FROM pg_stat_replication)"
)


@dataclass(frozen=True, slots=True)
class Durability:
    """What a server does with what is committed.

    :ivar standbys: how many follow it just now.
    :ivar has_failover: whether the URL of the database names several hosts.
    """

    fsync: str
    full_page_writes: str
    synchronous_commit: str
    standby_names: str
    standbys: int
    has_failover: bool

    def risks(self, place: str) -> list[str]:
        """Return what may be lost, and what to do about it, as sentences."""
        found = []
        if "off" in (self.fsync, self.full_page_writes):
            found.append(
                f"The database {place} may lose everything in a power cut: set fsync "
                "and full_page_writes to on"
            )
        may_move = self.standbys > 0 or self.has_failover
        waits = self.standby_names and self.synchronous_commit not in ("off", "local")
        if may_move and not waits:
            found.append(
                f"A failover of the database {place} may lose nodes that were let in "
                "just before, as its standbys are not waited for: set "
                "synchronous_standby_names (synchronous_mode in Patroni), and "
                "synchronous_commit to on"
            )
        return found


async def look(engine: Engine) -> Durability | None:
    """Return what the server does now; ``None`` for a file.

    :raises StoreError: if it does not say.
    """
    address = engine.address
    if not isinstance(address, PostgresServer):
        return None
    async with transaction(engine) as connection:
        row = (await connection.execute(_SETTINGS)).one()
    words, standbys = [str(each) for each in row[:4]], int(row[4])
    sync, pages, commit, names = words
    return Durability(sync, pages, commit, names, standbys, len(address.hosts) > 1)
