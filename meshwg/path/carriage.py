"""Whether a path carries the tunnel's messages, and not only checks.

Boxes that inspect packets drop WireGuard's, or only its handshakes, and let STUN pass.
An answered check proves such a path for checks, and for nothing else. So each answer
says how much of the tunnel has arrived that way (:mod:`meshwg.path.report`). Where the
checks before and after it were answered, and nothing that was sent in between has
arrived, again and again, the path has a *fault*: it is used only if there is no other
way. A single message shows from time to time whether that has changed.

Peers that do not report are judged by what WireGuard itself expects: an answer to data
within 15 s, and to handshakes.
"""

from collections import deque
from enum import Enum, auto

from meshwg.path.report import DATA_MODULUS, HANDSHAKES_MODULUS, DeliveryReport
from meshwg.path.tally import Amount

LOST_HANDSHAKES = 3
"""Handshake messages in a row that did not arrive, which make a fault."""

LOST_BATCHES = 5
"""The same for data: one in ten lost by chance makes that one in 100,000."""

LOST_REPORTS = 2
"""Reports in a row that must say so."""

SILENCE = 15.0
"""Seconds after which fewer lost messages are enough."""

RETRIES = (60.0, 120.0, 240.0, 300.0, 600.0)
"""Seconds from a fault, or a probe that did not arrive, to the next probe."""

FORGIVENESS = 600.0
"""Seconds without a fault after which the next one counts as the first."""

WINDOWS = 16
"""Reports over which the loss of data is counted."""

MEASURED = 4
"""Batches that must have been sent for a loss of data to be told."""


class Fault(Enum):
    """What a path does not carry, although checks are answered."""

    DATA = auto()
    HANDSHAKES = auto()


