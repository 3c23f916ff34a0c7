"""Whether a path carries the tunnel's messages."""

import pytest

from meshwg.path.carriage import (
    FORGIVENESS,
    LOST_BATCHES,
    LOST_HANDSHAKES,
    RETRIES,
    SILENCE,
    Carriage,
    Fault,
)
from meshwg.path.report import DeliveryReport
from meshwg.path.tally import Amount

SIZE = 128
"""Bytes of each data message."""


def test_a_path_without_messages_has_no_fault() -> None:
    line = Line()
    for _ in range(20):
        line.report()
    assert line.carriage.fault is None
    assert line.carriage.loss is None


def test_data_of_which_nothing_arrives_is_a_fault() -> None:
    line = Line()
    line.send(LOST_BATCHES, arrived=0)
    assert line.carriage.is_losing, "one report may be too early"
    line.send(1, arrived=0)
    assert line.carriage.fault is Fault.DATA
    assert line.carriage.is_poor
    assert line.carriage.retry_at == line.now + RETRIES[0]


def test_a_few_lost_messages_are_no_fault_until_fifteen_seconds_have_passed() -> None:
    line = Line()
    line.send(1, arrived=0)
    line.send(1, arrived=0)
    assert line.carriage.fault is None
    line.now += SILENCE
    line.send(1, arrived=0)
    assert line.carriage.fault is Fault.DATA


def test_one_message_that_arrives_makes_all_good() -> None:
    line = Line()
    for _ in range(50):
        line.send(LOST_BATCHES, arrived=0)
        line.send(LOST_BATCHES, arrived=1)
    assert line.carriage.fault is None


def test_what_is_told_late_is_not_counted_twice() -> None:
    line = Line()
    line.send(3, arrived=0)
    late = DeliveryReport(0, 0, 10 * SIZE)
    line.carriage.judge(line.now - 1, Amount(), late, line.now)
    line.send(3, arrived=0)
    assert line.carriage.fault is Fault.DATA


@pytest.mark.parametrize("is_initiation", [True, False])
def test_three_handshake_messages_in_a_row_that_are_lost_are_a_fault(
    is_initiation: bool,
) -> None:
    line = Line()
    for _ in range(LOST_HANDSHAKES - 1):
        line.shake_hands(is_initiation, arrived=False)
    assert line.carriage.fault is None
    line.shake_hands(is_initiation, arrived=False)
    assert line.carriage.fault is Fault.HANDSHAKES


def test_initiations_that_arrive_do_not_hide_that_responses_are_lost() -> None:
    line = Line()
    for _ in range(LOST_HANDSHAKES):
        line.shake_hands(True, arrived=True)
        line.shake_hands(False, arrived=False)
    assert line.carriage.fault is Fault.HANDSHAKES


def test_handshakes_that_arrive_in_between_are_no_fault() -> None:
    line = Line()
    for _ in range(20):
        line.shake_hands(True, arrived=False)
        line.shake_hands(True, arrived=True)
    assert line.carriage.fault is None


def test_a_probe_that_arrives_ends_the_fault() -> None:
    line = Line.faulty()
    line.send(1, arrived=1)
    assert line.carriage.fault is None
    assert line.carriage.retry_at == float("inf")
    assert line.carriage.carried_at == line.now


def test_data_does_not_end_a_fault_of_handshakes() -> None:
    line = Line()
    for _ in range(LOST_HANDSHAKES):
        line.shake_hands(True, arrived=False)
    line.send(5, arrived=5)
    assert line.carriage.fault is Fault.HANDSHAKES
    line.shake_hands(True, arrived=True)
    assert line.carriage.fault is None


def test_probes_become_rarer() -> None:
    line = Line.faulty()
    gaps = []
    for _ in range(len(RETRIES) + 1):
        line.now = line.carriage.retry_at
        line.carriage.plan_retry(line.now)
        line.send(1, arrived=0)
        gaps.append(line.carriage.retry_at - line.now + 1)
    assert gaps == pytest.approx([*RETRIES[1:], RETRIES[-1], RETRIES[-1]])


