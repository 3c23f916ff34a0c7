"""Streams that do not last are not opened again and again."""

from meshwg.path.respite import LASTING, RESPITES, Respite

NOW = 1000.0


def test_the_first_stream_that_breaks_is_replaced_at_once() -> None:
    respite = Respite()
    respite.worked(-1, NOW)
    respite.lost(-1, NOW + 5)

    assert respite.until <= NOW + 5
    assert not respite.is_needed


def test_more_in_a_row_are_replaced_later_and_later() -> None:
    respite = Respite()
    now, waits = NOW, []
    for link in range(-1, -8, -1):
        respite.worked(link, now)
        respite.lost(link, now)
        waits.append(respite.until - now)
        now = respite.until

    assert waits == [*RESPITES, RESPITES[-1], RESPITES[-1]]
    assert respite.is_needed


def test_a_stream_that_lasted_makes_good_for_those_before() -> None:
    respite = Respite()
    for link in (-1, -2):
        respite.worked(link, NOW)
        respite.lost(link, NOW)
    respite.worked(-3, NOW + 100)
    respite.worked(-3, NOW + 100 + LASTING)
    respite.lost(-3, NOW + 100 + LASTING)

    assert respite.until < NOW + 100
    assert not respite.is_needed


def test_a_stream_is_lost_once() -> None:
    respite = Respite()
    respite.worked(-1, NOW)
    respite.lost(-1, NOW + 4)
    respite.lost(-1, NOW + 10)

    assert not respite.is_needed


def test_a_stream_that_never_worked_says_nothing() -> None:
    respite = Respite()
    for link in (-1, -2, -3):
        respite.lost(link, NOW)

    assert not respite.is_needed


def test_in_another_network_all_begins_anew() -> None:
    respite = Respite()
    for link in (-1, -2):
        respite.worked(link, NOW)
        respite.lost(link, NOW)
    respite.end()

    assert respite.until < NOW
    assert not respite.is_needed
