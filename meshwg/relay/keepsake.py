"""What another process of this node would need to give its allocations back.

A server may delete an allocation only for the user name that made it, and user names
change with every registration at the coordinator.
"""

from collections.abc import Iterable

from meshwg.relay.transactions import TurnCredentials

MOST = 8
"""Relays of which the credentials in use are remembered."""


class Keepsake:
    """The credentials of allocations over UDP, by the URL of the relay."""

    def __init__(self) -> None:
        self._former: dict[str, TurnCredentials] = {}
        self._used: dict[str, TurnCredentials] = {}

    def remember(self, credentials: Iterable[tuple[str, TurnCredentials]]) -> None:
        """Take note of what the last process used."""
        self._former = dict(credentials)

    def former(self, url: str) -> TurnCredentials | None:
        """Return what the last process used at a relay."""
        return self._former.get(url)

    def note(self, url: str, credentials: TurnCredentials) -> bool:
        """Take note of what an allocation was made with; tell whether that is news."""
        if self._used.get(url) == credentials:
            return False
        self._used.pop(url, None)
        self._used[url] = credentials
        while len(self._used) > MOST:
            del self._used[next(iter(self._used))]
        return True

    @property
    def used(self) -> tuple[tuple[str, TurnCredentials], ...]:
        """What this process uses, the latest last."""
        return tuple(self._used.items())