def test_a_fault_that_comes_back_soon_is_not_the_first() -> None:
    line = Line.faulty()
    line.send(1, arrived=1)
    line.send(LOST_BATCHES, arrived=0)
    line.send(1, arrived=0)
    assert line.carriage.retry_at == line.now + RETRIES[1]


def test_a_fault_after_a_long_time_is_like_the_first() -> None:
    line = Line.faulty()
    line.send(1, arrived=1)
    line.now += FORGIVENESS
    line.send(LOST_BATCHES, arrived=0)
    line.send(1, arrived=0)
    assert line.carriage.retry_at == line.now + RETRIES[0]


def test_a_peer_that_counts_anew_is_not_misunderstood() -> None:
    line = Line()
    line.send(100, arrived=100)
    line.received = Amount()
    for _ in range(3):
        line.send(LOST_BATCHES, arrived=1)
    assert line.carriage.fault is None


def test_counts_that_run_over_are_understood() -> None:
    line = Line()
    line.received = Amount(255, 255, 0, 2**32 - 1)
    line.sent = line.received
    line.report()
    for _ in range(3):
        line.send(LOST_BATCHES, arrived=LOST_BATCHES)
    assert line.carriage.fault is None
    assert line.carriage.loss == 0


def test_a_peer_that_lost_its_session_says_so_and_the_path_is_not_blamed() -> None:
    line = Line()
    for _ in range(5):
        line.send(LOST_BATCHES, arrived=0, is_strange=True)
    assert line.carriage.fault is None


def test_strange_data_beside_what_is_understood_does_not_hide_that() -> None:
    line = Line.faulty()
    line.send(2, arrived=1, is_strange=True)
    assert line.carriage.fault is None


def test_the_loss_is_that_of_data() -> None:
    line = Line()
    line.send(3, arrived=3)
    assert line.carriage.loss is None, "too little to tell"
    for _ in range(5):
        line.send(10, arrived=8)
    assert line.carriage.loss == pytest.approx(10 / 53)


def test_copies_that_arrive_make_no_negative_loss() -> None:
    line = Line()
    line.send(10, arrived=20)
    assert line.carriage.loss == 0


def test_another_network_is_judged_anew() -> None:
    line = Line.faulty()
    line.carriage.is_refused = True
    line.carriage.forget()
    assert not line.carriage.is_poor
    assert not line.carriage.has_baseline


def test_where_nobody_can_prove_anything_the_path_is_tried_and_then_rarely() -> None:
    carriage = Carriage()
    carriage.accuse(Fault.DATA, 1000.0)
    carriage.pardon(carriage.retry_at)
    assert carriage.fault is None
    carriage.accuse(Fault.DATA, 1100.0)
    assert carriage.retry_at == 1100.0 + RETRIES[2]


class Line:
    """A path that is checked once a second, and what goes over it."""

    def __init__(self) -> None:
        self.carriage = Carriage()
        self.now = 1000.0
        self.sent = Amount()
        self.received = Amount()
        self.report()

    @classmethod
    def faulty(cls) -> "Line":
        line = cls()
        line.send(LOST_BATCHES, arrived=0)
        line.send(1, arrived=0)
        return line

    def send(self, batches: int, *, arrived: int, is_strange: bool = False) -> None:
        self.sent = _more(self.sent, batches=batches)
        self.received = _more(self.received, batches=arrived)
        self.report(is_strange)

    def shake_hands(self, is_initiation: bool, *, arrived: bool) -> None:
        kind = "initiations" if is_initiation else "responses"
        self.sent = _more(self.sent, **{kind: 1})
        self.received = _more(self.received, **{kind: int(arrived)})
        self.report()

    def report(self, is_strange: bool = False) -> None:
        self.now += 1.0
        said = DeliveryReport.of(self.received, refuses=False, is_strange=is_strange)
        self.carriage.judge(self.now - 0.05, self.sent, said, self.now)


def _more(
    amount: Amount, initiations: int = 0, responses: int = 0, batches: int = 0
) -> Amount:
    return Amount(
        amount.initiations + initiations,
        amount.responses + responses,
        amount.batches + batches,
        amount.data + batches * SIZE,
    )
