"""Sends the checks for one peer, as far as the addresses deserve them."""

from meshwg.path.candidate import CandidateKind
from meshwg.path.check import CheckDrop, Checks
from meshwg.path.delivery import Delivery
from meshwg.path.ledger import Ledger
from meshwg.path.path import TRIGGERED_BURST, Path
from meshwg.path.table import PathTable
from meshwg.transmit import FIRST_LINK, UDP, Endpoint, Transmit


class Checker:
    """Checks the paths of a table.

    :ivar transmits: what is to be sent, for the parent to take.
    """

    def __init__(
        self, checks: Checks, ledger: Ledger, table: PathTable, delivery: Delivery
    ) -> None:
        self.transmits: list[Transmit] = []
        self._checks = checks
        self._ledger = ledger
        self._table = table
        self._delivery = delivery

    def check(self, path: Path, now: float, *, ttl: int | None = None) -> None:
        """Send one check, unless too much went to an unconfirmed address already."""
        endpoint = path.endpoint
        is_own = path.kind is CandidateKind.HOST
        if not path.is_relayed and not self._ledger.charge(
            endpoint.host, now, is_own=is_own
        ):
            self._checks.drops[CheckDrop.OVER_BUDGET] += 1
            path.rest()
            return
        counts = path.is_trusted(now)
        check = self._checks.ask(
            endpoint,
            path.kind,
            now,
            counts=counts,
            sent=self._delivery.tally.sent.amount(endpoint),
            report=self._delivery.report_on(endpoint),
        )
        self.transmits.append(Transmit(endpoint, [check], ttl))

    def probe(self, path: Path, now: float) -> None:
        """Send the padded checks that find out what length the path carries."""
        for size in path.longest.take_due(now):
            check = self._checks.ask(path.endpoint, path.kind, now, size=size)
            self.transmits.append(Transmit(path.endpoint, [check]))

    def learn(self, source: Endpoint, kind: CandidateKind, now: float) -> None:
        """Check back at once where an authentic packet came from (RFC 8445 7.3.1.4).

        A path that is known to work needs none. What comes from another address
        through the relay is the relay's business.

        :param kind: what a path to an address that is new is called.
        """
        path, relay = self._table.find(source), self._table.relay
        if path is None:
            is_other_relay = source.link >= FIRST_LINK
            is_relay = relay is not None and source.link == relay.endpoint.link != UDP
            if is_relay or is_other_relay:
                return
            if not self._ledger.may_learn(now):
                self._checks.drops[CheckDrop.OVERLEARNT] += 1
                return
            path = self._table.add(source, kind)
            self._checks.change_tag()
        elif path.is_trusted(now):
            return
        if path.due is None:
            path.burst(now, TRIGGERED_BURST)
        else:
            path.check_by(now)
        if path.take_due(now):
            self.check(path, now)

    def handle_timer(self, now: float) -> None:
        """Count the checks that were lost, and send those that are due."""
        for check in self._checks.expire(now):
            path = self._table.find(check.endpoint)
            if path is not None and check.counts and check.sent_at > path.counted_from:
                path.statistics.add_loss()
        for path in list(self._table):
            if path.take_due(now):
                self.check(path, now)
        if self._table.selected is not None:
            self.probe(self._table.selected, now)
