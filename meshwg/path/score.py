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

RECENT = 8
"""Round-trip times of which the least is looked at where chance must not decide."""

KNOWN_AFTER = 4
"""Round-trip times that are needed for that."""

SMOOTHING = 1 / 8
"""Weight of a new round-trip time in the average (RFC 6298 section 2)."""


class Statistics:
    """Round-trip time and loss of one path, from its checks."""

    __slots__ = ("_outcomes", "_recent", "rtt")

    def __init__(self) -> None:
        self.rtt: float | None = None
        """Smoothed, in seconds; ``None`` before the first answer."""
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add_answer(self, rtt: float) -> None:
        """Count a check that was answered after ``rtt`` seconds."""
        self.rtt = rtt if self.rtt is None else self.rtt + SMOOTHING * (rtt - self.rtt)
        self._outcomes.append(True)
        self._recent.append(rtt)

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
        self._recent.clear()

    @property
    def least(self) -> float | None:
        """The least round-trip time of late, in seconds, if there are a few: answers
        are often late for other reasons than the path."""
        return min(self._recent) if len(self._recent) >= KNOWN_AFTER else None

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
    is_tunnelled: bool = False
    """Whether the path leads through another tunnel."""
    least: float | None = None
    """What it costs at least, where chance must not decide; ``None`` if unknown."""

    @classmethod
    def of(
        cls,
        kind: CandidateKind,
        statistics: Statistics,
        poor: bool = False,
        is_tunnelled: bool = False,
    ) -> "Score":
        """Return the score of a path; one that was never measured is infinitely far.

        :param poor: whether a relay is better, whatever was measured.
        """
        if statistics.rtt is None:
            return cls(kind, float("inf"), poor, is_tunnelled)
        loss, least = LOSS_COST * statistics.loss, statistics.least
        return cls(
            kind,
            statistics.rtt + loss,
            poor or statistics.is_poor,
            is_tunnelled,
            None if least is None else least + loss,
        )

    @property
    def margin(self) -> float:
        """How much less a challenger must cost."""
        return max(MARGIN, MARGIN_RATIO * self.cost)

    @property
    def reluctance(self) -> int:
        """0 for datagrams, 1 for a stream, 2 for what runs through another tunnel."""
        return 2 if self.is_tunnelled else int(self.kind is CandidateKind.TCP)

    @property
    def order(self) -> tuple[int, float]:
        """Sorts direct paths by which of them to keep warm, the best first."""
        return self.reluctance, self.cost

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
    shared LAN is used. A stream, in which one loss holds up all that follows, and
    another tunnel are used only if they are surely and clearly faster, and left when
    they no longer are. No two paths outrank each other.
    """
    if challenger.tier != incumbent.tier:
        return challenger.tier < incumbent.tier
    if challenger.reluctance > incumbent.reluctance:
        return is_worthwhile(challenger, incumbent, in_use=False)
    if challenger.reluctance < incumbent.reluctance:
        return not is_worthwhile(incumbent, challenger, in_use=True)
    if isinf(incumbent.cost) or challenger.cost + incumbent.margin < incumbent.cost:
        return challenger.cost < incumbent.cost
    better_kind = challenger.kind.preference > incumbent.kind.preference
    return better_kind and challenger.cost < incumbent.cost + incumbent.margin


def is_worthwhile(last_resort: Score, other: Score, *, in_use: bool) -> bool:
    """Tell whether a stream, or another tunnel, is clearly faster than another path.

    Both must be known well for that: what runs over the same network is hardly slower.

    :param in_use: whether it carries the data, and half of that will do.
    """
    if last_resort.least is None or other.least is None:
        return False
    needed = max(MARGIN, MARGIN_RATIO * other.least)
    return other.least - last_resort.least > (needed / 2 if in_use else needed)
