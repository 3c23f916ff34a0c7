"""The streams between this node and one peer: which of them are kept.

Of several streams one is enough, and both sides have to keep the same one. So it is the
controlling side that closes the others, once one of them is proven; the other side
closes only what is not proven in time. A stream goes with its path.
"""

from meshwg.path.candidate import CandidateKind
from meshwg.path.table import PathTable

PROOF_TIMEOUT = 5.0
"""Seconds for a new stream to show that the peer is at its other end."""

STREAM_LIMIT = 4
"""Streams with one peer that are waiting to be proven."""

MOST = 8
"""Streams with one peer in all; a new one takes the place of the oldest that is not in
use. A peer that chooses need not close any."""


class StreamKeeper:
    """Knows the open streams of one peer, by link.

    :param controlling: whether this side chooses the one that survives.
    """

    def __init__(self, table: PathTable, *, controlling: bool) -> None:
        self._table = table
        self._controlling = controlling
        self._opened: dict[int, float] = {}

    def __contains__(self, link: int) -> bool:
        return link in self._opened

    def add(self, link: int, now: float) -> bool:
        """Take note of a stream that was opened; return whether there is room."""
        waiting = len(self._opened) - len(self._proven())
        if waiting >= STREAM_LIMIT:
            return False
        self._opened[link] = now
        return True

    def remove(self, link: int) -> None:
        """Forget a stream that is closed, with its paths."""
        self._opened.pop(link, None)
        for path in list(self._table):
            if path.endpoint.link == link:
                self._table.remove(path)

    def take_unused(self, now: float) -> tuple[int, ...]:
        """Return the streams to be closed, and forget them with their paths."""
        proven = self._proven()
        kept = self._kept(proven, now)
        excess = self._excess()
        unused = tuple(
            link
            for link, opened_at in self._opened.items()
            if (link not in proven and now >= opened_at + PROOF_TIMEOUT)
            or (kept is not None and link != kept)
            or link in excess
        )
        for link in unused:
            self.remove(link)
        return unused

    def get_timer(self) -> float | None:
        """Return when a stream has to be proven."""
        proven = self._proven()
        waiting = (at for link, at in self._opened.items() if link not in proven)
        return min((at + PROOF_TIMEOUT for at in waiting), default=None)

    def _kept(self, proven: list[int], now: float) -> int | None:
        """Return the stream that survives, if that is this side's to say.

        One that may be dead is no reason to close another.
        """
        if not self._controlling:
            return None
        links = [
            path.endpoint.link
            for path in self._table
            if path.is_trusted(now) and not path.is_doubted(now)
        ]
        working = [link for link in proven if link in links]
        selected = self._table.selected
        if selected is not None and selected.endpoint.link in working:
            return selected.endpoint.link
        return working[0] if working else None

    def _excess(self) -> list[int]:
        """Return the oldest streams if there are too many."""
        selected = self._table.selected
        in_use = None if selected is None else selected.endpoint.link
        others = [link for link in self._opened if link != in_use]
        return others[: max(0, len(self._opened) - MOST)]

    def _proven(self) -> list[int]:
        """Return the streams that work as far as is known, the oldest first."""
        links = {
            path.endpoint.link
            for path in self._table
            if path.kind is CandidateKind.TCP and path.is_proven
        }
        return [link for link in self._opened if link in links]
