"""Which of several programs holds a lease: a record that its holder renews.

Theory of operation. Somebody else, an *arbiter*, keeps the record and sees to it that
a write replaces only the version that it names. Whoever wants the lease reads it every
:data:`LOOK` seconds. One that nobody holds is taken at once; one that has not changed
for as long as it says is taken from its holder. The holder renews it every
:attr:`Timing.retry` seconds, and gives up what it guards when none has come through for
:attr:`Timing.deadline` seconds.

No two hold it at once. A renewal is sent at *s* and stored no earlier; the holder stops
by *s* + deadline. Others see that the record has changed no earlier than it was stored,
and wait for its duration from then on, so the next one begins after *s* + duration.
Both are measured by each one's own clock, and no time is ever compared with another
machine's: clocks may be years apart, as long as none runs faster than another by the
ratio of duration and deadline. As client-go does it (k8s.io/client-go/tools/
leaderelection), except that here a lease found in other hands is given up at once.

An :class:`Election` makes one request at a time: take :meth:`Election.next_request`,
and tell of its end by :meth:`Election.answered`, :meth:`Election.conflicted` or
:meth:`Election.failed`. After each call drain :meth:`Election.next_event`. Who has been
told :class:`LeaseLost` stops what the lease guards, and then calls
:meth:`Election.withdrawn`: only then is it free for others.
"""

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, auto

from meshwg.errors import ConfigError

