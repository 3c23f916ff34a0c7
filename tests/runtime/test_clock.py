"""One clock for everything, which goes on while the machine sleeps."""

import time

from meshwg.runtime import clock


def test_it_counts_from_boot_and_only_forwards() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    moments = [clock.now() for _ in range(100)]
    after = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert before <= moments[0]
    assert moments == sorted(moments)
    assert moments[-1] <= after


def test_moments_become_wall_time() -> None:
    now = clock.now()

    early, late = time.time(), clock.unix_time(now)
    assert abs(late - early) < 60
    assert abs(clock.unix_time(now - 3600) - (late - 3600)) < 60
