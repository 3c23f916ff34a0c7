"""Another program that undoes, again and again, what this one does.

What was undone is done again at once, since most who do that do it once: a network
manager that is restarted, a person. If it goes on, the pauses grow, so that two
programs do not spend their time and the machine's on each other.
"""

from collections import deque
from collections.abc import Iterable

from meshwg.health import Complaint, Severity

PATIENCE = 30
"""Times within :data:`WINDOW` after which pauses begin. There is at most one look in a
second, so this long costs little, and a person who tries things out is no contender."""
WINDOW = 60.0
"""Seconds."""
FIRST_PAUSE = 2.0
"""Seconds; each pause that did not help is followed by one twice as long."""
LONGEST_PAUSE = 60.0
REMEMBERED = 600.0
"""Seconds for which the user is told, and after which all is forgotten."""

CODE = "interface-changed-by-others"


class Contention:
    """How often something was undone, and when it may be done again.

    :param interface: its name, for the user.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._times: deque[float] = deque(maxlen=PATIENCE)
        self._count = 0
        self._what: tuple[str, ...] = ()
        self._pause = 0.0

    def restored(self, what: Iterable[str], now: float) -> None:
        """Take note that something was undone, and is now done again."""
        self._forget(now)
        self._what = tuple(dict.fromkeys(what))
        self._count += 1
        if self._goes_on(now):
            self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        else:
            self._pause = 0.0
        self._times.append(now)

    def resumes_at(self) -> float:
        """Return from when on something that is undone may be done again."""
        return self._times[-1] + self._pause if self._times else 0.0

    def complaint(self, now: float) -> Complaint | None:
        """Return what the user should know."""
        self._forget(now)
        if not self._times:
            return None
        once = "once" if self._count == 1 else f"{self._count} times"
        text = (
            f"Another program changed {self._interface} {once}; what was put back last:"
            f" {_listed(self._what)}."
        )
        if self._pause:
            text += f" It goes on, so that is done every {self._pause:.0f} s only."
        return Complaint(
            CODE,
            Severity.FAILURE if self._pause else Severity.WARNING,
            text,
            f"Have it leave {self._interface} alone; for systemd-networkd, set "
            "ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no in "
            "networkd.conf.",
        )

    def get_timer(self) -> float | None:
        """Return when :meth:`complaint` has nothing more to say."""
        return self._times[-1] + REMEMBERED if self._times else None

    def _goes_on(self, now: float) -> bool:
        """Tell whether it was undone as often as before, pauses aside."""
        if self._pause:
            return now - self._times[-1] < self._pause + WINDOW / PATIENCE
        return len(self._times) == PATIENCE and now - self._times[0] < WINDOW

    def _forget(self, now: float) -> None:
        if self._times and now >= self._times[-1] + REMEMBERED:
            self._times.clear()
            self._count, self._pause = 0, 0.0


def _listed(what: tuple[str, ...]) -> str:
    """Return a few things as a list in a sentence."""
    shown = list(what[:3])
    if len(what) > len(shown):
        shown.append(f"{len(what) - len(shown)} more")
    return ", ".join(shown)