RELEASED_FOR = 1.0
"""Seconds that a lease lasts that nobody holds, as client-go writes it."""
LOOK = 0.2
"""Seconds between two looks of one that waits, at most: what is given up politely is in
new hands in less than a second."""
LONGEST = 3600.0
"""Seconds that others wait at most, whatever a record says."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lease lasts, in seconds."""

    duration: float = 4.0
    """From the last renewal on, as long as others leave it to its holder. With this
    one and the others here a lease is in new hands less than 5 s after its holder was
    killed."""
    deadline: float = 2.5
    """From sending the last renewal that came through, until the holder stops."""
    retry: float = 0.5
    """Between two renewals."""

    def check(self) -> None:
        """Refuse what could not work.

        :raises ConfigError: saying what is wrong.
        """
        if not 1 <= self.duration <= LONGEST or self.duration % 1:
            raise ConfigError(
                f"--lease-duration {self.duration:g} is not a number of whole seconds "
                f"from 1 to {LONGEST:g}"
            )
        if not self.deadline + 1 <= self.duration:
            raise ConfigError(
                f"--renew-deadline {self.deadline:g} is too long: it has to be "
                f"--lease-duration, {self.duration:g}, less a second, or shorter"
            )
        if not 0 < self.retry * 2 <= self.deadline:
            raise ConfigError(
                f"--retry {self.retry:g} is too long: at least two have to fit into "
                f"--renew-deadline, {self.deadline:g}"
            )

    @property
    def patience(self) -> float:
        """Seconds to wait for one answer: another attempt has to fit in after it."""
        return (self.deadline - self.retry) / 2


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease, as the arbiter keeps it."""

    holder: str = ""
    """Who has it; empty for nobody."""
    duration: float = 0.0
    """Seconds for which others leave it to its holder after each change."""
    transitions: int = 0
    """How often it went to another holder."""
    version: str = ""
    """Another one after each write; empty for a lease that is not there."""


class LeaseTaken(Exception):
    """The record is not the one that was to be replaced."""


@dataclass(frozen=True, slots=True)
class LeaseRead:
    """Ask for the record."""


@dataclass(frozen=True, slots=True)
class LeaseWrite:
    """Store a record in place of the version that it names, and of no other."""

    record: LeaseRecord


LeaseRequest = LeaseRead | LeaseWrite


class LossReason(Enum):
    """Why a lease is given up, in words that go after its name."""

    STOLEN = "somebody else has taken it"
    DEADLINE = "it could not be renewed in time"
    UNFIT = "the check fails"
    STOPPED = "this program stops"


@dataclass(frozen=True, slots=True)
class LeaseGained:
    """This one holds the lease from now on."""


@dataclass(frozen=True, slots=True)
class LeaseRenewed:
    """It goes on to do so, see :attr:`Election.until`."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """It is to stop at once what the lease guards."""

    reason: LossReason


@dataclass(frozen=True, slots=True)
class HolderSeen:
    """Another one holds the lease, or nobody does."""

    holder: str


ElectionEvent = LeaseGained | LeaseRenewed | LeaseLost | HolderSeen


class _Role(Enum):
    FOLLOWER = auto()
    HOLDER = auto()
    LEAVING = auto()
    """It has been told to stop what the lease guards, and others still wait."""
    RELEASING = auto()
    """It has stopped that: the lease can be given away."""


class Election:
    """One program that may hold a lease.

    :param identity: by which it is known; no other has the same.
    """

    def __init__(self, identity: str, timing: Timing, now: float) -> None:
        self._identity = identity
        self._timing = timing
        self._role = _Role.FOLLOWER
        self._is_fit = False
        self._is_stopping = False
        self._known: LeaseRecord | None = None
        """What was read or written last; ``None`` before that."""
        self._must_read = False
        """Whether it may be another by now."""
        self._was_held = False
        """Whether another one was ever seen to hold it."""
        self._told: str | None = None
        self._changed_at = now
        """When the record was first seen as it is."""
        self._until = float("-inf")
        self._asked: LeaseRequest | None = None
        self._asked_at = now
        self._next_at = now
        self._events: deque[ElectionEvent] = deque()

    @property
    def until(self) -> float | None:
        """When this one stops to hold the lease unless it is renewed; ``None`` if it
        does not hold it."""
        return self._until if self._role is _Role.HOLDER else None

    @property
    def has_ended(self) -> bool:
        """Whether it was told to stop, and has nothing left to say."""
        is_idle = self._role is _Role.FOLLOWER
        return self._is_stopping and is_idle and not isinstance(self._asked, LeaseWrite)

    def next_event(self) -> ElectionEvent | None:
        """Return what has come of it."""
        return self._events.popleft() if self._events else None

    # What is wanted.

    def set_fit(self, is_fit: bool, now: float) -> None:
        """Know whether this one could do what the lease is for."""
        if is_fit == self._is_fit:
            return
        self._is_fit = is_fit
        if not is_fit:
            self._leave(LossReason.UNFIT)
        elif self._may_take(now):
            self._next_at = now

    def stop(self, now: float) -> None:
        """Give up the lease, and want it no more."""
        self._is_stopping = True
        self._leave(LossReason.STOPPED)
        self._next_at = now

    def withdrawn(self, now: float) -> None:
        """What the lease guards has stopped here."""
        if self._role is _Role.LEAVING:
            self._role = _Role.RELEASING
            self._next_at = now

    # The arbiter.

    def next_request(self, now: float) -> LeaseRequest | None:
        """Return what to ask of the arbiter, once the last request has ended."""
        if self._asked is not None or now < self._next_at:
            return None
        request = self._request(now)
        if request is not None:
            self._asked, self._asked_at = request, now
        return request

    def answered(self, record: LeaseRecord | None, now: float) -> None:
        """The request was carried out; this is the record as it is now.

        :param record: ``None`` if there is none.
        """
        self.handle_timer(now)
        request, self._asked = self._asked, None
        self._must_read = False
        self._next_at = now + min(self._timing.retry, LOOK)
        self._see(record or LeaseRecord(), now)
        if isinstance(request, LeaseWrite):
            self._written(now)
        else:
            self._was_read(now)
        if self._role is _Role.FOLLOWER and self._is_fit:
            # One that runs out is not missed.
            self._next_at = min(self._next_at, max(now, self._free_at()))

    def conflicted(self, now: float) -> None:
        """The record is not the one that was to be replaced: see what it is now."""
        self._asked = None
        self._must_read = True
        self._next_at = now

    def failed(self, now: float) -> None:
        """The arbiter has not answered, or could not do it."""
        request, self._asked = self._asked, None
        self._next_at = max(now, self._asked_at + self._timing.retry)
        if not isinstance(request, LeaseWrite):
            return
        # It may have been carried out all the same.
        self._must_read = True
        if not request.record.holder:
            # Others have it by themselves when its time is over.
            self._role = _Role.FOLLOWER

    # Time.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` or a request is next wanted."""
        if self.has_ended:
            return None
        times = [self._until] if self._role is _Role.HOLDER else []
        if self._asked is None and self._role is not _Role.LEAVING:
            times.append(self._next_at)
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Give up a lease that could not be renewed."""
        if self._role is _Role.HOLDER and now >= self._until:
            self._lose(LossReason.DEADLINE)

    # How it is decided.

    def _request(self, now: float) -> LeaseRequest | None:
        known = self._known
        is_idle = self._is_stopping and self._role is _Role.FOLLOWER
        if is_idle or self._role is _Role.LEAVING:
            return None
        if known is None or self._must_read:
            return LeaseRead()
        if self._role is _Role.RELEASING:
            return LeaseWrite(replace(known, holder="", duration=RELEASED_FOR))
        if self._role is _Role.HOLDER or self._may_take(now):
            return LeaseWrite(self._as_own(known))
        return LeaseRead()

    def _as_own(self, known: LeaseRecord) -> LeaseRecord:
        moves = known.holder != self._identity and known.version != ""
        return replace(
            known,
            holder=self._identity,
            duration=self._timing.duration,
            transitions=known.transitions + moves,
        )

    def _may_take(self, now: float) -> bool:
        """Tell whether the lease is this one's if nobody was faster."""
        is_candidate = self._is_fit and not self._is_stopping
        return is_candidate and self._known is not None and now >= self._free_at()

    def _free_at(self) -> float:
        """Return from when on the record, as it is, keeps nobody from the lease."""
        known = self._known or LeaseRecord()
        if not known.version and self._was_held:
            # It was deleted, and its holder may not know that yet.
            return self._changed_at + self._timing.duration
        if known.holder in ("", self._identity):
            return self._changed_at
        lasts = known.duration if known.duration > 0 else self._timing.duration
        return self._changed_at + min(lasts, LONGEST)

    def _see(self, record: LeaseRecord, now: float) -> None:
        """Take note of a record, and of when it was first seen like that."""
        if self._known is None or record.version != self._known.version:
            self._changed_at = now
        self._known = record
        self._was_held = self._was_held or record.holder not in ("", self._identity)
        if record.holder != self._told:
            self._told = record.holder
            if record.holder != self._identity:
                self._events.append(HolderSeen(record.holder))

    @property
    def _is_own(self) -> bool:
        return self._known is not None and self._known.holder == self._identity

    def _was_read(self, now: float) -> None:
        if self._role is _Role.FOLLOWER:
            return
        is_gone = self._known is not None and not self._known.version
        if self._is_own or (is_gone and self._role is _Role.HOLDER):
            # Only something beside the holder was written, or it has to be made again.
            self._next_at = now
        elif self._role is _Role.HOLDER:
            self._lose(LossReason.STOLEN)
        else:
            self._role = _Role.FOLLOWER

    def _written(self, now: float) -> None:
        if not self._is_own:
            self._role = _Role.FOLLOWER
            return
        if self._role in (_Role.LEAVING, _Role.RELEASING):
            self._next_at = now
            return
        is_new = self._role is _Role.FOLLOWER
        until = self._asked_at + self._timing.deadline
        if is_new and (now >= until or not self._is_fit or self._is_stopping):
            # It is this one's by name only: others are to have it soon.
            self._role, self._next_at = _Role.RELEASING, now
            return
        self._role, self._until = _Role.HOLDER, until
        self._next_at = max(now, self._asked_at + self._timing.retry)
        self._events.append(LeaseGained() if is_new else LeaseRenewed())

    def _leave(self, reason: LossReason) -> None:
        """Have it given up in order: others get it at once."""
        if self._role is _Role.HOLDER:
            self._role = _Role.LEAVING
            self._events.append(LeaseLost(reason))

    def _lose(self, reason: LossReason) -> None:
        self._role = _Role.FOLLOWER
        self._events.append(LeaseLost(reason))
