"""Networks that a program on this machine has the node offer for a while.

The program says so again and again, as long as it is alive. So nothing is offered for
long that is not there any more, however the program ended, and it need not be told when
the node was restarted.
"""

from collections.abc import Callable

from meshwg.errors import ConfigError
from meshwg.routeoptions import RouteOptions
from meshwg.runtime import clock
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.offered_routes import OfferedRoutes

LONGEST = 3600.0
"""Seconds for which a network is held at most, if that is not said again."""


class HeldRoutes:
    """Has routes offered, and ends that in time. It needs a running loop.

    :param on_change: called when other networks are offered than before.
    """

    def __init__(self, routes: OfferedRoutes, on_change: Callable[[], None]) -> None:
        self._routes = routes
        self._on_change = on_change
        self._alarm = Alarm(self._expire)

    def hold(self, text: str, seconds: float) -> RouteOptions:
        """Offer a network for so long from now on.

        :raises ConfigError: if the text is none, there are too many, or it is not a
            time for which one is held.
        """
        if not 0 < seconds <= LONGEST:
            raise ConfigError(
                f"A network is held for up to {LONGEST:g} seconds, not {seconds:g}: "
                "say so again before they are over"
            )
        before, now = self._routes.current, clock.now()
        route = self._routes.hold(text, now + seconds)
        if self._routes.current != before:
            self._on_change()
        self._alarm.set(self._routes.next_expiry(), now)
        return route

    def release(self, text: str) -> RouteOptions | None:
        """Offer a network no longer; return which, ``None`` if it was not held.

        :raises ConfigError: if the text is none.
        """
        released = self._routes.release(text)
        if released is not None:
            self._on_change()
        return released

    def close(self) -> None:
        """Watch no more."""
        self._alarm.clear()

    def _expire(self) -> None:
        now = clock.now()
        if self._routes.expire(now):
            self._on_change()
        self._alarm.set(self._routes.next_expiry(), now)
