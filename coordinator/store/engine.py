"""Opening a database: its settings, its schema, and how long it may take to answer.

SQLite runs in WAL mode with ``synchronous = FULL``, so what was committed survives a
power cut, not only a crash. Transactions begin with the write lock: a reader that
became a writer half-way could only fail.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from coordinator.dsn import DatabaseAddress, PostgresServer, SqliteFile
from coordinator.store.faults import StoreError as StoreError
from coordinator.store.faults import explain
from coordinator.store.schema import OLDEST_READER
from meshwg.errors import MeshError

if TYPE_CHECKING:
    from coordinator.store.postgres import Connector

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process that holds SQLite's write lock."""
WAL_RETRY = 0.02
"""Seconds until SQLite is asked for its write-ahead log again."""

START_LOCK = 0x6D657368
"""PostgreSQL's advisory lock, so that only one process starts at a time."""

PATIENCE = 15.0
"""Seconds for a whole transaction on PostgreSQL, with the wait for those of others."""
CLOSE_TIMEOUT = 2.0
"""Seconds in which connections are taken leave of."""
LONG_PATIENCE = 1800.0
"""Seconds for one that goes through everything: a migration, a backup."""

logger = logging.getLogger(__name__)


class Engine:
    """A database, its connections, and how long it may take to answer.

    SQLite's transactions are bounded by its own time-out; one that was interrupted
    would keep its lock.
    """

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self.answered_at = float("-inf")
        """When a server answered a transaction last, by the loop's clock."""
        self._connector: Connector | None = None
        if isinstance(address, SqliteFile):
            self._pool = _open_sqlite(address)
        else:
            self._connector = _connector(address)
            self._pool = create_async_engine(
                URL.create("postgresql+asyncpg"),
                async_creator=self._connector.connect,
                execution_options={"place": str(address)},
                pool_pre_ping=True,
                pool_size=4,
                pool_timeout=PATIENCE,
            )

    @property
    def is_shared(self) -> bool:
        """Whether several coordinators may use the database at once."""
        return self._connector is not None

    async def connect(self) -> Any:
        """Return a connection of PostgreSQL's driver, beside those of transactions.

        :raises StoreError: if there is none.
        """
        assert self._connector is not None, "a file has no connections"
        return await self._connector.connect()

    @contextlib.asynccontextmanager
    async def transaction(self, patience: float) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is committed at the end.

        :param patience: seconds for all of it, where that can be interrupted.
        :raises StoreError: if the database does not do it.
        """
        with plain_errors(self.address):
            if self._connector is None:
                async with self._pool.begin() as connection:
                    yield connection
            else:
                async with self._limited(patience) as connection:
                    yield connection

    @contextlib.asynccontextmanager
    async def _limited(self, patience: float) -> AsyncIterator[AsyncConnection]:
        """Open a transaction on PostgreSQL, and wait only so long.

        :raises TimeoutError: if it takes longer.
        """
        deadline = _Deadline(patience, self)
        try:
            async with self._pool.begin() as connection:
                raw = await connection.get_raw_connection()
                deadline.driver = raw.driver_connection
                self.answered_at = deadline.now()
                yield connection
            self.answered_at = deadline.now()
        except Exception as error:
            if deadline.has_come:
                raise TimeoutError from error
            if deadline.is_lost and not isinstance(error, SQLAlchemyError | MeshError):
                # A driver whose connection is ended under it trips over anything.
                raise ConnectionResetError("the connection was lost") from error
            raise
        finally:
            deadline.cancel()

    def abort(self) -> None:
        """End all connections to a database that does not answer."""
        if self._connector is not None:
            self._connector.abort()

    async def dispose(self) -> None:
        """Close all connections, also those to a database that does not answer."""
        closing = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)
        try:
            await self._pool.dispose()
        finally:
            closing.cancel()


class _Deadline:
    """Ends the connection of a transaction that takes too long, or all connections if
    the database has answered nobody since it began.

    They are ended, since a driver that is only cancelled waits for the server; all of
    them, since whoever came next would wait for the next one; and only then, since a
    database that is just slow would be slower without them.
    """

    def __init__(self, seconds: float, engine: Engine) -> None:
        self.has_come = False
        self.driver: Any = None
        """The connection, once there is one."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._began_at = self.now()
        self._handle = self._loop.call_later(seconds, self._come)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self.driver is not None and bool(self.driver.is_closed())

    def now(self) -> float:
        return self._loop.time()

    def cancel(self) -> None:
        self._handle.cancel()

    def _come(self) -> None:
        self.has_come = True
        if self._engine.answered_at < self._began_at:
            self._engine.abort()
        elif self.driver is not None:
            self.driver.terminate()


