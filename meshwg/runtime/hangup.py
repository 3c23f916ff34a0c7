"""SIGHUP: "read your settings again" to a service, "your terminal is gone" to others.

The kernel takes the terminal away from a session before it sends the signal. So a
process that was started at a terminal and has none any more was left by its user, and
everything else is the wish of an administrator (``systemctl reload``, ``kill -HUP``).
A process that was started to ignore the signal, as by nohup(1), goes on doing so. By
default it ends a process, so a service has it wait from its first moment on.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

_TERMINAL = "/dev/tty"
_STANDARD = (0, 1, 2)


@contextlib.contextmanager
def held_hangup() -> Iterator[None]:
    """Have SIGHUP wait until :func:`on_hangup` says what it means.

    At a terminal it ends the program until then, as users expect.
    """
    held = () if _has_terminal() else (signal.SIGHUP,)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def on_hangup(reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """Tell what SIGHUP means, in the running loop, from now on.

    :param stop: called when the terminal was closed.
    """
    # Whoever only holds the signal may not want asyncio yet, which brings OpenSSL.
    import asyncio

    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    had_terminal = _has_terminal()
    at_terminal = [each for each in _STANDARD if os.isatty(each)]

    def receive() -> None:
        if had_terminal and not _has_terminal():
            _leave_terminal(at_terminal)
            stop()
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, receive)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])


def _has_terminal() -> bool:
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _leave_terminal(descriptors: list[int]) -> None:
    """Send what is still printed nowhere: writing to the terminal would fail."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in descriptors:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