class Carriage:
    """What is known of one path.

    :ivar fault: what it does not carry, as far as this node's own messages go.
    :ivar is_refused: whether the peer says that it does not carry the peer's.
    :ivar retry_at: when the next probe is due, while there is a fault.
    :ivar carried_at: when the peer last said that something has arrived.
    """

    __slots__ = (
        "_before",
        "_failures",
        "_lost_batches",
        "_lost_initiations",
        "_lost_reports",
        "_lost_responses",
        "_lost_since",
        "_mended_at",
        "_windows",
        "carried_at",
        "fault",
        "is_refused",
        "retry_at",
    )

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.is_refused = False
        self.retry_at = float("inf")
        self.carried_at = float("-inf")
        self._before: tuple[float, Amount, DeliveryReport] | None = None
        self._windows: deque[tuple[int, int, int]] = deque(maxlen=WINDOWS)
        self._mended_at = float("-inf")
        self._failures = 0
        self._lost_initiations = self._lost_responses = 0
        self._lost_batches = self._lost_reports = 0
        self._lost_since = 0.0

    @property
    def is_poor(self) -> bool:
        """Whether a relay serves better."""
        return self.fault is not None or self.is_refused

    @property
    def loss(self) -> float | None:
        """The part of the data sent that was lost; ``None`` if too little was sent."""
        batches = sum(window[0] for window in self._windows)
        sent = sum(window[1] for window in self._windows)
        if batches < MEASURED or not sent:
            return None
        received = sum(window[2] for window in self._windows)
        return max(0.0, 1.0 - received / sent)

    @property
    def has_baseline(self) -> bool:
        """Whether the next report tells what became of what is sent now."""
        return self._before is not None

    @property
    def is_losing(self) -> bool:
        """Whether the last report told of nothing but losses: the next is wanted."""
        return self.fault is None and self._lost_reports > 0

    def judge(
        self, sent_at: float, sent: Amount, report: DeliveryReport, now: float
    ) -> None:
        """Take the answer to a check.

        :param sent_at: when the check was sent.
        :param sent: what had been sent by then.
        :param report: what had arrived when the check did.
        """
        before = self._before
        if before is not None and sent_at <= before[0]:
            return
        self._before = sent_at, sent, report
        if before is None:
            return
        said, went = before[2], before[1]
        initiations = (report.initiations - said.initiations) % HANDSHAKES_MODULUS
        responses = (report.responses - said.responses) % HANDSHAKES_MODULUS
        data = (report.data - said.data) % DATA_MODULUS
        if max(initiations, responses) >= HANDSHAKES_MODULUS // 2 or (
            data >= DATA_MODULUS // 2
        ):
            # The peer has begun to count anew.
            self._forget_losses()
            return
        self._judge_handshakes(
            (sent.initiations - went.initiations, initiations),
            (sent.responses - went.responses, responses),
            now,
        )
        if report.is_strange and not data:
            # What arrives is of a session that the peer has lost.
            self._lost_batches = self._lost_reports = 0
            return
        batches = sent.batches - went.batches
        self._windows.append((batches, sent.data - went.data, data))
        self._judge_data(batches, data, now)

    def accuse(self, fault: Fault, now: float, retry_in: float | None = None) -> None:
        """Note a fault.

        :param retry_in: seconds to the first probe, if it is only a suspicion.
        """
        if self.fault is None and now >= self._mended_at + FORGIVENESS:
            self._failures = 0
        self.fault = fault
        self._forget_losses()
        if retry_in is None:
            self.plan_retry(now)
        else:
            self.retry_at = now + retry_in

    def plan_retry(self, now: float) -> None:
        """Plan the next probe, after a fault or because of a probe that is sent now."""
        self.retry_at = now + RETRIES[min(self._failures, len(RETRIES) - 1)]
        self._failures += 1

    def pardon(self, now: float) -> None:
        """Use the path again without a proof: nobody can give one."""
        self.plan_retry(now)
        self.fault = None
        self.retry_at = float("inf")
        self._mended_at = now

    def forget(self) -> None:
        """Forget all: the network is another one."""
        self.fault = None
        self.is_refused = False
        self.retry_at = float("inf")
        self._failures = 0
        self.forget_losses()

    def forget_losses(self) -> None:
        """Forget what was lost: that was in an outage."""
        self._before = None
        self._windows.clear()
        self._forget_losses()

    def _judge_handshakes(
        self, initiations: tuple[int, int], responses: tuple[int, int], now: float
    ) -> None:
        """Judge how many were sent, and how many of them arrived."""
        if initiations[1] or responses[1]:
            self._carried(Fault.HANDSHAKES, now)
        self._lost_initiations = _lost(self._lost_initiations, *initiations)
        self._lost_responses = _lost(self._lost_responses, *responses)
        most = max(self._lost_initiations, self._lost_responses)
        if self.fault is None and most >= LOST_HANDSHAKES:
            self.accuse(Fault.HANDSHAKES, now)

    def _judge_data(self, batches: int, received: int, now: float) -> None:
        if received:
            self._lost_batches = self._lost_reports = 0
            self._carried(Fault.DATA, now)
            return
        if not batches:
            return
        self._lost_since = self._lost_since if self._lost_reports else now
        self._lost_reports += 1
        self._lost_batches += batches
        wanted = 2 if now >= self._lost_since + SILENCE else LOST_BATCHES
        if (
            self.fault is None
            and self._lost_reports >= LOST_REPORTS
            and self._lost_batches >= wanted
        ):
            self.accuse(Fault.DATA, now)

    def _carried(self, what: Fault, now: float) -> None:
        self.carried_at = now
        if self.fault is what:
            self.fault = None
            self.retry_at = float("inf")
            self._mended_at = now

    def _forget_losses(self) -> None:
        self._lost_initiations = self._lost_responses = 0
        self._lost_batches = self._lost_reports = 0
        self._lost_since = 0.0


def _lost(before: int, sent: int, arrived: int) -> int:
    """Return how many in a row were lost by now."""
    return 0 if arrived else before + sent
