"""What the mesh is to know of where a node is reachable, and what it was told of it."""

from meshwg.wire.control import Report

REPORT_INTERVAL = 1.0
"""Seconds between two reports: a network that changes sends several events at once."""
FIRST_REPORT = 0.05
"""Seconds from registering until the first one. A node that starts knows its addresses
then, and the peers wait for the one at its relay."""


class Reports:
    """The latest report, and whether the coordinator has it."""

    def __init__(self, now: float) -> None:
        self.latest = Report()
        self._waits = False
        self._told_at = now - REPORT_INTERVAL
        self._registering = self.latest

    def change(self, report: Report) -> None:
        """Have another report told."""
        if report != self.latest:
            self.latest, self._waits = report, True

    def register(self, now: float) -> Report:
        """Return what to tell as a connection registers."""
        self._registering = self.latest
        self._told_at = now - REPORT_INTERVAL + FIRST_REPORT
        return self.latest

    def registered(self) -> None:
        """The coordinator knows what was told with registering, and nothing else."""
        self._waits = self.latest != self._registering

    def take(self, now: float) -> Report | None:
        """Return the latest report if it is to be told now; it counts as told."""
        if not self._waits or now < self._told_at + REPORT_INTERVAL:
            return None
        self._waits, self._told_at = False, now
        return self.latest

    def get_timer(self) -> float | None:
        return self._told_at + REPORT_INTERVAL if self._waits else None
