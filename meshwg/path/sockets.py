"""The auxiliary sockets of one peer: who may use them, and when they are closed.

A socket is kept while an attempt runs with it, and then only if a proven path leads
through it: the winner of a birthday carries the tunnel, and is closed with its path.
"""

from collections.abc import Iterable

from meshwg.path.puncher import Puncher
from meshwg.path.table import PathTable
from meshwg.transmit import UDP


class SocketKeeper:
    """Knows the links that were opened for one peer."""

    def __init__(self, table: PathTable, puncher: Puncher) -> None:
        self._table = table
        self._puncher = puncher
        self._links: dict[int, None] = {}

    def add(self, links: Iterable[int]) -> None:
        """Take note of sockets that were opened."""
        self._links.update(dict.fromkeys(links))

    def may_use(self, link: int, now: float) -> bool:
        """Tell whether a link is, or may become, the one to this peer."""
        if link in self._links:
            return self._puncher.elect(link, now)
        relay = self._table.relay
        return link == UDP or (relay is not None and link == relay.endpoint.link)

    def take_unused(self) -> tuple[int, ...]:
        """Return links to be closed, and forget them with the paths through them."""
        losers, self._puncher.losers = self._puncher.losers, []
        used = {path.endpoint.link for path in self._table if path.is_proven}
        used.update(self._puncher.links)
        unused = dict.fromkeys(
            link for link in (*self._links, *losers) if link not in used
        )
        for path in list(self._table):
            if path.endpoint.link in unused:
                self._table.remove(path)
        for link in unused:
            self._links.pop(link, None)
        return tuple(unused)
