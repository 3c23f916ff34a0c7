"""Imports that are not looked through for garbage, since they stay until the end."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep what is made inside for good: it is never looked through for garbage.

    Python looks again and again while it imports, which is a tenth of the CPU of a
    start; and later, each full look at the modules of a node takes 16 ms, during which
    no packet is carried.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
