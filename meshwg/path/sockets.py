"""The auxiliary sockets of one peer: who may use them, and when they are closed.

A socket is kept while an attempt runs with it, and then only if a proven path leads
through it: the winner of a birthday carries the tunnel, and is closed with its path.
Where the peer was answered by another one, it may have a proven path of its own to
that, and send data there before it hears of a better one. Such a socket is kept for as
long as the answer permits the peer to send.
"""

from collections.abc import Iterable

from meshwg.path.path import CONSENT_LIFETIME
from meshwg.path.puncher import Puncher
from meshwg.path.table import PathTable
from meshwg.transmit import UDP

LINGER = CONSENT_LIFETIME + 1.0
"""Seconds after an answer for which the peer may send to where it came from, and the
last of it may be under way."""


class SocketKeeper:
    """Knows the links that were opened for one peer."""

    def __init__(self, table: PathTable, puncher: Puncher) -> None:
        self._table = table
        self._puncher = puncher
        self._links: dict[int, None] = {}
        self._answered: dict[int, float] = {}
        """When the peer was answered last, for links where it was."""

    def add(self, links: Iterable[int]) -> None:
        """Take note of sockets that were opened."""
        self._links.update(dict.fromkeys(links))

    def may_use(self, link: int, now: float) -> bool:
        """Tell whether a link is, or may become, the one to this peer."""
        if link in self._links:
            return self._puncher.elect(link, now)
        relay = self._table.relay
        return link == UDP or (relay is not None and link == relay.endpoint.link)

    def answered(self, link: int, now: float) -> None:
        """Note that the peer was answered through a link, and may use it now."""
        if link in self._links:
            self._answered[link] = now

    def take_unused(self, now: float) -> tuple[int, ...]:
        """Return links to be closed, and forget them with the paths through them."""
        losers, self._puncher.losers = self._puncher.losers, []
        if not (losers or self._links):
            return ()
        used = self._used()
        unused = dict.fromkeys(
            link
            for link in (*self._links, *losers)
            if link not in used and not self._lingers(link, now)
        )
        for path in list(self._table):
            if path.endpoint.link in unused:
                self._table.remove(path)
        for link in unused:
            self._links.pop(link, None)
            self._answered.pop(link, None)
        return tuple(unused)

    def get_timer(self) -> float | None:
        """Return when a socket that the peer may still use is to be closed."""
        used = self._used() if self._answered else set()
        lingering = (at for link, at in self._answered.items() if link not in used)
        return min((at + LINGER for at in lingering), default=None)

    def _lingers(self, link: int, now: float) -> bool:
        answered_at = self._answered.get(link)
        return answered_at is not None and now < answered_at + LINGER

    def _used(self) -> set[int]:
        used = {path.endpoint.link for path in self._table if path.is_proven}
        return used.union(self._puncher.links)
