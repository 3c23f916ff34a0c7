"""Checks go where they are deserved, and what is learnt is checked back."""

import random
from collections import deque

from meshwg.path.candidate import CandidateKind
from meshwg.path.check import CHECK_TIMEOUT, CheckDrop, Checks
from meshwg.path.checker import Checker
from meshwg.path.delivery import Delivery
from meshwg.path.ledger import HOST_LIMIT, LEARN_LIMIT, Ledger
from meshwg.path.table import PathTable
from meshwg.transmit import Endpoint
from tests.path.stage import HIGH, LOW, keys_of

NOW = 1000.0
FAR = Endpoint("203.0.113.2", 2222)
RELAY = Endpoint("198.51.100.9", 50000, 1)


def test_an_unconfirmed_address_gets_few_checks_and_its_path_rests() -> None:
    stage = Stage()
    path = stage.table.add(FAR, CandidateKind.REFLEXIVE)
    path.burst(NOW)
    for _ in range(HOST_LIMIT + 5):
        stage.checker.check(path, NOW)
    assert len(stage.checker.transmits) == HOST_LIMIT
    assert stage.checks.drops == {CheckDrop.OVER_BUDGET: 5}
    assert path.due is None


def test_a_check_lost_in_an_outage_does_not_count_against_the_path_after_it() -> None:
    stage = Stage()
    path = stage.table.add(FAR, CandidateKind.REFLEXIVE)
    path.answered(FAR, 0.05, NOW)
    for after in (0.0, 0.5, 1.0):
        path.check_by(NOW + after)
        stage.checker.handle_timer(NOW + after)
    path.answered(FAR, 0.05, NOW + 2.0)
    stage.checker.handle_timer(NOW + 2.0 + CHECK_TIMEOUT)
    assert path.statistics.loss == 0


def test_a_relay_and_a_confirmed_address_get_all_they_need() -> None:
    stage = Stage()
    stage.table.set_relay(RELAY, NOW)
    stage.ledger.confirm([FAR.host])
    relay, direct = stage.table.relay, stage.table.add(FAR, CandidateKind.REFLEXIVE)
    assert relay is not None
    for path in (relay, direct) * (HOST_LIMIT + 5):
        stage.checker.check(path, NOW)
    assert stage.checks.drops == {}


def test_the_source_of_an_authentic_packet_is_checked_back_at_once() -> None:
    stage = Stage()
    stage.checker.learn(FAR, CandidateKind.PEER_REFLEXIVE, NOW)
    (check,) = stage.checker.transmits
    path = stage.table.find(FAR)
    assert check.destination == FAR
    assert path is not None
    assert path.kind is CandidateKind.PEER_REFLEXIVE
    assert path.due is not None


def test_a_path_that_works_is_not_checked_for_every_packet() -> None:
    stage = Stage()
    path = stage.table.add(FAR, CandidateKind.HOST)
    path.answered(FAR, 0.01, NOW)
    stage.checker.learn(FAR, CandidateKind.PEER_REFLEXIVE, NOW)
    assert stage.checker.transmits == []


def test_another_address_behind_the_relay_is_ignored() -> None:
    stage = Stage()
    stage.table.set_relay(RELAY, NOW)
    other = RELAY._replace(host="198.51.100.77")
    stage.checker.learn(other, CandidateKind.PEER_REFLEXIVE, NOW)
    assert stage.table.find(other) is None


def test_the_number_of_addresses_learnt_is_limited() -> None:
    stage = Stage()
    for port in range(LEARN_LIMIT + 3):
        stage.checker.learn(
            FAR._replace(port=port + 1), CandidateKind.PEER_REFLEXIVE, NOW
        )
    assert stage.checks.drops[CheckDrop.OVERLEARNT] == 3


def test_a_lost_check_counts_only_on_a_path_that_worked() -> None:
    stage = Stage()
    path = stage.table.add(FAR, CandidateKind.HOST)
    stage.checker.check(path, NOW)
    path.answered(FAR, 0.01, NOW)
    stage.checker.handle_timer(NOW + CHECK_TIMEOUT)
    assert path.statistics.loss == 0
    stage.checker.check(path, NOW)
    stage.checker.handle_timer(NOW + CHECK_TIMEOUT)
    assert path.statistics.loss > 0


def test_what_length_passes_is_found_on_the_selected_path_only() -> None:
    stage = Stage()
    for port in (1, 2):
        path = stage.table.add(FAR._replace(port=port), CandidateKind.HOST)
        path.longest.look(1452, NOW)
        stage.table.selected = path
    stage.checker.handle_timer(NOW)
    (transmit,) = stage.checker.transmits
    assert transmit.destination == FAR._replace(port=2)
    assert len(transmit.datagrams[0]) == 1452
    stage.checker.transmits.clear()
    stage.checker.handle_timer(NOW + CHECK_TIMEOUT)
    assert stage.table.selected is not None
    assert stage.table.selected.statistics.loss == 0, "it was only too long"


class Stage:
    """A checker with what it works on."""

    def __init__(self) -> None:
        self.checks = Checks(keys_of(LOW, HIGH), random.Random(1).randbytes)
        self.ledger, self.table = Ledger(), PathTable()
        delivery = Delivery(self.table, deque())
        self.checker = Checker(self.checks, self.ledger, self.table, delivery)
