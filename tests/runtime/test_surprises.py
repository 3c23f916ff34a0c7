"""An error that nobody expected is logged once."""

import logging

import pytest

from meshwg.runtime.surprises import MAX_KNOWN, Surprises

LOGGER = logging.getLogger("test")


def test_an_error_is_logged_once_for_each_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    surprises = Surprises(LOGGER)
    for _ in range(3):
        surprises.note(raised_here("one"))
        surprises.note(raised_there())

    assert [each.getMessage().rpartition(": ")[2] for each in caplog.records] == [
        "one",
        "two",
    ]
    assert all(each.exc_info is not None for each in caplog.records)


def test_an_error_without_a_place_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    surprises = Surprises(LOGGER)
    surprises.note(ValueError("nowhere"))
    surprises.note(ValueError("nowhere"))

    assert len(caplog.records) == 1


def test_not_even_errors_of_ever_new_kinds_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    surprises = Surprises(LOGGER)
    for number in range(2 * MAX_KNOWN):
        surprises.note(type(f"Error{number}", (Exception,), {})())

    assert len(caplog.records) == MAX_KNOWN


def raised_here(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def raised_there() -> Exception:
    try:
        raise ValueError("two")
    except ValueError as error:
        return error
