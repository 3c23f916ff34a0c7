"""When plain punching begins, ends, and begins again."""

from meshwg.path.rounds import (
    ANSWER_TIMEOUT,
    BACKOFF,
    GAP,
    HOPELESS_WINDOW,
    WINDOW,
    Rounds,
    Trigger,
)


def test_the_offerer_waits_for_an_answer_but_not_forever() -> None:
    rounds = Rounds()
    assert rounds.begin(Trigger.TRAFFIC, 10.0, awaits=True)
    assert rounds.is_awaiting()
    assert rounds.get_timer() == 10.0 + ANSWER_TIMEOUT


def test_a_round_lasts_as_long_as_there_is_hope() -> None:
    rounds = Rounds()
    rounds.begin(Trigger.OFFER, 10.0, awaits=False)
    assert not rounds.is_awaiting()
    for window in (WINDOW, HOPELESS_WINDOW):
        rounds.check(10.0, window)
        assert rounds.get_timer() == 10.0 + window


def test_failures_delay_the_next_round() -> None:
    rounds, waits = Rounds(), []
    for number in range(7):
        now = 1000.0 * number
        rounds.begin(Trigger.RETRY, now, awaits=True)
        rounds.fail(now)
        assert rounds.next_at is not None
        waits.append(rounds.next_at - now)
    assert waits == [*BACKOFF, BACKOFF[-1], BACKOFF[-1]]


def test_success_and_another_network_start_afresh() -> None:
    rounds = Rounds()
    for _ in range(5):
        rounds.fail(0.0)
    rounds.reset()
    rounds.fail(0.0)
    assert rounds.next_at == BACKOFF[0]
    rounds.begin(Trigger.RETRY, 100.0, awaits=True)
    found = rounds.succeed()
    assert found is not None
    assert found.trigger is Trigger.RETRY
    assert rounds.get_timer() is None


def test_a_round_that_comes_too_soon_is_postponed_not_dropped() -> None:
    rounds = Rounds()
    rounds.begin(Trigger.NETWORK, 10.0, awaits=True)
    assert not rounds.begin(Trigger.CANDIDATES, 10.0 + GAP / 2, awaits=True)
    assert rounds.get_timer() == 10.0 + GAP
    assert rounds.postponed is not None
    assert rounds.begin(rounds.postponed.trigger, 10.0 + GAP, awaits=True)
    assert rounds.postponed is None


def test_checks_may_begin_outside_of_a_round() -> None:
    rounds = Rounds()
    rounds.check(10.0, WINDOW)
    assert rounds.get_timer() is None


def test_trouble_is_told_even_if_other_news_follow_it() -> None:
    rounds = Rounds()
    rounds.begin(Trigger.OFFER, 10.0, awaits=False)
    for trigger in (Trigger.NETWORK, Trigger.CANDIDATES):
        assert not rounds.begin(trigger, 10.0 + GAP / 2, awaits=True)
    assert rounds.postponed is not None
    assert rounds.postponed.trigger is Trigger.NETWORK


def test_trouble_that_the_peer_has_not_answered_is_remembered() -> None:
    rounds = Rounds()
    rounds.begin(Trigger.NETWORK, 10.0, awaits=True)
    rounds.begin(Trigger.CANDIDATES, 11.0, awaits=True)
    rounds.succeed()
    assert rounds.unanswered is Trigger.NETWORK
    assert rounds.is_trouble_untold


def test_what_needs_no_answer_leaves_none_open() -> None:
    rounds = Rounds()
    rounds.begin(Trigger.OFFER, 10.0, awaits=False)
    assert not rounds.is_trouble_untold
