"""When a second allocation is worth having: for pairs that stay relayed only."""

from meshwg.relay.standby import KEPT, PAUSE, STEADY, Need

NOW = 100.0


def test_a_few_packets_through_the_relay_need_none() -> None:
    need = Need()
    need.note(NOW)
    need.note(NOW + STEADY / 2)
    assert not need.begins()


def test_data_that_stays_on_the_relay_does() -> None:
    need = Need()
    for second in range(10):
        need.note(NOW + second)
    assert need.begins()


def test_a_packet_now_and_then_does_not() -> None:
    need = Need()
    for number in range(10):
        need.note(NOW + number * (PAUSE + 1))
    assert not need.begins()


def test_it_is_kept_over_pauses_but_not_for_ever() -> None:
    need = Need()
    need.note(NOW)
    assert need.lasts(NOW + KEPT - 1)
    assert not need.lasts(NOW + KEPT)
