"""Machines that want the same floating address, and the arbiter of its lease.

Everything is in virtual time: each machine has a clock of its own, which is ahead or
behind by years and runs faster or slower than true time, and the way to the arbiter
takes a while, or is cut.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from meshwg.kubernetes.election import (
    LeaseRead,
    LeaseRecord,
    LeaseRequest,
    LossReason,
    Timing,
)
from meshwg.kubernetes.floatingaddress import (
    AddressUnwanted,
    AddressWanted,
    FloatingAddress,
    HolderNoted,
)

LATENCY = 0.02
"""Seconds from a machine to the arbiter, and the same back."""
TICK = 1e-6
"""Seconds that clocks do not tell apart."""
REMOVAL = 0.01
"""Seconds that it takes to remove an address."""


class Arbiter:
    """Keeps the record, and replaces only the version that is named."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.is_up = True
        self._versions = count(1)

    def carry_out(self, request: LeaseRequest) -> LeaseRecord | None:
        """Return the record as it is after a request.

        :raises LookupError: if it is not the one that was to be replaced.
        """
        if isinstance(request, LeaseRead):
            return self.record
        known = "" if self.record is None else self.record.version
        if request.record.version != known:
            raise LookupError
        return self.put(request.record)

    def put(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record, whoever wants it."""
        self.record = replace(record, version=str(next(self._versions)))
        return self.record


@dataclass(slots=True)
class Tenure:
    """From when until when a machine had the address, in true time."""

    machine: str
    since: float
    until: float | None = None


class Machine:
    """A machine with the program, its clock and its kernel."""

    def __init__(
        self,
        name: str,
        world: "Electorate",
        timing: Timing,
        *,
        offset: float,
        rate: float,
        is_checked: bool,
    ) -> None:
        self.name = name
        self.is_cut = self.is_dead = False
        self.loses_answers = False
        self.losses: list[LossReason] = []
        self.noted: list[str] = []
        self.problem: str | None = None
        """What checks find here."""
        self._world = world
        self._offset, self._rate = offset, rate
        self._timing = timing
        self.address = FloatingAddress(name, timing, self.clock, is_checked=is_checked)
        self._tenure: Tenure | None = None
        self._expiry = float("inf")

    @property
    def clock(self) -> float:
        """What time it is, by this machine."""
        # What is due by true time is so by the clock, whatever floats make of both.
        return self._offset + self._rate * self._world.now + TICK

    def due(self) -> float:
        """Return when there is something to do here, in true time."""
        timer = None if self.is_dead else self.address.get_timer()
        times = [self._expiry]
        if timer is not None:
            times.append((timer - self._offset) / self._rate)
        return min(times)

    def turn(self) -> None:
        """Do what is due."""
        if self._tenure is not None and self._world.now >= self._expiry:
            self._remove()
        if self.is_dead:
            return
        self.address.handle_timer(self.clock)
        if self.address.wants_check(self.clock):
            problem = self.problem
            self._world.after(LATENCY, lambda: self._live(self._checked, problem))
        self._act()
        request = self.address.election.next_request(self.clock)
        if request is not None:
            self._ask(request)
        self._act()

    def kill(self) -> None:
        """End the program at once; what it gave the kernel stays there."""
        self.is_dead = True

    def stop(self) -> None:
        """Ask the program to end."""
        self.address.stop(self.clock)
        self.turn()

    def _checked(self, problem: str | None) -> None:
        self.address.checked(problem, self.clock)

    def _ask(self, request: LeaseRequest) -> None:
        world = self._world
        if self.is_cut or not world.arbiter.is_up:
            patience = self._timing.patience / self._rate
            world.after(patience, lambda: self._live(self._failed, None))
            return
        world.after(LATENCY, lambda: self._arrive(request))

    def _arrive(self, request: LeaseRequest) -> None:
        try:
            record = self._world.arbiter.carry_out(request)
        except LookupError:
            self._world.after(LATENCY, lambda: self._live(self._conflicted, None))
            return
        answer = self._failed if self.loses_answers else self._answered
        self._world.after(LATENCY, lambda: self._live(answer, record))

    def _live(self, what: Callable[[Any], None], argument: Any) -> None:
        if not self.is_dead:
            what(argument)
            self._act()

    def _answered(self, record: LeaseRecord | None) -> None:
        self.address.election.answered(record, self.clock)

    def _conflicted(self, _: object) -> None:
        self.address.election.conflicted(self.clock)

    def _failed(self, _: object) -> None:
        self.address.election.failed(self.clock)

    def _act(self) -> None:
        while (event := self.address.next_event()) is not None:
            match event:
                case AddressWanted():
                    self._have(event.seconds(self.clock))
                case AddressUnwanted(reason):
                    self.losses.append(reason)
                    self._remove()
                    self._world.after(
                        REMOVAL, lambda: self._live(self._withdrawn, None)
                    )
                case HolderNoted(holder):
                    self.noted.append(holder)

    def _withdrawn(self, _: object) -> None:
        self.address.election.withdrawn(self.clock)

    def _have(self, seconds: int) -> None:
        self._expiry = self._world.now + seconds
        if self._tenure is None:
            self._tenure = Tenure(self.name, self._world.now)
            self._world.tenures.append(self._tenure)

    def _remove(self) -> None:
        if self._tenure is not None:
            self._tenure.until = self._world.now
        self._tenure, self._expiry = None, float("inf")


class Electorate:
    """All machines, in true time."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.now = 0.0
        self.arbiter = Arbiter()
        self.machines: list[Machine] = []
        self.tenures: list[Tenure] = []
        self._timing = timing or Timing()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def add(
        self,
        name: str,
        *,
        offset: float = 0.0,
        rate: float = 1.0,
        is_checked: bool = False,
        timing: Timing | None = None,
    ) -> Machine:
        """Start the program on one more machine.

        :param offset: seconds by which its clock is ahead.
        :param rate: seconds of its clock in one of true time.
        """
        machine = Machine(
            name,
            self,
            timing or self._timing,
            offset=offset,
            rate=rate,
            is_checked=is_checked,
        )
        self.machines.append(machine)
        return machine

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something happen a while from now."""
        heapq.heappush(self._later, (self.now + seconds, next(self._order), what))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (at := self._next()) <= end:
            self.now = max(self.now, at)
            while self._later and self._later[0][0] <= self.now:
                heapq.heappop(self._later)[2]()
            for machine in self.machines:
                if machine.due() <= self.now + 1e-9:
                    machine.turn()
        self.now = end

    def holder(self) -> str | None:
        """Return who has the address now.

        :raises AssertionError: if several have it.
        """
        holders = [each.machine for each in self.tenures if each.until is None]
        assert len(holders) <= 1, f"{holders} have it"
        return holders[0] if holders else None

    def overlap(self) -> float:
        """Return for how many seconds together two machines had the address."""
        ends = [(each.since, 1) for each in self.tenures]
        ends += [(self.now if t.until is None else t.until, -1) for t in self.tenures]
        total, holders, before = 0.0, 0, 0.0
        for at, step in sorted(ends):
            if holders > 1:
                total += at - before
            holders, before = holders + step, at
        return total

    def _next(self) -> float:
        times = [machine.due() for machine in self.machines]
        if self._later:
            times.append(self._later[0][0])
        return min(times, default=float("inf"))
