"""What does not add up is asked for again, and ever more rarely if that is in vain."""

from itertools import pairwise

from meshwg.control.resyncs import FIRST_PAUSE, MAX_PAUSE, Resyncs


def test_without_a_reason_nothing_is_asked() -> None:
    resyncs = Resyncs()
    assert not resyncs.take(0.0)
    assert resyncs.get_timer() is None


def test_the_first_time_it_is_asked_at_once() -> None:
    resyncs = Resyncs()
    resyncs.want()
    assert resyncs.take(5.0)
    assert not resyncs.take(5.0)
    assert resyncs.get_timer() is None


def test_slices_that_do_not_fit_either_ask_no_more_than_once_in_a_while() -> None:
    resyncs, now, asked = Resyncs(), 0.0, []
    while now < 4 * MAX_PAUSE:
        resyncs.want()
        if resyncs.take(now):
            asked.append(now)
        now += 0.5
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(pauses) <= MAX_PAUSE


def test_what_waits_is_asked_when_its_time_has_come() -> None:
    resyncs = Resyncs()
    resyncs.want()
    assert resyncs.take(5.0)
    resyncs.want()
    assert resyncs.get_timer() == 5.0 + FIRST_PAUSE
    assert resyncs.take(5.0 + FIRST_PAUSE)


def test_once_it_adds_up_nothing_is_asked_and_the_pause_begins_anew() -> None:
    resyncs = Resyncs()
    for now in (0.0, 10.0, 20.0):
        resyncs.want()
        assert resyncs.take(now)
    resyncs.want()
    resyncs.settle()
    assert resyncs.get_timer() is None
    resyncs.want()
    assert resyncs.take(30.0)
    resyncs.want()
    assert resyncs.get_timer() == 30.0 + FIRST_PAUSE


def test_another_connection_begins_anew() -> None:
    resyncs = Resyncs()
    resyncs.want()
    assert resyncs.take(5.0)
    resyncs.want()
    resyncs.forget()
    assert resyncs.get_timer() is None
    resyncs.want()
    assert resyncs.take(5.1)
