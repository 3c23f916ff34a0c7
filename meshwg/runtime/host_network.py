"""Notices that the host's network is another one, or that the machine was asleep."""

import asyncio
import logging
from collections.abc import Callable
from time import thread_time

from meshwg.runtime import clock, netlink
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.changes import ChangeWatcher
from meshwg.runtime.rtnetlink import Snapshot, links, take_snapshot
from meshwg.runtime.surroundings import Network, is_usable, network_in
from meshwg.runtime.tasks import TaskSet

SETTLE = 0.25
"""Seconds for changes to be made that belong to the first one."""
INTERVAL = 1.0
"""Seconds between two looks while there is no end of changes."""
REST = 50.0
"""Times the CPU time that a look took are left to others before the next one, which may
find many thousands of routes on a router. The look at the own interface that follows
takes about as long again."""
REPORT_INTERVAL = 4.0
"""Seconds between two reports while the network changes and changes back without end:
each has STUN servers asked, and peers and the coordinator told."""
REPORT_BURST = 15
"""Reports that come at once after a time of quiet: who roams twice in a row has a few
changes each time, until all addresses and routes are there."""
SLEEP_CHECK = 5.0
"""Seconds between two looks whether the machine was asleep."""
SLEPT = 2.0
"""Seconds that the clocks must have drifted apart for that."""

_GROUPS = netlink.RTMGRP_ROUTING
_ETHERNET_MTU = 1500
_MIN_MTU = 1280
_OVERHEAD = 100

logger = logging.getLogger(__name__)


class HostNetwork:
    """Watches the network that a node's host is in.

    :param on_change: called when the network has changed or the machine has slept, with
        whether the ways out of the machine are others, or may be.
    :param on_look: called whenever anything may have changed, the node's own interface
        included.
    :param except_interface: number of the node's own interface, which does not count.
    """

    def __init__(
        self,
        on_change: Callable[[Network, bool], None],
        on_look: Callable[[], None],
        *,
        except_interface: int,
    ) -> None:
        self.current = Network((), (), ())
        """As it was when it was last reported."""
        self._on_change = on_change
        self._on_look = on_look
        self._except = except_interface
        self._drift = _drift()
        self._watcher: ChangeWatcher | None = None
        self._tasks = TaskSet()
        self._is_looking = False
        self._must_look = self._has_slept = False
        self._alarm = Alarm(self._look_again)
        self._rests_until = 0.0
        # When the next report would be, if they came as slowly as that.
        self._next_report = 0.0

    async def start(self) -> None:
        """Look around, and from now on report what changes."""
        self._watcher = ChangeWatcher(
            _GROUPS, self._look_again, settle=SETTLE, interval=INTERVAL
        )
        snapshot = await asyncio.to_thread(take_snapshot)
        self.current = network_in(snapshot, self._except)
        self._tasks.run(self._watch_sleep())

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.close()
        self._alarm.clear()
        self._tasks.cancel()

    def _look_again(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._is_looking:
            self._must_look = True
        elif now < self._rests_until:
            self._alarm.set(self._rests_until, now)
        else:
            self._is_looking = True
            self._tasks.run(self._look_around())

    async def _look_around(self) -> None:
        """See whether the network is another one now, and report it."""
        try:
            snapshot, cost = await asyncio.to_thread(_look)
            self._rests_until = asyncio.get_running_loop().time() + REST * cost
            self._report(snapshot)
        finally:
            self._is_looking = False
        if self._must_look:
            self._must_look = False
            self._look_again()

    def _report(self, snapshot: Snapshot) -> None:
        network, before = network_in(snapshot, self._except), self.current
        slept, self._has_slept = self._has_slept, False
        if slept or (network != before and self._may_report()):
            logger.info("The network changed")
            self.current = network
            self._on_change(network, slept or network.is_elsewhere(before))
        self._on_look()

    def _may_report(self) -> bool:
        """Tell whether there were few reports lately; look again when there were."""
        now = asyncio.get_running_loop().time()
        due = self._next_report - (REPORT_BURST - 1) * REPORT_INTERVAL
        if now < due:
            self._alarm.set(due, now)
            return False
        self._next_report = max(now, self._next_report) + REPORT_INTERVAL
        return True

    async def _watch_sleep(self) -> None:
        """Notice that the machine was asleep: its clocks then drifted apart."""
        while True:
            await asyncio.sleep(SLEEP_CHECK)
            drift = _drift()
            if drift - self._drift > SLEPT:
                logger.info("The machine was asleep")
                self._has_slept = True
                self._look_again()
            self._drift = drift


def automatic_mtu(is_inside: Callable[[str], bool] = lambda name: False) -> int:
    """Return an MTU for the mesh, in bytes, that fits what the host's links carry.

    A packet grows by at most 40 bytes of IPv6, 8 of UDP, 4 of a relay's ChannelData and
    32 of WireGuard; the rest of the hundred is for PPPoE and the like on the way.

    :param is_inside: tells by its name whether a link is none of the underlay.
    """
    mtus = [
        link.mtu
        for link in links()
        if is_usable(link) and link.mtu and not is_inside(link.name)
    ]
    smallest = min(mtus, default=_ETHERNET_MTU)
    return max(_MIN_MTU, min(smallest, _ETHERNET_MTU) - _OVERHEAD)


def _look() -> tuple[Snapshot, float]:
    """Return what there is, and the seconds of CPU time that it took to see it."""
    before = thread_time()
    snapshot = take_snapshot()
    return snapshot, thread_time() - before


def _drift() -> float:
    """Return how much longer the machine has existed than been awake, in seconds."""
    return clock.now() - asyncio.get_running_loop().time()
