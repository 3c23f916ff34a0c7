"""Noticing what other processes write to the database.

PostgreSQL notifies: a connection of its own listens for versions and for offers.
Notifications are lost while that connection is away, so after each reconnection
everything is read again. A connection that only listens does not notice that its server
is gone, nor that nothing comes through any more. So it notifies itself every few
seconds, and is replaced when that is not answered. Where it is answered, and nothing
comes back, something between the two does not pass notifications on; changes are looked
for at intervals then.

SQLite does not notify, but a connection sees within microseconds whether another has
committed (``PRAGMA data_version``): that is how an administrator's command reaches a
running coordinator.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coordinator.dsn import SqliteFile
from coordinator.store.engine import Engine, StoreError
from coordinator.store.store import VERSION_CHANNEL, offer_channel

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.2
"""Seconds between two reads of SQLite's change counter."""
RECONNECT_INTERVAL = 1.0
"""Seconds between two attempts to reach PostgreSQL again."""
PULSE_INTERVAL = 3.0
"""Seconds between two notifications of a listener to itself."""
PULSE_TIMEOUT = 5.0
"""Seconds in which such a notification has to be taken, and then to arrive."""

NOTIFY = "SELECT pg_notify($1, $2)"
PULSE = ""
"""What a listener notifies itself of. Offers are never empty."""


@dataclass(frozen=True, slots=True)
class Ears:
    """Who is told of what others do.

    :ivar on_change: called when the database may have changed.
    :ivar on_offer: called with offers for this process.
    :ivar on_listening: called with whether changes are heard of.
    """

    on_change: Callable[[], None]
    on_offer: Callable[[bytes], None]
    on_listening: Callable[[bool], None] = lambda is_listening: None


async def watch(engine: Engine, home: str, ears: Ears) -> None:
    """Call back for what other processes do, until cancelled.

    :param home: the name of this process, to which offers are sent.
    """
    if isinstance(engine.address, SqliteFile):
        await _watch_sqlite(engine.address.path, ears)
    else:
        await _Listener(engine, home, ears).run()


async def _watch_sqlite(path: str, ears: Ears) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        known = None
        try:
            while True:
                version = connection.execute("PRAGMA data_version").fetchone()
                if version != known:
                    known = version
                    ears.on_listening(True)
                    ears.on_change()
                await asyncio.sleep(POLL_INTERVAL)
        finally:
            ears.on_listening(False)


class _Listener:
    """Listens to PostgreSQL, over one connection after the other."""

    def __init__(self, engine: Engine, home: str, ears: Ears) -> None:
        self._engine, self._ears = engine, ears
        self._channel = offer_channel(home)
        self._lost = asyncio.Event()
        self._pulse = asyncio.Event()
        self._is_deaf = False
        self._failure: str | None = None
        """What was logged last, and is not logged again until it is over."""

    async def run(self) -> None:
        """Listen until cancelled."""
        # With SQLite nothing of it is needed.
        from coordinator.store.postgres import ERRORS

        while True:
            try:
                await self._listen()
                self._complain("the connection was lost")
            except StoreError as error:
                self._complain(str(error))
            except TimeoutError:
                self._complain("the server does not answer")
            except ERRORS as error:
                # The text of a driver's error may hold the password of its URL.
                self._complain(type(error).__name__)
            self._ears.on_listening(False)
            await asyncio.sleep(RECONNECT_INTERVAL)

    def _complain(self, what: str) -> None:
        if what != self._failure:
            logger.warning("The database sends no notifications: %s", what)
        self._failure = what

    async def _listen(self) -> None:
        """Listen until the connection is lost.

        :raises StoreError: if there is none.
        """
        connection = await self._engine.connect()
        self._lost.clear()
        try:
            connection.add_termination_listener(lambda _: self._lost.set())
            async with asyncio.timeout(PULSE_TIMEOUT):
                await connection.add_listener(VERSION_CHANNEL, self._on_version)
                await connection.add_listener(self._channel, self._on_message)
            self._ears.on_change()
            while not self._lost.is_set():
                await self._feel_pulse(connection)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PULSE_INTERVAL):
                        await self._lost.wait()
        except Exception:
            # A driver whose connection is ended under it trips over anything.
            if not connection.is_closed():
                raise
        finally:
            connection.terminate()

    async def _feel_pulse(self, connection: Any) -> None:
        """See whether what is sent to this process arrives here.

        :raises TimeoutError: if the server does not answer.
        """
        self._pulse.clear()
        await connection.execute(NOTIFY, self._channel, PULSE, timeout=PULSE_TIMEOUT)
        try:
            async with asyncio.timeout(PULSE_TIMEOUT):
                await self._pulse.wait()
        except TimeoutError:
            self._on_deaf()
        else:
            self._on_pulse()

    def _on_pulse(self) -> None:
        if self._failure is not None:
            logger.info("The database sends notifications again")
        self._failure, self._is_deaf = None, False
        self._ears.on_listening(True)

    def _on_deaf(self) -> None:
        """The server answers, and nothing that it is to tell arrives."""
        if not self._is_deaf:
            logger.warning(
                "The database answers, but its notifications do not arrive: name the "
                "server itself in --database, and no pool of connections in front of "
                "it; until then changes are looked for every %.0f s",
                PULSE_INTERVAL + PULSE_TIMEOUT,
            )
        self._is_deaf = True
        self._ears.on_listening(True)
        self._ears.on_change()

    def _on_version(self, *_: object) -> None:
        self._ears.on_change()

    def _on_message(self, *message: Any) -> None:
        text: str = message[3]
        if text == PULSE:
            self._pulse.set()
        else:
            self._ears.on_offer(text.encode())
