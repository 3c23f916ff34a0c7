"""What this process has open, for tests of what is closed again."""

import contextlib
import os


def open_descriptors() -> frozenset[tuple[int, str]]:
    """Return the number of each open descriptor and what it stands for.

    What an earlier test left to the garbage collector may be closed meanwhile, so a
    test compares with ``<=``: all that is open now was open before. A number that was
    free and stands for something else counts as new, since a socket, a pipe and an
    event each have a number of their own in what they stand for.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        # The descriptor that lists the others is gone by now.
        with contextlib.suppress(FileNotFoundError):
            found.add((int(number), os.readlink(f"/proc/self/fd/{number}")))
    return frozenset(found)
