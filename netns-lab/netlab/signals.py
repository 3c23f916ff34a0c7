"""Signals: they end a lab in good order, and do not interrupt its removal."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

AGAIN = 0.01
"""Seconds after which a signal that was lost is raised again."""


@contextlib.contextmanager
def exit_in_good_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into exceptions, as Python does with SIGINT.

    Only in the main thread, and only where the program has no handler of its own.
    """
    changed: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Postpone signals that would end the program until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: arrived.append(n))
        for number in ENDING
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if arrived:
            signal.raise_signal(arrived[0])


@contextlib.contextmanager
def never_lost() -> Iterator[None]:
    """Raise a signal again that came where Python ignores exceptions.

    A handler runs between any two instructions, also those of a ``__del__``, which
    every process that was started has: there its exception is only printed. For the
    main thread of a program.
    """
    lost: list[int] = []

    def note(ignored: "sys.UnraisableHookArgs") -> None:
        number = _number_of(ignored.exc_value)
        if number is None:
            hook(ignored)
        else:
            lost.append(number)
            signal.setitimer(signal.ITIMER_REAL, AGAIN)

    def raise_again(number: int, frame: FrameType | None) -> None:
        if lost:
            signal.raise_signal(lost.pop())

    hook, handler = sys.unraisablehook, signal.signal(signal.SIGALRM, raise_again)
    sys.unraisablehook = note
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = hook
        if lost:
            signal.raise_signal(lost.pop())


def _number_of(error: BaseException | None) -> int | None:
    """Return the signal that became an exception, if that is what it is."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        number = error.code - 128
        return number if number in ENDING else None
    return None


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
