"""Opening a database: its URL, its settings, its schema, and its errors as sentences.

SQLite runs in WAL mode with ``synchronous = FULL``, so what was committed survives a
power cut, not only a crash. Transactions begin with the write lock: a reader that
became a writer half-way could only fail.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from meshwg.errors import ConfigError, CoordinatorError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process that holds SQLite's write lock."""
WAL_RETRY = 0.02
"""Seconds until SQLite is asked for its write-ahead log again."""

START_LOCK = 0x6D657368
"""PostgreSQL's advisory lock, so that only one process starts at a time."""

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}


class StoreError(CoordinatorError):
    """The database cannot be used.

    :param damaged: its contents are wrong; waiting will not help.
    :param refused: it works, and did not take what it was given.
    """

    def __init__(
        self, message: str, *, damaged: bool = False, refused: bool = False
    ) -> None:
        super().__init__(message)
        self.damaged = damaged
        self.refused = refused


def parse_url(url: str) -> URL:
    """Return a database URL with the driver that this program uses.

    :raises ConfigError: if it names no database that this program can use.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(_url_help()) from None
    driver = _DRIVERS.get(parsed.drivername.partition("+")[0])
    if driver is None or (driver.startswith("sqlite") and not parsed.database):
        raise ConfigError(_url_help())
    return parsed.set(drivername=driver)


def create_engine(url: URL) -> AsyncEngine:
    """Return an engine; nothing is opened before it is used."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, pool_size=4)
    _create_private_file(Path(url.database or ""))
    engine = create_async_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None}
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


async def holds_mesh(url: URL) -> bool:
    """Tell whether there is a mesh in a database, which is not changed.

    :raises StoreError: if the database cannot be used.
    """
    if _is_missing_file(url):
        return False
    engine = create_engine(url)
    try:
        async with transaction(engine) as connection:
            if not await connection.run_sync(lambda it: inspect(it).has_table("mesh")):
                return False
            return bool(await connection.scalar(text("SELECT count(*) FROM mesh")))
    finally:
        await engine.dispose()


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema to the newest version.

    :raises StoreError: if the database cannot be used, or is newer than this program.
    """
    async with transaction(engine) as connection:
        await wait_for_others(connection)
        if await connection.run_sync(revision_of) != newest_revision():
            await connection.run_sync(upgrade)


async def wait_for_others(connection: AsyncConnection) -> None:
    """Keep other processes from starting until the end of the transaction.

    There may be no rows yet that could be locked. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:lock)")
        await connection.execute(lock, {"lock": START_LOCK})


@contextlib.asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that is committed at the end.

    :raises StoreError: if the database does not do it.
    """
    with plain_errors(engine.url):
        async with engine.begin() as connection:
            yield connection


@contextlib.contextmanager
def plain_errors(url: URL) -> Iterator[None]:
    """Turn what the database's driver raises into one sentence.

    :raises StoreError: instead of the driver's exceptions.
    """
    try:
        yield
    except (SQLAlchemyError, OSError, sqlite3.Error) as error:
        raise _explain(error, url) from error


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
        raise StoreError(
            f"The database {show(connection.engine.url)} was made by a newer version; "
            "update meshwg"
        ) from None


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


def _is_missing_file(url: URL) -> bool:
    is_file = url.get_backend_name() == "sqlite"
    return is_file and not Path(url.database or "").exists()


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


def _explain(error: Exception, url: URL) -> StoreError:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    reason = str(cause).strip().splitlines()[0] if str(cause).strip() else repr(cause)
    place = show(url)
    if "malformed" in reason or "not a database" in reason:
        return StoreError(
            f"The database {place} is damaged; restore it from a backup, or move it "
            "away to begin a new mesh",
            damaged=True,
        )
    if "disk is full" in reason or "No space left" in reason:
        return StoreError(f"The disk that holds {place} is full; free some space")
    if "locked" in reason:
        return StoreError(f"The database {place} is locked by another program")
    if "readonly" in reason or "unable to open" in reason:
        return StoreError(f"The database {place} cannot be written: {reason}")
    if isinstance(error, DBAPIError) and not error.connection_invalidated:
        return StoreError(
            f"The database {place} refused a request: {reason}", refused=True
        )
    return StoreError(f"The database {place} cannot be reached: {reason}")


def show(url: URL) -> str:
    """Return a URL, or SQLite's file, without a password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def _url_help() -> str:
    return (
        "A database URL looks like sqlite:////path/to/file or "
        "postgresql://USER:PASSWORD@HOST/NAME"
    )
