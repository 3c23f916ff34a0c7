"""Without traffic a peer is first inactive, then dormant."""

from meshwg.path.activity import ACTIVE, DORMANT, Activity


def test_a_peer_that_was_never_needed_waits_for_nothing() -> None:
    activity = Activity()
    assert not activity.is_active(0.0)
    assert activity.is_dormant(0.0)
    assert activity.get_timer(0.0) is None


def test_activity_ends_in_two_steps() -> None:
    activity = Activity()
    activity.note(100.0)
    assert activity.is_active(100.0)
    assert activity.get_timer(100.0) == 100.0 + ACTIVE
    assert not activity.is_active(100.0 + ACTIVE)
    assert not activity.is_dormant(100.0 + ACTIVE)
    assert activity.get_timer(100.0 + ACTIVE) == 100.0 + DORMANT
    assert activity.is_dormant(100.0 + DORMANT)
    assert activity.get_timer(100.0 + DORMANT) is None


def test_a_packet_starts_it_again() -> None:
    activity = Activity()
    activity.note(100.0)
    activity.note(140.0)
    assert activity.is_active(184.0)
    assert activity.get_timer(150.0) == 140.0 + ACTIVE
