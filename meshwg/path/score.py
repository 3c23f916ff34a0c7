"""Which of two paths is better: by kind, then by round-trip time and loss.

Paths are compared, not sorted: :func:`outranks` gives the path in use an advantage,
the larger of 10 ms and 20 %, so that two paths of about the same quality do not take
turns (hysteresis).
"""

from collections import deque
from dataclasses import dataclass
from math import isinf, sqrt

from meshwg.path.candidate import CandidateKind

MARGIN = 0.010
"""Seconds by which a challenger must be faster, at least."""

MARGIN_RATIO = 0.2
"""Part of the incumbent's round-trip time by which it must be faster, at least."""

LOSS_COST = 0.2
"""Seconds that a loss of 100 % counts for: 5 % weigh as much as 10 ms."""

POOR_LOSS = 0.2
"""A direct path that surely loses this much is no longer preferred to a relay."""

SURENESS = 2.33
"""Standard errors by which the loss that was counted has to exceed that: by chance it
does in 1 % of cases."""

WINDOW = 32
"""Checks over which loss is counted."""

POOR_AFTER = 10
"""Checks that must have been counted before a path can be called poor."""

SMOOTHING = 1 / 8
"""Weight of a new round-trip time in the average (RFC 6298 section 2)."""


class Statistics:
    """Round-trip time and loss of one path, from its checks."""

    __slots__ = ("_outcomes", "rtt")

    def __init__(self) -> None:
        self.rtt: float | None = None
        """Smoothed, in seconds; ``None`` before the first answer."""
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)

    def add_answer(self, rtt: float) -> None:
        """Count a check that was answered after ``rtt`` seconds."""
        self.rtt = rtt if self.rtt is None else self.rtt + SMOOTHING * (rtt - self.rtt)
        self._outcomes.append(True)

    def add_loss(self) -> None:
        """Count a check that was never answered."""
        self._outcomes.append(False)

    def end_outage(self) -> None:
        """Forget the losses since the last answer."""
        while self._outcomes and not self._outcomes[-1]:
            self._outcomes.pop()

    def forget_losses(self) -> None:
        """Begin to count anew: what was lost, was lost in another network."""
        self._outcomes.clear()

    @property
    def loss(self) -> float:
        """The part of the last checks that was lost, 0 to 1."""
        return self._outcomes.count(False) / max(1, len(self._outcomes))

    @property
    def is_poor(self) -> bool:
        """Whether so much is lost that a relay serves better."""
        count, loss = len(self._outcomes), self.loss
        if count < POOR_AFTER:
            return False
        return loss - SURENESS * sqrt(loss * (1 - loss) / count) >= POOR_LOSS


@dataclass(frozen=True, slots=True)
class Score:
    """What a path is judged by."""

    kind: CandidateKind
    cost: float
    """Seconds: the round-trip time, and what the loss adds to it."""
    poor: bool = False

    @classmethod
    def of(
        cls, kind: CandidateKind, statistics: Statistics, poor: bool = False
    ) -> "Score":
        """Return the score of a path; one that was never measured is infinitely far.

        :param poor: whether a relay is better, whatever was measured.
        """
        if statistics.rtt is None:
            return cls(kind, float("inf"), poor)
        cost = statistics.rtt + LOSS_COST * statistics.loss
        return cls(kind, cost, poor or statistics.is_poor)

    @property
    def margin(self) -> float:
        """How much less a challenger must cost."""
        return max(MARGIN, MARGIN_RATIO * self.cost)

    @property
    def tier(self) -> int:
        """0 for direct, 1 for relayed, 2 for a direct path that loses too much."""
        if self.kind is CandidateKind.RELAYED:
            return 1
        return 2 if self.poor else 0


def outranks(challenger: Score, incumbent: Score) -> bool:
    """Tell whether traffic should move from the incumbent to the challenger.

    A direct path beats a relay, however fast. Among direct paths a better kind wins
    unless it is clearly slower, and a clearly faster path wins whatever its kind: so a
    shared LAN is used, but not another overlay network that takes a detour. No two
    paths outrank each other.
    """
    if challenger.tier != incumbent.tier:
        return challenger.tier < incumbent.tier
    if isinf(incumbent.cost) or challenger.cost + incumbent.margin < incumbent.cost:
        return challenger.cost < incumbent.cost
    better_kind = challenger.kind.preference > incumbent.kind.preference
    return better_kind and challenger.cost < incumbent.cost + incumbent.margin
