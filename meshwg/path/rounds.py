"""When to punch: rounds of plain punching, and the time between them.

A round begins with an offer to the peer, or with an offer of the peer. Whoever offers
waits for the answer, so that both sides begin to check within one trip of a message;
if none comes, it checks all the same, because the coordinator may be away while the
peer is not. A round ends with the first direct path, or when its time is over. Rounds
that fail are repeated after a minute, then less and less often; a change of network
starts one at once.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

ANSWER_TIMEOUT = 3.0
"""Seconds to wait for the peer's candidates before checking the known ones."""

WINDOW = 3.5
"""Seconds of checking after which a round has failed."""

HOPELESS_WINDOW = 0.35
"""The same if the NATs are such that plain punching cannot help: the first checks of a
burst. The others go on beside the method that follows."""

FRESH_WINDOW = 0.9
"""The same where fresh sockets may help: where a router has taken the first packet for
its own, more of them do not help. Six checks that a way was open for are seldom all
lost, and the others go on."""

OFFERER_LEAD, ANSWERER_LEAD = 0.02, 0.1
"""Seconds between opener and checks. The answerer is ahead of the offerer by the trip
of its answer, and waits for the offerer's opener to come first."""

BACKOFF = (60.0, 60.0, 120.0, 240.0, 300.0)
"""Seconds from one failed round to the next; the last one repeats. Less than 30 s
would meet the entries that the failed checks left in Linux NATs."""

GAP = 0.25
"""Seconds between two rounds at least, whatever happens."""


class Trigger(Enum):
    """Why a round begins."""

    TRAFFIC = "first packet"
    OFFER = "the peer asked"
    NETWORK = "the network changed"
    CANDIDATES = "this node's addresses changed"
    DOUBT = "the direct path stopped working"
    RETRY = "time for another attempt"

    @property
    def is_trouble(self) -> bool:
        """Whether the peer should not rely on the direct path either."""
        return self in (Trigger.NETWORK, Trigger.DOUBT)


@dataclass(slots=True)
class Round:
    """One round of plain punching."""

    trigger: Trigger
    started_at: float
    waits_until: float | None
    """Until when the peer's answer is awaited; ``None`` once checks are under way."""
    ends_at: float | None = None


class Postponed(NamedTuple):
    """A round that came too soon after another one."""

    trigger: Trigger
    at: float


class Rounds:
    """Remembers the round under way, and when the next one may begin."""

    def __init__(self) -> None:
        self.current: Round | None = None
        self.next_at: float | None = None
        self.postponed: Postponed | None = None
        self.unanswered: Trigger | None = None
        """Why the peer was made an offer that it has not answered, if there is one."""
        self._failures = 0
        self._last_at = float("-inf")

    def begin(self, trigger: Trigger, now: float, *, awaits: bool) -> bool:
        """Begin a round, or note that one has to wait; tell which.

        :param awaits: whether the peer's candidates are still to come.
        """
        if now < self._last_at + GAP:
            earlier = self.postponed.trigger if self.postponed is not None else None
            self.postponed = Postponed(_graver(trigger, earlier), self._last_at + GAP)
            return False
        self._last_at = now
        if awaits:
            self.unanswered = _graver(trigger, self.unanswered)
        self.next_at = self.postponed = None
        waits_until = now + ANSWER_TIMEOUT if awaits else None
        self.current = Round(trigger, now, waits_until)
        return True

    @property
    def is_trouble_untold(self) -> bool:
        """Whether the peer may not know that its paths to this node are in doubt."""
        return self.unanswered is not None and self.unanswered.is_trouble

    def check(self, now: float, window: float) -> None:
        """Note that checks begin, which have this many seconds."""
        if self.current is not None:
            self.current.waits_until = None
            self.current.ends_at = now + window

    def is_awaiting(self) -> bool:
        """Tell whether the peer's answer is awaited."""
        return self.current is not None and self.current.waits_until is not None

    def succeed(self) -> Round | None:
        """End everything: there is a direct path. Return the round that found it."""
        found, self.current = self.current, None
        self.next_at = None
        self._failures = 0
        return found

    def fail(self, now: float) -> None:
        """End the round, and plan the next."""
        self.current = None
        self.next_at = now + BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._failures += 1

    def reset(self) -> None:
        """Forget failures: they happened in another network."""
        self._failures = 0

    def get_timer(self) -> float | None:
        """Return when the current round has something to do, or the next begins."""
        when = self.next_at
        if self.current is not None:
            when = self.current.waits_until or self.current.ends_at
        if self.postponed is None or when is None:
            return when if self.postponed is None else self.postponed.at
        return min(when, self.postponed.at)


def _graver(trigger: Trigger, earlier: Trigger | None) -> Trigger:
    """Return the trigger of a round that two of them want: trouble must be told."""
    return earlier if earlier is not None and earlier.is_trouble else trigger
