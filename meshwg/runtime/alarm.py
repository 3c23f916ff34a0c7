"""The timer of a machine: it goes off at the earliest time that the machine asked for.

A machine that is woken too early does nothing and says again when it wants to be woken.
So a later time, or none, changes nothing, and most turns leave the timer alone.
"""

import asyncio
from collections.abc import Callable

NEVER = float("inf")


class Alarm:
    """One timer of the running loop.

    :param on_alarm: called when it goes off, after which it is not set.
    """

    def __init__(self, on_alarm: Callable[[], None]) -> None:
        self._on_alarm = on_alarm
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = NEVER

    def set(self, due: float | None, now: float) -> None:
        """Go off at ``due``, or earlier if it is set to an earlier time already.

        :param due: on the clock of ``now``, whichever it is; ``None`` asks for nothing.
        """
        if due is not None and due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_later(max(due - now, 0.0), self._go_off)

    def clear(self) -> None:
        """Do not go off."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due = NEVER

    def _go_off(self) -> None:
        self._timer = None
        self._due = NEVER
        self._on_alarm()
