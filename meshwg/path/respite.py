"""When the next stream may be opened, where streams do not last.

A box on the way may let a connection be opened, look into it, and then hold up or break
what it does not like; and so may the peer. A stream that breaks is replaced at once.
But if the next one does not last either, the pair is left to the relay for a while,
which grows: data that takes turns between a stream that dies and the relay is worse off
than on the relay.
"""

LASTING = 60.0
"""Seconds for which a stream must have worked to be more than a beginning."""

RESPITES = (0.0, 60.0, 120.0, 240.0, 600.0)
"""Seconds to wait after the first, second, ... stream in a row that did not last."""


class Respite:
    """Counts the streams of one peer that did not last.

    :ivar until: before when no stream is to be opened.
    """

    def __init__(self) -> None:
        self.until = float("-inf")
        self._short = 0
        self._link: int | None = None
        self._since = 0.0

    @property
    def is_needed(self) -> bool:
        """Whether more than one stream in a row did not last."""
        return self._short > 1

    def worked(self, link: int, now: float) -> None:
        """Take note that a stream carries something."""
        if link != self._link:
            self._link, self._since = link, now

    def lost(self, link: int, now: float) -> None:
        """Take note that a stream carries nothing any more; of each, once."""
        if link != self._link:
            return
        self._link = None
        self._short = 0 if now >= self._since + LASTING else self._short + 1
        if self._short:
            self.until = now + RESPITES[min(self._short, len(RESPITES)) - 1]

    def end(self) -> None:
        """Forget it all: the network or the peer is another one."""
        self._short, self._link = 0, None
        self.until = float("-inf")
