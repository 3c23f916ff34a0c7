"""The clock behind every ``now``, and the wall clock seen from it."""

import time
from collections.abc import Callable
from functools import partial

now: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Return the seconds since boot, those asleep included.

A key that expires while the machine sleeps has to be expired when it wakes, so the
monotonic clock, which stands still meanwhile, would not do.
"""


def unix_time(moment: float) -> float:
    """Return the wall time, in seconds, of a moment on the clock of :func:`now`."""
    return time.time() + moment - now()
