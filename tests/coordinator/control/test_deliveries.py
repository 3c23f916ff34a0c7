"""Offers sent lately: those that a dead connection may have swallowed."""

from coordinator.control.deliveries import LIFETIME, MARGIN, MOST, Deliveries

NOW = 100.0


def test_what_was_sent_after_the_last_sign_of_life_may_be_lost() -> None:
    sent = Deliveries()
    for age in (5.0, 3.0, 1.0):
        sent.note("b", b"%d" % age, NOW - age)
    assert sent.uncertain("b", NOW - 3.0 + MARGIN, NOW) == [b"1"]


def test_a_connection_may_have_died_just_after_it_was_heard() -> None:
    sent = Deliveries()
    sent.note("b", b"x", NOW - MARGIN / 2)
    assert sent.uncertain("b", NOW, NOW) == [b"x"]


def test_each_node_has_its_own() -> None:
    sent = Deliveries()
    sent.note("b", b"x", NOW)
    assert sent.uncertain("c", 0.0, NOW) == []


def test_old_offers_are_forgotten() -> None:
    sent = Deliveries()
    sent.note("b", b"x", NOW)
    assert sent.uncertain("b", 0.0, NOW + LIFETIME) == []
    assert len(sent) == 0


def test_there_is_a_bound_for_all_together() -> None:
    sent = Deliveries()
    for number in range(MOST + 10):
        sent.note(str(number), b"x", NOW)
    assert len(sent) == MOST
