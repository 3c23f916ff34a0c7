"""Which node was heard when: at the same cost for one connection and for thousands."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.control.presence import CATCH_UP_TIME, Presence


def test_silent_nodes_and_due_heartbeats_are_found_in_time() -> None:
    presence = Presence(silence=8.0, heartbeat=10.0)
    presence.add(1, 0.0)
    presence.add(2, 1.0)
    presence.heard(1, 5.0)
    assert presence.get_timer() == 9.0
    assert presence.silent(9.0) == [2]
    presence.remove(2)
    assert presence.due(10.0) == [1]
    presence.spoke(1, 10.0)
    assert presence.due(10.0) == []
    assert presence.get_timer() == 13.0


def test_no_peers_need_no_timer() -> None:
    presence = Presence(8.0, 10.0)
    assert presence.get_timer() is None
    presence.remove(7)
    assert presence.silent(1e9) == []


def test_a_delayed_process_first_reads_what_it_was_sent() -> None:
    presence = Presence(silence=8.0, heartbeat=100.0)
    presence.add(1, 0.0)
    presence.add(2, 0.0)
    assert presence.silent(12.0) == []
    presence.heard(2, 12.1)
    at = presence.get_timer()
    assert at == 12.0 + CATCH_UP_TIME
    assert presence.silent(at) == [1]


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30), st.floats(0.1, 9.0))
def test_the_timer_is_never_too_early(gaps: list[float], silence: float) -> None:
    presence = Presence(silence, 1000.0)
    now = 0.0
    for connection, gap in enumerate(gaps):
        now += gap
        presence.add(connection, now)
    at = presence.get_timer()
    assert at is not None
    assert presence.silent(at)