def create_engine(address: DatabaseAddress) -> Engine:
    """Return an engine; of PostgreSQL nothing is opened before it is used.

    :raises StoreError: if a file cannot be opened.
    """
    return Engine(address)


async def holds_mesh(address: DatabaseAddress) -> bool:
    """Tell whether there is a mesh in a database, which is not changed.

    :raises StoreError: if the database cannot be used.
    """
    if _is_missing_file(address):
        return False
    engine = create_engine(address)
    try:
        async with transaction(engine) as connection:
            if not await connection.run_sync(lambda it: inspect(it).has_table("mesh")):
                return False
            return bool(await connection.scalar(text("SELECT count(*) FROM mesh")))
    finally:
        await engine.dispose()


async def migrate(engine: Engine) -> None:
    """Bring the schema to this program's version, or see that a newer one will do.

    :raises StoreError: if the database cannot be used, or its schema is newer and no
        longer for this program.
    """
    async with transaction(engine, LONG_PATIENCE) as connection:
        await wait_for_others(connection)
        found = await connection.run_sync(revision_of)
        if found == newest_revision():
            return
        if found is not None and found > newest_revision():
            await _check_newer(connection, found)
            return
        await connection.run_sync(upgrade)
        oldest = {"oldest": OLDEST_READER}
        await connection.execute(text("UPDATE mesh SET oldest = :oldest"), oldest)


async def _check_newer(connection: AsyncConnection, found: str) -> None:
    """See whether this program may use a schema that is newer than it.

    :raises StoreError: if it may not.
    """
    oldest = await connection.scalar(text("SELECT oldest FROM mesh"))
    if oldest is None or str(oldest) > newest_revision():
        raise _is_newer(connection.sync_connection)
    logger.info(
        "The database is of a newer version (%s), which this one (%s) may use, too",
        found,
        newest_revision(),
    )


async def wait_for_others(connection: AsyncConnection) -> None:
    """Keep other processes from starting until the end of the transaction.

    There may be no rows yet that could be locked. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:lock)")
        await connection.execute(lock, {"lock": START_LOCK})


def transaction(
    engine: Engine, patience: float | None = None
) -> contextlib.AbstractAsyncContextManager[AsyncConnection]:
    """Open a transaction that is committed at the end.

    :param patience: seconds for all of it, if not :data:`PATIENCE`.
    :raises StoreError: if the database does not do it.
    """
    return engine.transaction(PATIENCE if patience is None else patience)


@contextlib.contextmanager
def plain_errors(address: DatabaseAddress) -> Iterator[None]:
    """Turn what the database's driver raises into one sentence.

    :raises StoreError: instead of the driver's exceptions.
    """
    try:
        yield
    except (SQLAlchemyError, OSError, sqlite3.Error) as error:
        is_drivers = isinstance(error, DBAPIError)
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        raise explain(
            cause,
            str(address),
            sqlstate=getattr(cause, "sqlstate", None),
            is_answer=is_drivers and not is_lost,
        ) from error


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to a revision.

    :raises StoreError: if this program does not know the one it has.
    """
    # Alembic is needed seldom, and takes a tenth of a second to import.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        command.upgrade(config, revision)
    except CommandError:
        raise _is_newer(connection) from None


def newest_revision() -> str:
    """Return the revision of the newest migration."""
    return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a schema, ``None`` if there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version"))
    revision = found.scalar()
    return None if revision is None else str(revision)


def _is_missing_file(address: DatabaseAddress) -> bool:
    return isinstance(address, SqliteFile) and not Path(address.path).exists()


def _is_newer(connection: Connection | None) -> StoreError:
    options = {} if connection is None else connection.get_execution_options()
    place = options.get("place", "")
    return StoreError(
        f"The database {place} was made by a newer version; update meshwg"
    )


def _connector(address: PostgresServer) -> "Connector":
    # With SQLite nothing of the driver is needed.
    from coordinator.store.postgres import Connector

    return Connector(address)


def _open_sqlite(address: SqliteFile) -> AsyncEngine:
    _create_private_file(Path(address.path))
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=address.path),
        connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None},
        execution_options={"place": str(address)},
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _create_private_file(path: Path) -> None:
    """Make an empty database that only its owner may read, if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened: {error.strerror}; check the data "
            "directory, its owner and its free space"
        ) from None


def _configure_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Have SQLite use a write-ahead log, which the file then remembers.

    SQLite does not apply the busy timeout to this when another process does it, too.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(WAL_RETRY)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
