"""An outage is the longest time without an answer."""

import pytest

from bench.pinging import ENDLESS, longest_outage

STEADY = [100.0 + n * 0.05 for n in range(100)]


def test_steady_answers_count_as_almost_no_outage() -> None:
    assert longest_outage(STEADY, 101.0, 105.0).length == pytest.approx(0.05)


def test_the_longest_gap_counts_and_when_it_ended() -> None:
    answers = [when for when in STEADY if not 102.01 < when < 104.01]

    outage = longest_outage(answers, 101.0, 105.0)

    assert outage.length == pytest.approx(2.05)
    assert outage.ended == pytest.approx(3.05)


def test_what_was_before_the_disturbance_does_not_count() -> None:
    assert longest_outage([90.0, *STEADY], 100.0, 105.0).length < 0.06


def test_an_ongoing_outage_has_no_end() -> None:
    assert longest_outage(STEADY, 101.0, 120.0) == ENDLESS
    assert longest_outage([], 101.0, 120.0) == ENDLESS
