"""Faults, probes and handshakes of the paths to one peer."""

from collections import deque

from meshwg.path.candidate import CandidateKind
from meshwg.path.carriage import LOST_BATCHES, RETRIES, Fault
from meshwg.path.check import Answered, Check
from meshwg.path.delivery import (
    PROBE_BURST,
    PROBE_INTERVAL,
    RECENTLY,
    Delivery,
)
from meshwg.path.events import AttemptResult, Event, HandshakeOverdue, ProbeWanted
from meshwg.path.handshaking import CHECK_AFTER, REKEY_UNANSWERED
from meshwg.path.path import Path
from meshwg.path.report import DeliveryReport
from meshwg.path.table import PathTable
from meshwg.transmit import Endpoint

RELAY = Endpoint("198.51.100.1", 50000, 1)
FAR = Endpoint("203.0.113.1", 1111)
NEAR = Endpoint("192.168.1.2", 1111)


def test_a_path_that_carries_nothing_is_left_for_the_relay() -> None:
    stage = Stage()
    stage.lose_data(FAR)
    assert stage.path(FAR).carriage.fault is Fault.DATA
    assert stage.table.endpoints(stage.now) == (RELAY,)
    (note,) = stage.delivery.notes
    assert note.result is AttemptResult.LOST
    assert "checks are answered" in note.detail


def test_the_peer_is_told_at_once_and_believed() -> None:
    stage = Stage()
    stage.lose_data(FAR)
    assert stage.path(FAR).due == stage.now
    assert stage.delivery.report_on(FAR).refuses
    other = Stage()
    other.delivery.asked(FAR, DeliveryReport(0, 0, 0, refuses=True))
    other.table.reselect(other.now, active=True)
    assert other.table.endpoints(other.now) == (RELAY,)
    other.delivery.asked(FAR, DeliveryReport(0, 0, 0))
    other.table.reselect(other.now, active=True)
    assert other.table.endpoints(other.now) == (FAR,)


def test_other_direct_paths_have_to_prove_themselves_first() -> None:
    stage = Stage(FAR, NEAR)
    stage.lose_data(FAR)
    assert stage.path(NEAR).carriage.fault is Fault.DATA
    stage.answer(NEAR)
    stage.wake()
    assert stage.probes() == [ProbeWanted(NEAR, handshake=False)]
    stage.send(NEAR, arrived=True)
    assert stage.table.endpoints(stage.now) == (NEAR,)


def test_a_path_that_has_just_carried_data_is_not_suspected() -> None:
    stage = Stage(FAR, NEAR)
    stage.send(NEAR, arrived=True)
    stage.lose_data(FAR)
    assert stage.path(NEAR).carriage.fault is None


def test_a_new_path_beside_one_with_a_fault_has_to_prove_itself() -> None:
    stage = Stage()
    stage.lose_data(FAR)
    new = stage.table.add(NEAR, CandidateKind.HOST)
    stage.delivery.proven(new, stage.now)
    assert new.carriage.fault is Fault.DATA


def test_a_stream_is_not_suspected_of_what_is_done_to_datagrams() -> None:
    stage = Stage(FAR, FAR._replace(link=-1))
    stage.lose_data(FAR)
    assert stage.path(FAR._replace(link=-1)).carriage.fault is None


def test_a_fault_is_probed_after_a_minute_with_one_message() -> None:
    stage = Stage()
    stage.lose_data(FAR)
    due = stage.path(FAR).carriage.retry_at
    assert stage.delivery.get_timer(active=True) == due
    assert stage.delivery.get_timer(active=False) is None
    stage.wake()
    assert stage.probes() == []
    stage.keep_alive(until=due)
    stage.wake()
    assert stage.probes() == [ProbeWanted(FAR, handshake=False)]
    assert stage.path(FAR).due == stage.now + CHECK_AFTER


def test_probes_are_few_whatever_the_peer_does() -> None:
    stage = Stage()
    begin = stage.now
    probes = 0
    while stage.now < begin + 3600.0:
        stage.lose_data(FAR)
        stage.path(FAR).carriage.retry_at = stage.now
        stage.wake()
        probes += len(stage.probes())
        stage.send(FAR, arrived=True)
    assert probes <= PROBE_BURST + 3600.0 / PROBE_INTERVAL


def test_an_old_peer_that_cannot_tell_is_tried_with_the_traffic() -> None:
    stage = Stage(reports=False)
    stage.delivery.unanswered(stage.now)
    assert stage.path(FAR).carriage.fault is Fault.DATA
    stage.keep_alive(until=stage.now + RETRIES[0])
    stage.wake()
    assert stage.path(FAR).carriage.fault is None
    assert stage.probes() == []


