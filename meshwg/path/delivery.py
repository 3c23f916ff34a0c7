"""Sees to it that the tunnel's messages reach one peer, and not only the checks.

It counts them (:mod:`meshwg.path.tally`), exchanges the counts with the peer in checks
and answers (:mod:`meshwg.path.report`), judges paths by them
(:mod:`meshwg.path.carriage`), and has handshakes begun anew that were sent in vain
(:mod:`meshwg.path.handshaking`).

Where one direct path has a fault, the others are likely to have the same, and are used
when a probe has arrived. Probes are few, whatever the peer answers and drops.
"""

from collections import deque
from collections.abc import Iterator

from meshwg.path.candidate import CandidateKind
from meshwg.path.carriage import Fault
from meshwg.path.check import Answered
from meshwg.path.events import (
    Attempt,
    AttemptResult,
    Event,
    HandshakeOverdue,
    ProbeWanted,
)
from meshwg.path.handshaking import CHECK_AFTER, Handshaking
from meshwg.path.path import Path
from meshwg.path.report import DeliveryReport
from meshwg.path.table import PathTable
from meshwg.path.tally import Tally
from meshwg.transmit import UDP, Endpoint

LOOK_AGAIN = 0.5
"""Seconds from a report of losses to the check that brings the next one."""

RECENTLY = 15.0
"""Seconds for which a report that something has arrived clears a path."""

PROBE_BURST = 3
"""Probes at once: of the paths that there are besides one with a fault."""

PROBE_INTERVAL = 60.0
"""Seconds between two probes in the long run."""

_WHAT = {Fault.DATA: "packets", Fault.HANDSHAKES: "handshakes"}


