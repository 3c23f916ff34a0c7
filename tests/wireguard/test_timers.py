"""The deadlines of one peer, move by move."""

import pytest

from meshwg.wireguard.constants import REKEY_TIMEOUT_JITTER, ZERO_KEY_TIME
from meshwg.wireguard.timers import NEVER, Timers

NO_JITTER = b"\0\0"


def test_nothing_is_armed_at_first() -> None:
    assert Timers().next() == NEVER


@pytest.mark.parametrize(
    ("jitter", "fraction"), [(b"\0\0", 0.0), (b"\0\x80", 0.5), (b"\xff\xff", 1.0)]
)
def test_a_retransmission_follows_after_five_seconds_plus_up_to_a_third(
    jitter: bytes, fraction: float
) -> None:
    timers = Timers()
    timers.initiation_sent(100.0, jitter)
    expected = 105.0 + fraction * REKEY_TIMEOUT_JITTER
    assert timers.retransmit == pytest.approx(expected, abs=1e-4)


def test_data_sent_is_waited_for_from_its_first_packet() -> None:
    timers = Timers()
    timers.sent(100.0, is_data=True)
    timers.sent(110.0, is_data=True)
    assert timers.next() == 115.0
    timers.received(111.0)
    assert timers.next() == NEVER


def test_data_received_is_owed_a_keepalive_until_anything_is_sent() -> None:
    timers = Timers()
    timers.received(100.0, is_data=True)
    assert timers.next() == 110.0
    timers.sent(105.0)
    assert timers.next() == NEVER


def test_data_received_twice_is_owed_a_second_keepalive() -> None:
    timers = Timers()
    timers.received(100.0, is_data=True)
    timers.received(104.0, is_data=True)
    timers.keepalive_due(110.0)
    assert timers.keepalive == 120.0
    timers.keepalive_due(120.0)
    assert timers.keepalive == NEVER


def test_persistent_keepalives_follow_the_last_packet_either_way() -> None:
    timers = Timers()
    timers.sent(100.0)
    assert timers.persistent == NEVER
    timers.persistent_interval = 25
    timers.sent(100.0)
    assert timers.persistent == 125.0
    timers.received(110.0)
    assert timers.persistent == 135.0


def test_a_completed_handshake_resets_the_count() -> None:
    timers = Timers()
    timers.initiation_sent(100.0, NO_JITTER)
    timers.attempts, timers.sent_last_minute = 7, True
    timers.handshake_completed()
    assert (timers.attempts, timers.sent_last_minute) == (0, False)
    assert timers.retransmit == NEVER


def test_giving_up_keeps_the_time_at_which_keys_are_forgotten() -> None:
    timers = Timers()
    timers.session_derived(100.0)
    timers.gave_up(200.0)
    assert timers.zero_key == 100.0 + ZERO_KEY_TIME
    timers = Timers()
    timers.received(199.0, is_data=True)
    timers.gave_up(200.0)
    assert timers.next() == timers.zero_key == 200.0 + ZERO_KEY_TIME


def test_stopped_timers_keep_only_their_setting() -> None:
    timers = Timers()
    timers.persistent_interval = 25
    timers.sent(100.0, is_data=True)
    timers.sent(100.0)
    timers.stop()
    assert timers.next() == NEVER
    assert timers.persistent_interval == 25
