"""Where the coordinators of the mesh are, and which of them is asked next.

All of them know the same, so one is as good as the other: a node stays with the one
that answers. When that is lost, another one is tried, chosen at random, so that those
that were with it spread over all that are left; and only after all have failed there is
a pause that grows. A coordinator that is about to stop says so in advance, and nodes
connect to another one before they leave it.
"""

from collections.abc import Sequence

from meshwg.errors import ConfigError
from meshwg.transmit import Random
from meshwg.wire.control import MAX_COORDINATORS
from meshwg.wire.token import check_url

MOST_OPEN = 4
"""Connections of which it is remembered where they lead; there are two at most."""


class CoordinatorUrls:
    """The URLs of one mesh's coordinators.

    :param urls: those known from before, the one to begin with in front. There may be
        none: whoever opens connections knows the only one then.
    """

    def __init__(self, urls: Sequence[str], random: Random) -> None:
        self._urls = list(dict.fromkeys(urls))[:MAX_COORDINATORS]
        self._random = random
        self._current = self._urls[0] if self._urls else ""
        self._told = self.all
        self._failed: dict[str, None] = {}
        """Those that have failed since one of them worked last."""
        self._chosen: dict[int, str] = {}
        """Which of them connections lead to, by number."""
        self.move_at: float | None = None
        """When to connect to another one, because this one is about to stop."""

    @property
    def current(self) -> str:
        """The URL of the one that is asked, or was last; empty if none is known."""
        return self._current

    @property
    def all(self) -> tuple[str, ...]:
        """All that are known, the one that worked last in front."""
        known = dict.fromkeys([self._current, *self._urls])
        return tuple(each for each in known if each)

    @property
    def has_untried(self) -> bool:
        """Whether another one may work where the last has failed."""
        return any(each not in self._failed for each in self._urls)

    def of(self, number: int) -> str:
        """Return where a connection leads to, chosen when it is first asked for; empty
        if only whoever opens it knows."""
        if number not in self._chosen:
            self._choose()
            recent = list(self._chosen.items())[-MOST_OPEN + 1 :]
            self._chosen = {**dict(recent), number: self._current}
        return self._chosen[number]

    def learn(self, urls: Sequence[str], number: int) -> bool:
        """Take what a coordinator says of all; return whether :attr:`all` is another
        than before.

        :param urls: of the others. Without any, those known from before may be away.
        :param number: of the connection that it says so on, which has just worked.
        """
        self._failed.clear()
        self.move_at = None
        self._current = self._chosen.get(number, self._current)
        usable = [each for each in urls if _is_usable(each)]
        if usable:
            # By the way that led there it may be reached when the named ones are not.
            own = [self._current] if self._current else []
            self._urls = list(dict.fromkeys([*own, *usable]))[:MAX_COORDINATORS]
        before, self._told = self._told, self.all
        return self._told != before

    def failed(self, number: int) -> None:
        """A connection has failed, or is lost."""
        url = self._chosen.get(number, self._current)
        if url:
            self._failed[url] = None

    def leave(self, within: float, urls: Sequence[str], now: float) -> bool:
        """The present coordinator is about to stop; return whether there is another.

        :param within: seconds in which to leave it.
        :param urls: those that go on, as it says.
        """
        usable = [each for each in urls if _is_usable(each) and each != self._current]
        self._urls = list(dict.fromkeys([*usable, *self._urls]))[:MAX_COORDINATORS]
        self._failed = {each: None for each in self._urls if each not in usable}
        if not usable:
            return False
        self.move_at = now + within * self._share()
        return True

    def _choose(self) -> None:
        """Go on to another one if the present one has failed."""
        left = [each for each in self._urls if each not in self._failed]
        if not left:
            # All have failed: they are tried once more, from the one that worked.
            self._failed.clear()
        elif self._current not in left:
            self._current = left[int(self._share() * len(left))]

    def _share(self) -> float:
        return int.from_bytes(self._random(4)) / (1 << 32)


def _is_usable(url: str) -> bool:
    try:
        check_url(url)
    except ConfigError:
        return False
    return True
