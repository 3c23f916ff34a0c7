"""Deadlines: the earliest one of an item counts, and a cancelled one never fires."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.agenda import Agenda


def test_nothing_is_due_where_nothing_was_scheduled() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.schedule("a", None)
    assert agenda.get_timer() is None
    assert list(agenda.take_due(1e9)) == []


def test_the_earliest_timer_counts() -> None:
    agenda: Agenda[str] = Agenda()
    for when in (5.0, 2.0, 9.0, None):
        agenda.schedule("a", when)
    assert agenda.get_timer() == 2.0
    assert list(agenda.take_due(2.0)) == ["a"]
    assert agenda.get_timer() is None
    assert list(agenda.take_due(9.0)) == []


def test_items_are_woken_in_the_order_of_their_deadlines() -> None:
    agenda: Agenda[str] = Agenda()
    for thing, when in (("late", 3.0), ("soon", 1.0), ("never", 9.0), ("next", 2.0)):
        agenda.schedule(thing, when)
    assert list(agenda.take_due(3.0)) == ["soon", "next", "late"]
    assert agenda.get_timer() == 9.0


def test_an_item_may_be_rescheduled_while_it_is_woken() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.schedule("a", 1.0)
    woken = []
    for thing in agenda.take_due(1.0):
        woken.append(thing)
        agenda.schedule(thing, 2.0)
    assert woken == ["a"]
    assert agenda.get_timer() == 2.0


def test_what_was_discarded_is_never_woken() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.schedule("a", 1.0)
    agenda.schedule("b", 2.0)
    agenda.discard("a")
    agenda.discard("stranger")
    assert agenda.get_timer() == 2.0
    assert list(agenda.take_due(9.0)) == ["b"]
    agenda.schedule("a", 3.0)
    agenda.clear()
    assert agenda.get_timer() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20))))
def test_each_item_is_woken_once_at_its_earliest_time(
    wishes: list[tuple[str, int]],
) -> None:
    agenda: Agenda[str] = Agenda()
    earliest: dict[str, float] = {}
    for thing, when in wishes:
        agenda.schedule(thing, float(when))
        earliest[thing] = min(earliest.get(thing, 99.0), float(when))
    assert agenda.get_timer() == min(earliest.values(), default=None)
    woken = {
        thing: float(now) for now in range(21) for thing in agenda.take_due(float(now))
    }
    assert woken == earliest