def test_data_that_wireguard_finds_unanswered_is_a_fault_unless_it_arrived() -> None:
    stage = Stage()
    stage.send(FAR, arrived=True)
    stage.delivery.unanswered(stage.now)
    assert stage.path(FAR).carriage.fault is None
    stage.keep_alive(until=stage.now + RECENTLY)
    stage.delivery.unanswered(stage.now)
    assert stage.path(FAR).carriage.fault is Fault.DATA


def test_handshakes_that_wireguard_repeats_in_vain_are_a_fault() -> None:
    stage = Stage(reports=False)
    begin = stage.now
    for after in (0.0, 5.1, 10.2):
        stage.keep_alive(until=begin + after)
        stage.delivery.handshake_sent(FAR, True, False, begin + after)
    assert after > REKEY_UNANSWERED
    assert stage.path(FAR).carriage.fault is Fault.HANDSHAKES
    assert HandshakeOverdue() in stage.events, "it goes another way"


def test_a_response_is_not_waited_for_an_answer() -> None:
    stage = Stage()
    stage.delivery.handshake_sent(FAR, False, False, stage.now)
    stage.answer(FAR)
    assert stage.delivery.get_timer(active=True) is None


def test_the_path_of_a_handshake_is_checked_soon() -> None:
    stage = Stage()
    stage.delivery.handshake_sent(FAR, True, False, stage.now)
    assert stage.path(FAR).due == stage.now + CHECK_AFTER


def test_a_handshake_in_vain_is_begun_anew() -> None:
    stage = Stage()
    stage.delivery.handshake_sent(FAR, True, False, stage.now)
    stage.answer(FAR)
    due = stage.delivery.get_timer(active=False)
    assert due is not None
    stage.delivery.handle_timer(due, active=False)
    assert list(stage.events) == [HandshakeOverdue()]


def test_a_handshake_that_was_answered_is_left_alone() -> None:
    stage = Stage()
    stage.delivery.handshake_sent(FAR, True, False, stage.now)
    stage.delivery.handshake_answered()
    stage.answer(FAR)
    assert stage.delivery.get_timer(active=True) is None


def test_another_network_ends_all_faults() -> None:
    stage = Stage()
    stage.lose_data(FAR)
    stage.delivery.forget()
    assert stage.path(FAR).carriage.fault is None
    assert stage.delivery.next_at is None


def test_without_a_relay_the_path_stays_in_use() -> None:
    stage = Stage(relay=False)
    stage.lose_data(FAR)
    assert stage.table.endpoints(stage.now) == (FAR,)
    assert not stage.delivery.report_on(FAR).refuses


class Stage:
    """Paths that answer each of their checks.

    :param reports: whether the peer says what has arrived.
    """

    def __init__(
        self, *ends: Endpoint, relay: bool = True, reports: bool = True
    ) -> None:
        self.now = 1000.0
        self.events: deque[Event] = deque()
        self.table = PathTable()
        self.delivery = Delivery(self.table, self.events)
        self.reports = reports
        self._arrived: dict[Endpoint, int] = {}
        self._ends = list(ends or (FAR,))
        if relay:
            self.table.set_relay(RELAY, self.now)
            self._ends.append(RELAY)
        for end in self._ends:
            kind = CandidateKind.RELAYED if end == RELAY else CandidateKind.REFLEXIVE
            self.table.add(end, kind).answered(end, 0.01, self.now)
            self.answer(end)

    def path(self, end: Endpoint) -> Path:
        path = self.table.find(end)
        assert path is not None
        return path

    def answer(self, end: Endpoint) -> None:
        """Let a check be answered."""
        self.now += 0.5
        path = self.path(end)
        sent = self.delivery.tally.sent.amount(end)
        check = Check(end, path.kind, self.now - 0.01, counts=True, sent=sent)
        told = DeliveryReport(0, 0, self._arrived.get(end, 0)) if self.reports else None
        path.answered(end, 0.01, self.now)
        self.delivery.answered(path, Answered(check, end, 0.01, told), self.now)
        self.table.reselect(self.now, active=True)

    def send(self, end: Endpoint, *, arrived: bool) -> None:
        self.delivery.tally.sent.add_data(end, 100)
        self._arrived[end] = self._arrived.get(end, 0) + 100 * arrived
        self.answer(end)

    def lose_data(self, end: Endpoint) -> None:
        for _ in range(LOST_BATCHES):
            self.send(end, arrived=False)

    def keep_alive(self, until: float) -> None:
        """Let checks of all paths be answered."""
        while self.now < until:
            self.now = min(until, self.now + 5.0)
            for end in self._ends:
                self.path(end).answered(end, 0.01, self.now)
        self.table.reselect(self.now, active=True)

    def wake(self) -> None:
        self.delivery.handle_timer(self.now, active=True)

    def probes(self) -> list[Event]:
        probes = [each for each in self.events if isinstance(each, ProbeWanted)]
        self.events.clear()
        return list(probes)
