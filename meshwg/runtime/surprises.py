"""Errors that nobody expected: each is logged once, and the program goes on.

What comes from outside must end nothing but itself, even where the code that takes it
has a fault. A fault that can be had again and again would fill the log instead.
"""

import logging
import traceback

MAX_KNOWN = 64
"""Places of the program that are remembered; after that nothing more is logged."""


class Surprises:
    """Knows which errors were logged already, by their kind and where they arose."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._known: set[tuple[str, str, int | None]] = set()

    def note(self, error: Exception) -> None:
        """Log an error with its traceback, unless that is known."""
        frames = traceback.extract_tb(error.__traceback__)
        where = frames[-1] if frames else None
        name = type(error).__name__
        key = (name, where.filename, where.lineno) if where else (name, "", None)
        if key in self._known or len(self._known) >= MAX_KNOWN:
            return
        self._known.add(key)
        self._logger.error(
            "An unexpected %s; the node goes on, and this is logged once: %s",
            name,
            error,
            exc_info=error,
        )
