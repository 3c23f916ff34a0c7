"""Signals end a program cleanly, and wait while something is removed."""

import signal
import sys
import threading
import time

import pytest

from netlab.signals import ENDING, exit_in_good_order, never_lost, postponed

LIMIT = 5.0
"""Seconds for a signal to be raised again."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_becomes_an_exception_with_its_status(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as ended, exit_in_good_order():
        signal.raise_signal(number)

    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_handler_set_by_the_program_is_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with exit_in_good_order():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("number", ENDING)
def test_a_postponed_signal_is_raised_after_the_block(number: signal.Signals) -> None:
    heard: list[str] = []
    before = signal.signal(number, lambda number, frame: heard.append("signal"))
    try:
        with postponed():
            signal.raise_signal(number)
            heard.append("done")
    finally:
        signal.signal(number, before)

    assert heard == ["done", "signal"]


def test_a_postponed_signal_is_not_lost_to_an_error() -> None:
    def run() -> None:
        with postponed():
            signal.raise_signal(signal.SIGINT)
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_python_would_ignore_is_raised_again(
    number: signal.Signals,
) -> None:
    def run() -> None:
        with exit_in_good_order(), never_lost():
            RaisesWhenDeleted(number)
            time.sleep(LIMIT)
            lost.append(number)

    lost: list[int] = []
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run()
    assert not lost


def test_a_signal_that_is_lost_at_the_very_end_is_raised_there() -> None:
    with pytest.raises(KeyboardInterrupt), never_lost():
        RaisesWhenDeleted(signal.SIGINT)


def test_other_ignored_exceptions_are_told_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_type))
    with never_lost():
        RaisesWhenDeleted(None)

    assert told == [ValueError]


def test_without_a_signal_nothing_is_changed() -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    with postponed(), exit_in_good_order():
        pass

    assert {number: signal.getsignal(number) for number in ENDING} == before


def test_other_threads_change_no_handlers() -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    inside: list[object] = []

    def run() -> None:
        with exit_in_good_order(), postponed():
            inside.append({number: signal.getsignal(number) for number in ENDING})

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert inside == [before]


class RaisesWhenDeleted:
    """What the garbage collector removes while a signal arrives.

    :param number: ``None`` for an error that is no signal.
    """

    def __init__(self, number: signal.Signals | None) -> None:
        self._number = number

    def __del__(self) -> None:
        if self._number is None:
            raise ValueError
        signal.raise_signal(self._number)
