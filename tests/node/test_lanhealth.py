"""A network is dead when several probes in a row were not answered."""

from meshwg.node.lanhealth import ALIVE_AFTER, DEAD_AFTER, LanHealth


def test_one_that_answers_is_alive() -> None:
    health = LanHealth()
    for _ in range(10):
        health.probe()
        health.answer()
    assert not health.is_dead


def test_it_is_dead_when_the_last_of_the_probes_has_had_its_time() -> None:
    health = LanHealth()
    for _ in range(DEAD_AFTER):
        health.probe()
        assert not health.is_dead
    health.probe()
    assert health.is_dead


def test_one_answer_among_many_losses_does_not_make_it_alive_again() -> None:
    health = LanHealth()
    for _ in range(DEAD_AFTER + 1):
        health.probe()
    health.answer()
    assert health.is_dead
    for _ in range(2):
        health.probe()
    health.answer()
    assert health.is_dead
    for _ in range(ALIVE_AFTER - 1):
        health.probe()
        health.answer()
    assert not health.is_dead


def test_a_lost_probe_now_and_then_is_nothing() -> None:
    health = LanHealth()
    for number in range(30):
        health.probe()
        if number % 3 == 0:
            health.answer()
    assert not health.is_dead
