"""The whole contents of a database as values, whatever kind of database it is.

An archive is taken in one transaction, so it is one moment of the mesh, while
coordinators run and write. It names the schema's revision: it is put back into a schema
of that revision, which is then brought to the newest one.

A mesh that was put back begins a new epoch: its versions go on from where the archive
was taken, and nodes have seen others under the same numbers since.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, MetaData, Table, insert, select, text, update

from coordinator.dsn import DatabaseAddress
from coordinator.mesh.homes import BEAT_TIMEOUT
from coordinator.store import schema
from coordinator.store.engine import (
    LONG_PATIENCE,
    create_engine,
    revision_of,
    transaction,
    upgrade,
    wait_for_others,
)
from meshwg.errors import MeshError
from meshwg.transmit import Random

Archive = dict[str, Any]
"""``revision``, and ``tables``: by name, ``columns`` and ``rows``."""

PASSING = ("alembic_version", schema.homes.name, schema.writers.name)
"""Tables whose rows are of no use elsewhere."""


class NoArchive(MeshError):
    """What should be put back was never taken out of a database."""


async def take(address: DatabaseAddress) -> Archive:
    """Return everything that a database holds.

    :raises StoreError: if the database cannot be used.
    """
    engine = create_engine(address)
    try:
        async with transaction(engine, LONG_PATIENCE) as connection:
            # Nobody writes, and all tables are read at one moment.
            await connection.execute(select(schema.mesh).with_for_update())
            return await connection.run_sync(_take)
    finally:
        await engine.dispose()


async def put_back(
    address: DatabaseAddress,
    archive: Archive,
    *,
    random: Random,
    before_commit: Callable[[], None],
) -> None:
    """Replace everything that a database holds.

    :param before_commit: what has to succeed, too; if it raises, nothing is replaced.
    :raises StoreError: if the database cannot be used, or the archive was taken by a
        newer version of this program.
    :raises NoArchive: if the archive is damaged.
    :raises MeshError: if coordinators run on the database.
    """
    engine = create_engine(address)
    try:
        async with transaction(engine, LONG_PATIENCE) as connection:
            await wait_for_others(connection)
            await connection.run_sync(_refuse_if_in_use)
            await connection.run_sync(_put_back, archive, random)
            before_commit()
    finally:
        await engine.dispose()


def _take(connection: Connection) -> Archive:
    tables = {}
    for table in _reflect(connection):
        rows = connection.execute(select(table).order_by(*table.primary_key))
        names = [column.name for column in table.columns]
        tables[table.name] = {"columns": names, "rows": [list(row) for row in rows]}
    return {"revision": revision_of(connection), "tables": tables}


def _put_back(connection: Connection, archive: Archive, random: Random) -> None:
    old = MetaData()
    old.reflect(connection)
    old.drop_all(connection)
    upgrade(connection, str(archive["revision"]))
    known = {table.name: table for table in _reflect(connection)}
    if archive["tables"].keys() != known.keys():
        raise NoArchive("its tables are not those of its version")
    for name, table in known.items():
        rows = _rows(table, archive["tables"][name])
        if rows:
            connection.execute(insert(table), rows)
    epoch = random(8).hex()
    changed = connection.execute(update(known["mesh"]).values(epoch=epoch))
    if changed.rowcount != 1:
        raise NoArchive("there is no mesh in it")
    upgrade(connection)


def _rows(table: Table, content: Any) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    try:
        columns, rows = content["columns"], content["rows"]
        if sorted(columns) != sorted(names):
            raise ValueError("not the table's columns")
        return [dict(zip(columns, row, strict=True)) for row in rows]
    except (KeyError, TypeError, ValueError):
        raise NoArchive(f"its table {table.name} is damaged") from None


def _reflect(connection: Connection) -> list[Table]:
    """Return the tables worth keeping, as they are in the database."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name not in PASSING]


def _refuse_if_in_use(connection: Connection) -> None:
    """Refuse while coordinators use a database that can have several."""
    has_table = connection.dialect.has_table(connection, schema.homes.name)
    if connection.dialect.name != "postgresql" or not has_table:
        return
    clock = "extract(epoch from clock_timestamp())"
    alive = text(f"SELECT count(*) FROM homes WHERE beat > {clock} - :age")
    if connection.scalar(alive, {"age": BEAT_TIMEOUT}):
        raise MeshError(
            "A coordinator uses the database; stop all that do, and try again after "
            f"{BEAT_TIMEOUT:.0f} s"
        )
