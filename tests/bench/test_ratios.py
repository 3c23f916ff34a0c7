"""A ratio is met from above or from below, as the promise says."""

from bench.ratios import Ratio, table


def test_a_floor_must_be_reached() -> None:
    assert Ratio("one stream", 28.0, 20.0, 1.4, is_floor=True).is_met
    assert not Ratio("one stream", 27.9, 20.0, 1.4, is_floor=True).is_met


def test_a_ceiling_must_not_be_exceeded() -> None:
    assert Ratio("CPU", 6.0, 10.0, 0.6).is_met
    assert not Ratio("CPU", 6.1, 10.0, 0.6).is_met


def test_next_to_a_program_that_carried_nothing_every_floor_is_reached() -> None:
    assert Ratio("one stream", 1.0, 0.0, 1.4, is_floor=True).is_met


def test_the_table_has_a_row_for_each() -> None:
    ratios = [Ratio("one stream", 3.0, 2.0, 1.4, is_floor=True), Ratio("CPU", 2, 1, 1)]

    _, stream, cpu = table(ratios).splitlines()

    assert stream.split() == ["one", "stream", ">=", "1.40", "1.50x", "met"]
    assert cpu.split() == ["CPU", "<=", "1.00", "2.00x", "MISSED"]
