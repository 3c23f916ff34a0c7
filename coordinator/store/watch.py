"""Noticing what other processes write to the database.

PostgreSQL notifies: a connection of its own listens for versions and for offers.
Notifications are lost while that connection is away, so after each reconnection
everything is read again. SQLite does not notify, but a connection sees within
microseconds whether another has committed (``PRAGMA data_version``): that is how an
administrator's command reaches a running coordinator.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable

from sqlalchemy.engine import URL

from coordinator.store.store import VERSION_CHANNEL, offer_channel

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.2
"""Seconds between two reads of SQLite's change counter."""
RECONNECT_INTERVAL = 1.0
"""Seconds between two attempts to reach PostgreSQL again."""


async def watch(
    url: URL,
    home: str,
    *,
    on_change: Callable[[], None],
    on_offer: Callable[[bytes], None],
) -> None:
    """Call back for what other processes do, until cancelled.

    :param home: the name of this process, to which offers are sent.
    """
    if url.get_backend_name() == "sqlite":
        await _watch_sqlite(url.database or "", on_change)
    else:
        await _watch_postgres(url, home, on_change, on_offer)


async def _watch_sqlite(path: str, on_change: Callable[[], None]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        known = None
        while True:
            version = connection.execute("PRAGMA data_version").fetchone()
            if version != known:
                known = version
                on_change()
            await asyncio.sleep(POLL_INTERVAL)


async def _watch_postgres(
    url: URL,
    home: str,
    on_change: Callable[[], None],
    on_offer: Callable[[bytes], None],
) -> None:
    # With SQLite nothing of it is needed.
    import asyncpg

    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            await _listen(dsn, home, on_change, on_offer)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # The text of a driver's error may hold the password of its URL.
            logger.warning(
                "The database sends no notifications: %s", type(error).__name__
            )
        await asyncio.sleep(RECONNECT_INTERVAL)


async def _listen(
    dsn: str,
    home: str,
    on_change: Callable[[], None],
    on_offer: Callable[[bytes], None],
) -> None:
    """Listen until the connection is lost."""
    import asyncpg

    lost = asyncio.Event()
    connection = await asyncpg.connect(dsn)
    try:
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(VERSION_CHANNEL, lambda *_: on_change())
        await connection.add_listener(
            offer_channel(home), lambda _c, _p, _n, text: on_offer(text.encode())
        )
        on_change()
        await lost.wait()
    finally:
        await connection.close(timeout=1)