class Delivery:
    """The tunnel's messages on the paths to one peer.

    :param events: where probes and handshakes are asked for.
    :param leads: whether this side is the first of two to begin handshakes anew.
    :ivar notes: of faults and their ends, for the parent to take.
    """

    def __init__(
        self, table: PathTable, events: deque[Event], *, leads: bool = True
    ) -> None:
        self.tally = Tally()
        self.notes: list[Attempt] = []
        self._table = table
        self._events = events
        self._handshaking = Handshaking(leads=leads)
        self._peer_reports = False
        self._probes = float(PROBE_BURST)
        self._probed_at = 0.0

    # What is told, and heard.

    def report_on(self, endpoint: Endpoint, *, answers: bool = False) -> DeliveryReport:
        """Return what to tell the peer about the way from there.

        :param answers: whether it goes into an answer.
        """
        path, received = (
            self._table.find(endpoint),
            self.tally.received.amount(endpoint),
        )
        return DeliveryReport.of(
            received,
            refuses=path is not None and self._is_refused(path),
            is_strange=answers and self.tally.take_strange(endpoint),
        )

    def asked(self, source: Endpoint, report: DeliveryReport | None) -> None:
        """Take what the peer says in a check."""
        path = self._table.find(source)
        if report is not None and path is not None:
            path.carriage.is_refused = report.refuses

    def answered(self, path: Path, outcome: Answered, now: float) -> None:
        """Take what the peer says in the answer to a check of a path."""
        check, report, carriage = outcome.check, outcome.report, path.carriage
        self._handshaking.checked(check.sent_at, self._round_trip(), now)
        if report is None:
            return
        self._peer_reports = True
        before = carriage.fault
        carriage.judge(check.sent_at, check.sent, report, now)
        carriage.is_refused = report.refuses
        if carriage.is_losing:
            path.check_by(now + LOOK_AGAIN)
        if carriage.fault is before:
            return
        if carriage.fault is not None:
            self._accused(path, carriage.fault, now)
        elif before is not None:
            self._mended(path, before, now)

    def proven(self, path: Path, now: float) -> None:
        """Take note of a path that is new, or works again."""
        if path.carriage.fault is None:
            others = (other.carriage.fault for other in self._like(path))
            fault = next((one for one in others if one is not None), None)
            if fault is not None:
                path.carriage.accuse(fault, now, retry_in=0.0)

    def handshake_sent(
        self, endpoint: Endpoint, is_initiation: bool, is_copied: bool, now: float
    ) -> None:
        """Note that a handshake message goes to where the peer is.

        :param is_copied: whether it goes to another endpoint as well.
        """
        if not is_copied:
            self.tally.sent.add_handshake(endpoint, is_initiation=is_initiation)
        path = self._table.find(endpoint)
        if path is not None:
            path.check_by(now + CHECK_AFTER)
        if not is_initiation:
            return
        self._handshaking.sent(now)
        selected = self._relied_on(now)
        if selected is not None and self._handshaking.is_unanswered(now):
            self._accuse(selected, Fault.HANDSHAKES, now)

    def handshake_answered(self) -> None:
        """Note that the peer has answered an initiation."""
        self._handshaking.answered()

    def handshake_crossed(self, now: float) -> None:
        """Note that the peer's own initiation has been answered."""
        self._handshaking.crossed(self._round_trip(), now)

    def unanswered(self, now: float) -> None:
        """Take note that WireGuard has waited in vain for an answer to data."""
        selected = self._relied_on(now)
        if selected is not None and now >= selected.carriage.carried_at + RECENTLY:
            self._accuse(selected, Fault.DATA, now)

    def moved(self, now: float) -> None:
        """Take note that messages go another way from now on."""
        selected = self._table.selected
        if selected is not None and selected.is_trusted(now):
            self._handshaking.moved(self._round_trip(), now)

    def forget(self) -> None:
        """Forget all faults: the network is another one."""
        for path in self._table:
            path.carriage.forget()

    # Time

    def handle_timer(self, now: float, active: bool) -> None:
        """Do what is due."""
        if self._handshaking.take_due(now):
            self._events.append(HandshakeOverdue())
        if active:
            for path in list(self._table.direct()):
                if path.carriage.fault is not None and path.carriage.retry_at <= now:
                    self._retry(path, path.carriage.fault, now)

    def get_timer(self, active: bool) -> float | None:
        """Return when to call :meth:`handle_timer`."""
        due = self._handshaking.get_timer()
        retry = self.next_at if active else None
        return min((one for one in (due, retry) if one is not None), default=None)

    @property
    def next_at(self) -> float | None:
        """When a path with a fault is probed next."""
        times = (
            path.carriage.retry_at
            for path in self._table.direct()
            if path.carriage.fault is not None and path.is_proven
        )
        return min(times, default=None)

    # Faults

    def _accuse(self, path: Path, fault: Fault, now: float) -> None:
        if path.carriage.fault is None:
            path.carriage.accuse(fault, now)
            self._accused(path, fault, now)

    def _accused(self, path: Path, fault: Fault, now: float) -> None:
        """Draw the conclusions of a fault that was found."""
        if path.is_relayed:
            return
        detail = f"checks are answered, but the tunnel's {_WHAT[fault]} do not arrive"
        self._note(path.kind, AttemptResult.LOST, detail, now)
        for other in self._like(path):
            carriage = other.carriage
            is_clear = now < carriage.carried_at + RECENTLY
            if other.is_proven and carriage.fault is None and not is_clear:
                carriage.accuse(fault, now, retry_in=0.0)
        # This check tells the peer.
        path.check_by(now)
        if self._table.relay is not None:
            self._table.relay.check_by(now)
        if self._handshaking.is_pending:
            self._events.append(HandshakeOverdue())

    def _like(self, path: Path) -> Iterator[Path]:
        """Yield the direct paths on which the same boxes may be: datagrams or streams.

        A relay has none.
        """
        if not path.is_relayed:
            is_stream = path.endpoint.link < UDP
            for other in self._table.direct():
                if (other.endpoint.link < UDP) == is_stream:
                    yield other

    def _mended(self, path: Path, fault: Fault, now: float) -> None:
        if not path.is_relayed:
            detail = f"the tunnel's {_WHAT[fault]} arrive"
            self._note(path.kind, AttemptResult.OK, detail, now)
            path.check_by(now)

    def _retry(self, path: Path, fault: Fault, now: float) -> None:
        """Send one message by a path with a fault, and see whether it arrives."""
        carriage = path.carriage
        if not path.has_consent(now) or path.is_doubted(now):
            carriage.retry_at = now + PROBE_INTERVAL
        elif not self._peer_reports:
            carriage.pardon(now)
        elif not carriage.has_baseline:
            path.check_by(now)
            carriage.retry_at = now + LOOK_AGAIN
        elif not self._may_probe(now):
            carriage.retry_at = now + PROBE_INTERVAL
        else:
            carriage.plan_retry(now)
            path.check_by(now + CHECK_AFTER)
            is_handshake = fault is Fault.HANDSHAKES
            self._events.append(ProbeWanted(path.endpoint, is_handshake))

    def _may_probe(self, now: float) -> bool:
        gained = (now - self._probed_at) / PROBE_INTERVAL
        self._probes = min(PROBE_BURST, self._probes + gained)
        self._probed_at = now
        if self._probes < 1:
            return False
        self._probes -= 1
        return True

    def _is_refused(self, path: Path) -> bool:
        return path.carriage.fault is not None and path is not self._table.selected

    def _relied_on(self, now: float) -> Path | None:
        """Return the direct path that data goes by and that answers checks."""
        selected = self._table.selected
        if selected is None or selected.is_relayed or not selected.is_trusted(now):
            return None
        return selected

    def _round_trip(self) -> float:
        """Return the seconds that an answer may take, by whichever path."""
        paths = (self._table.selected, self._table.relay)
        times = (path.statistics.rtt or 0.0 for path in paths if path is not None)
        return max(times, default=0.0)

    def _note(
        self, kind: CandidateKind, result: AttemptResult, detail: str, now: float
    ) -> None:
        self.notes.append(Attempt(now, kind.value, result, detail))
