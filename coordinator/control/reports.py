"""What nodes report, which all others are told: of each only so much.

A report costs its sender one message, and the coordinator one for each member. So those
of a node that come too fast are held, and only the last one is stored when its time has
come.
"""

from coordinator.control.connection import REPORT_BURST, REPORT_RATE
from coordinator.mesh.operations import Update
from meshwg.limits import RateLimiter

MAX_NODES = 20_000
"""Nodes whose rate is remembered, and whose reports are held."""


class Reports:
    """Reports on their way to the database."""

    def __init__(self) -> None:
        self._rate = RateLimiter(REPORT_RATE, REPORT_BURST, max_keys=MAX_NODES)
        self._due: list[Update] = []
        self._held: dict[str, tuple[float, Update]] = {}
        """By key, with when it is to be stored; in the order of these times."""

    def add(self, update: Update, now: float) -> None:
        """Take a report in the place of one that is held, whose news it need not say
        again."""
        held = self._held.get(update.key)
        if held is not None:
            self._held[update.key] = held[0], update.after(held[1])
        elif self._rate.take(update.key, now):
            self._due.append(update)
        elif len(self._held) < MAX_NODES:
            self._held[update.key] = now + 1 / REPORT_RATE, update

    def forget(self, key: str) -> None:
        """Drop what is held of a node that says all of it anew."""
        self._held.pop(key, None)

    def due(self, now: float) -> list[Update]:
        """Return, once, the reports that are to be stored now."""
        due, self._due = self._due, []
        for key, (at, update) in list(self._held.items()):
            if at > now:
                break
            del self._held[key]
            self._rate.take(key, now)
            due.append(update)
        return due

    def get_timer(self) -> float | None:
        """Return when a report is due."""
        return next((at for at, _ in self._held.values()), None)
