"""One path to a peer: an endpoint, what its checks showed, and when the next is due.

A path begins unproven, with a burst of checks that opens the NATs on both sides. The
first answer proves it; from then on it is checked at intervals. A check that stays
unanswered is repeated, and when nothing came for :data:`DOUBT_AFTER` the path is
doubted: two intervals of an active path, 3 s + 3.5 s, make the 6.5 s of the design.
After :data:`CONSENT_LIFETIME` without an answer the peer's consent is gone (RFC 7675),
and nothing more is sent there.
"""

from meshwg.path.candidate import CandidateKind
from meshwg.path.carriage import Carriage
from meshwg.path.mtu import LongestDatagram
from meshwg.path.score import Score, Statistics
from meshwg.transmit import Endpoint

BURST = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds after its start at which a burst checks each candidate."""

TRIGGERED_BURST = (0.0, 0.1, 0.3, 0.8)
"""The same for an address that was learnt from an authentic packet."""

REPEATS = (0.5, 0.5, 1.0, 1.0)
"""Seconds between a check that was expected to be answered and its repetitions."""

REPEAT_INTERVAL = 1.0
"""Seconds between checks of a doubted path."""

DOUBT_AFTER = 3.5
"""Seconds without an answer to any of the repetitions that make a path doubted."""

SILENT_AFTER = 1.0
"""Seconds without an answer to a check after which a path that is not trusted does not
count as the one that carries the data."""

OUTAGE = 1.5
"""Seconds without an answer to three checks, after which an answer ends an outage: what
was lost in it says nothing about a path that answers again."""

TRUST = 6.5
"""Seconds for which an answer proves that a path works now."""

CONSENT_LIFETIME = 30.0
"""Seconds for which an answer permits sending at all (RFC 7675 section 5.1)."""


class Path:
    """A way to the peer, through one socket or stream of the node."""

    __slots__ = (
        "_due",
        "_repeats",
        "carriage",
        "counted_from",
        "endpoint",
        "is_tunnelled",
        "kind",
        "longest",
        "lost_at",
        "proven_at",
        "proven_since",
        "statistics",
        "waiting_since",
    )

    def __init__(self, endpoint: Endpoint, kind: CandidateKind) -> None:
        self.endpoint = endpoint
        """Where to send; it gets the sticky source of the last answer."""
        self.kind = kind
        self.statistics = Statistics()
        self.longest = LongestDatagram()
        self.carriage = Carriage()
        self.proven_at: float | None = None
        """When the last answer came."""
        self.proven_since = 0.0
        """When the first answer came, at which it was proven, if it is."""
        self.is_tunnelled = False
        """Whether it leads through another tunnel."""
        self.waiting_since: float | None = None
        """When the first check after that was sent."""
        self.counted_from = float("-inf")
        """Checks that were sent before are not counted as lost."""
        self.lost_at: float | None = None
        """When a path that worked was given up."""
        self._due: list[float] = []
        self._repeats = 0

    @property
    def is_relayed(self) -> bool:
        """Whether a relay passes the datagrams on."""
        return self.kind is CandidateKind.RELAYED

    @property
    def is_direct(self) -> bool:
        """Whether neither a relay nor another tunnel is in between."""
        return not self.is_relayed and not self.is_tunnelled

    @property
    def is_proven(self) -> bool:
        """Whether the path ever worked, and was not given up since."""
        return self.proven_at is not None

    @property
    def score(self) -> Score:
        """What the path is judged by."""
        return Score.of(
            self.kind, self.statistics, self.carriage.is_poor, self.is_tunnelled
        )

    @property
    def loss(self) -> float:
        """The part of the data that is lost, 0 to 1; of the checks without data."""
        loss = self.carriage.loss
        return self.statistics.loss if loss is None else loss

    def is_doubted(self, now: float) -> bool:
        """Tell whether repeated checks are unanswered."""
        waiting = self.waiting_since
        return waiting is not None and now >= waiting + DOUBT_AFTER

    def is_silent(self, now: float) -> bool:
        """Tell whether data that is sent this way most likely does not arrive."""
        return self.is_late(now) and not self.is_trusted(now)

    def is_late(self, now: float) -> bool:
        """Tell whether an answer should have come by now."""
        waiting = self.waiting_since
        return waiting is not None and now >= waiting + SILENT_AFTER

    def is_trusted(self, now: float) -> bool:
        """Tell whether the path is known to work now."""
        return self.proven_at is not None and now < self.proven_at + TRUST

    def has_consent(self, now: float) -> bool:
        """Tell whether the peer answered not too long ago."""
        return self.proven_at is not None and now < self.proven_at + CONSENT_LIFETIME

    def turning_points(self) -> list[float]:
        """Return when the path will lose trust, be doubted, or lose its consent."""
        times = []
        if self.proven_at is not None:
            times = [self.proven_at + TRUST, self.proven_at + CONSENT_LIFETIME]
        if self.waiting_since is not None:
            times.append(self.waiting_since + SILENT_AFTER)
            times.append(self.waiting_since + DOUBT_AFTER)
        return times

    def burst(self, now: float, offsets: tuple[float, ...] = BURST) -> None:
        """Check at these seconds from ``now``, instead of what was planned."""
        self._due = [now + offset for offset in offsets]

    def check_by(self, when: float) -> None:
        """Bring the next check forward to ``when``, if it is later or not planned."""
        if not self._due or self._due[0] > when:
            self._due = [when, *self._due]

    def rest(self) -> None:
        """Plan no more checks."""
        self._due.clear()

    @property
    def due(self) -> float | None:
        """When the next check is to be sent."""
        return self._due[0] if self._due else None

    def take_due(self, now: float) -> bool:
        """Tell whether a check is to be sent now, and plan the one after it."""
        if not self._due or self._due[0] > now:
            return False
        while self._due and self._due[0] <= now:
            self._due.pop(0)
        if self.proven_at is not None:
            self._expect_answer(now)
        return True

    def answered(self, endpoint: Endpoint, rtt: float, now: float) -> None:
        """Note that a check came back; the next one is for the caller to plan."""
        if self.waiting_since is not None and now >= self.waiting_since + OUTAGE:
            self.counted_from = now
            self.statistics.end_outage()
            self.carriage.forget_losses()
        self.endpoint = endpoint
        self.statistics.add_answer(rtt)
        self.lost_at = None
        if self.proven_at is None:
            self.proven_since = now
        self.proven_at = now
        self.waiting_since = None
        self._repeats = 0
        self._due.clear()

    def distrust(self, now: float) -> None:
        """Forget that the path works; it stays usable until its consent is gone."""
        if self.proven_at is not None:
            self.proven_at = min(self.proven_at, now - TRUST)
        self.endpoint = self.endpoint.unpinned()
        self.longest.look_again()
        self.statistics.forget_losses()
        self.carriage.forget_losses()
        self.counted_from = now
        self._repeats = 0
        self.burst(now, TRIGGERED_BURST)

    def give_up(self, now: float) -> None:
        """Forget that the path ever worked."""
        self.proven_at = self.waiting_since = None
        self.lost_at = now
        self.statistics.forget_losses()
        self.carriage.forget_losses()
        self.counted_from = now
        self._repeats = 0
        self.rest()

    def _expect_answer(self, now: float) -> None:
        if self.waiting_since is None:
            self.waiting_since = now
        if not self._due:
            known = self._repeats < len(REPEATS)
            gap = REPEATS[self._repeats] if known else REPEAT_INTERVAL
            self._repeats += 1
            self._due = [now + gap]
