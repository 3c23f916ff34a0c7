"""The system's ping as a clock: when answers came, and how long there were none."""

import re
import signal
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.targets import NEVER
from netlab.errors import LabError
from netlab.mesh import MeshNode

INTERVAL = 0.05
"""Seconds between two requests: how exact an outage is known."""

STEADY = 3.0
"""Seconds of pings before a disturbance, and of a direct path that show it is over."""
OBSERVED = 20.0
"""Seconds for which a disturbed pair is watched."""
POLL = 0.1
NOTICEABLE = 0.25
"""Seconds without an answer from which on traffic was interrupted."""
GRACE = 1.0
"""Seconds since the last answer after which an outage still lasts."""

_ANSWER = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from", re.MULTILINE)
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")


class Pinging:
    """Pings from one node to another until :meth:`stop`."""

    def __init__(self, one: MeshNode, other: MeshNode) -> None:
        command = ["ping", "-n", "-D", "-i", str(INTERVAL), other.address()]
        self._process = one.host.popen(command, log=f"ping-{other.name}.log")
        self._process.wait_for_line("bytes from")

    def stop(self) -> None:
        """Send no more."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=5)

    def outage(self, since: float) -> "Outage":
        """Return the longest time without an answer after ``since``, a wall time."""
        answers = [float(found) for found in _ANSWER.findall(self._process.output())]
        return longest_outage(answers, since, time.time())

    def answered_after(self, since: float) -> float | None:
        """Return the wall time of the first answer after ``since``, a wall time."""
        times = (float(found) for found in _ANSWER.findall(self._process.output()))
        return next((when for when in times if when > since), None)


class Outage(NamedTuple):
    """A time without answers, in seconds."""

    length: float
    ended: float
    """Counted from the disturbance."""


ENDLESS = Outage(NEVER, NEVER)


def longest_outage(answers: Sequence[float], since: float, now: float) -> Outage:
    """Return the longest gap between answers after ``since``; all are wall times."""
    times = [since, *(when for when in answers if when > since)]
    if now - times[-1] > GRACE:
        return ENDLESS
    gaps = (
        Outage(later - earlier, later - since) for earlier, later in pairwise(times)
    )
    return max(gaps, default=Outage(0.0, 0.0))


def lost_of(one: MeshNode, other: MeshNode, count: int, interval: float) -> int:
    """Return how many of so many pings are lost; the first finds no path yet."""
    options = ["-n", "-q", "-c", str(count), "-i", str(interval), "-W", "5"]
    limit = count * interval * 2 + 20
    command = ["ping", *options, other.address()]
    done = one.host.run(command, check=False, timeout=limit)
    found = _SUMMARY.search(done.stdout)
    if found is None:
        raise LabError(f"ping says {done.stdout or done.stderr!r}.")
    return int(found.group(1)) - int(found.group(2))


def is_direct(one: MeshNode, other: MeshNode) -> bool:
    """Tell whether a node's data to another goes directly, and only so."""
    peer = one.peer(other)
    return peer["path"]["kind"] == "direct" and "does not answer" not in peer["reason"]


def recovery(
    one: MeshNode,
    other: MeshNode,
    disturb: Callable[[], object],
    observed: float = OBSERVED,
) -> tuple[float, float]:
    """Return after how many seconds traffic flows again, and goes directly again.

    Before that, nothing has been noticed yet: as long as no traffic flows, a path
    that calls itself direct does not count.
    """
    pinging = Pinging(one, other)
    time.sleep(STEADY)
    since = time.time()
    disturb()
    doubted = elapsed = 0.0
    while elapsed < observed:
        if not (is_direct(one, other) and is_direct(other, one)):
            doubted = time.time() - since
        time.sleep(POLL)
        elapsed = time.time() - since
    outage = pinging.outage(since)
    pinging.stop()
    # Where nothing was interrupted, the longest gap is chance, and may be anywhere.
    ended = outage.ended if outage.length > NOTICEABLE else 0.0
    is_back = elapsed - doubted > STEADY
    return ended, max(ended, doubted) if is_back else NEVER
