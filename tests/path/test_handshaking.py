"""When a handshake is begun anew before WireGuard would."""

import pytest

from meshwg.path.handshaking import (
    COURTESY,
    PATIENCE,
    REKEY_UNANSWERED,
    REPEATS,
    SERIES,
    UNANSWERED,
    Handshaking,
)


def test_without_a_handshake_an_answered_check_changes_nothing() -> None:
    handshaking = Handshaking()
    handshaking.checked(10.0, 0.01, 10.1)
    assert handshaking.get_timer() is None


def test_a_check_that_was_sent_later_and_answered_shows_that_waiting_is_vain() -> None:
    handshaking = begun(at=10.0)
    handshaking.checked(10.2, 0.01, 10.3)
    assert handshaking.get_timer() == pytest.approx(10.3 + PATIENCE)
    assert not handshaking.take_due(10.3)
    assert handshaking.take_due(10.3 + PATIENCE)
    assert not handshaking.take_due(10.3 + PATIENCE), "it is done once"


def test_a_check_that_was_sent_earlier_shows_nothing() -> None:
    handshaking = begun(at=10.0)
    handshaking.checked(9.9, 0.01, 10.1)
    assert handshaking.get_timer() is None


def test_a_long_way_is_given_its_time() -> None:
    handshaking = begun(at=10.0)
    handshaking.checked(10.2, 0.5, 10.3)
    assert handshaking.get_timer() == pytest.approx(11.3)


def test_it_is_not_begun_anew_while_the_peers_own_crosses_it() -> None:
    handshaking = begun(at=10.0)
    handshaking.checked(10.2, 0.01, 10.3)
    handshaking.crossed(0.2, 10.35)
    assert not handshaking.take_due(10.3 + PATIENCE)
    assert handshaking.get_timer() == pytest.approx(10.75)


def test_one_of_two_sides_lets_the_other_begin_anew_first() -> None:
    handshaking = Handshaking(leads=False)
    handshaking.sent(10.0)
    handshaking.checked(10.2, 0.01, 10.3)
    assert handshaking.get_timer() == pytest.approx(10.3 + COURTESY * PATIENCE)


def test_a_handshake_of_the_peer_begins_none_of_this_node() -> None:
    handshaking = begun(at=10.0)
    handshaking.crossed(0.01, 10.1)
    assert handshaking.get_timer() is None


def test_an_answer_ends_it() -> None:
    handshaking = begun(at=10.0)
    handshaking.checked(10.2, 0.01, 10.3)
    handshaking.answered()
    assert not handshaking.is_pending
    assert not handshaking.take_due(20.0)


def test_it_is_begun_anew_a_few_times_and_each_time_later() -> None:
    handshaking, now, gaps = begun(at=10.0), 10.0, []
    for _ in range(REPEATS + 3):
        handshaking.checked(now, 0.01, now)
        when = handshaking.get_timer()
        if when is None:
            break
        gaps.append(when - now)
        now = when
        assert handshaking.take_due(now)
        handshaking.sent(now)
    assert gaps == pytest.approx([PATIENCE * 2**n for n in range(REPEATS)])


def test_another_way_is_tried_at_once() -> None:
    handshaking = begun(at=10.0)
    handshaking.moved(0.02, 12.0)
    assert handshaking.take_due(12.0 + PATIENCE)


def test_a_way_is_not_blamed_for_the_one_before_it() -> None:
    handshaking = begun(at=10.0)
    handshaking.sent(15.0)
    handshaking.moved(0.02, 19.0)
    handshaking.sent(20.0)
    handshaking.sent(25.0)
    assert not handshaking.is_unanswered(25.0)


def test_two_of_wireguards_own_repetitions_without_an_answer_are_a_fault() -> None:
    handshaking = begun(at=10.0)
    handshaking.sent(15.1)
    assert not handshaking.is_unanswered(15.1)
    handshaking.sent(20.2)
    assert handshaking.is_unanswered(10.0 + REKEY_UNANSWERED)


def test_early_repetitions_make_it_a_fault_sooner() -> None:
    handshaking, now = begun(at=10.0), 10.0
    for _ in range(REPEATS):
        handshaking.checked(now, 0.01, now)
        now = handshaking.get_timer() or now
        assert handshaking.take_due(now)
        handshaking.sent(now)
    assert not handshaking.is_unanswered(now)
    assert handshaking.is_unanswered(10.0 + UNANSWERED)


def test_a_handshake_of_long_ago_has_nothing_to_do_with_a_new_one() -> None:
    handshaking = begun(at=10.0)
    handshaking.sent(15.0)
    handshaking.sent(15.0 + SERIES)
    assert not handshaking.is_unanswered(15.0 + SERIES)


def begun(at: float) -> Handshaking:
    handshaking = Handshaking()
    handshaking.sent(at)
    assert handshaking.is_pending
    return handshaking
