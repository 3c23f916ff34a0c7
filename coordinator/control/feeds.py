"""The members that are being sent a long netmap or delta, a few slices at a time.

What is made for one newcomer holds up neither offers nor heartbeats of the others:
newcomers take turns, and one that does not read as fast as it is told waits.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from coordinator.control.connection import Connection

AT_ONCE = 16
"""Slices sent in one go to all together: each takes 0.1 to 0.5 ms, if it is made."""


class _Feed(NamedTuple):
    payloads: Sequence[bytes]
    position: int
    version: int


class Feeds:
    """What is still to be sent to whom."""

    def __init__(self) -> None:
        self._feeds: dict[Connection, _Feed] = {}

    def __contains__(self, connection: object) -> bool:
        return connection in self._feeds

    def begin(
        self, connection: Connection, payloads: Sequence[bytes], version: int
    ) -> None:
        """Send payloads from now on, in place of others that were not sent yet.

        :param version: to which they lead.
        """
        self.stop(connection)
        self._feeds[connection] = _Feed(payloads, 0, version)

    def stop(self, connection: Connection) -> None:
        """Send nothing more."""
        self._feeds.pop(connection, None)

    def take(self) -> Iterator[tuple[Connection, bytes, int | None]]:
        """Yield what to send to whom now.

        With the last payload comes the version that the member then has been sent.
        """
        for _ in range(AT_ONCE):
            connection = self._next()
            if connection is None:
                return
            payloads, position, version = self._feeds.pop(connection)
            is_last = position + 1 == len(payloads)
            if not is_last:
                # At the end: everybody has a turn before this one has the next.
                self._feeds[connection] = _Feed(payloads, position + 1, version)
            yield connection, payloads[position], version if is_last else None

    def get_timer(self) -> float | None:
        """Return when to send more: at once, if anybody can take it."""
        return None if self._next() is None else 0.0

    def _next(self) -> Connection | None:
        return next((each for each in self._feeds if each.writable), None)
