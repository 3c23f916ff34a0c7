"""Whether what stands behind a floating address works here: checks, and their sum.

One good check makes it fit to be reached; a single bad one does not make it unfit,
since that moves the address and ends connections.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from meshwg.errors import ConfigError

INTERVAL = 1.0
"""Seconds between two checks."""
LIMIT = 1.0
"""Seconds that a check may take."""
TOLERATED = 1
"""Checks in a row that may fail."""
PORTS = {"http": 80, "https": 443}
"""Where nothing else is said."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)\b")


@dataclass(frozen=True, slots=True)
class Fitness:
    """What is known, as a value."""

    is_fit: bool = False
    failures: int = 0
    """In a row."""
    problem: str = "it was not checked yet"
    """What the last check found; empty if it was good."""

    def after(self, problem: str | None) -> "Fitness":
        """Return what is known after another check.

        :param problem: why it failed, ``None`` if it did not.
        """
        if problem is None:
            return Fitness(True, 0, "")
        failures = self.failures + 1
        return Fitness(self.is_fit and failures <= TOLERATED, failures, problem)


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """What is checked, and how."""

    scheme: str
    """``tcp``: whether somebody accepts a connection; ``http`` or ``https``: whether a
    request is answered with a status below 400."""
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_target(text: str) -> CheckTarget:
    """Return what a text says is to be checked.

    :raises ConfigError: if it is something else than such a URL.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        raise _no_target(text) from None
    if not host or not port or parts.username is not None or not _is_plain(text):
        raise _no_target(text)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "tcp":
        if path not in ("", "/"):
            raise _no_target(text)
        return CheckTarget("tcp", host, port)
    if parts.scheme not in PORTS:
        raise _no_target(text)
    return CheckTarget(parts.scheme, host, port, path or "/")


def status_problem(line: bytes) -> str | None:
    """Return what is wrong with the first line of an answer, ``None`` for nothing."""
    found = _STATUS_LINE.match(line)
    if found is None:
        return "what answers does not speak HTTP"
    status = int(found[1])
    return None if status < 400 else f"it answers {status}"


def _is_plain(text: str) -> bool:
    """Tell whether a text is fit for the first line of a request."""
    return text.isascii() and text.isprintable() and " " not in text


def _no_target(text: str) -> ConfigError:
    # What is before an @ may be a password.
    return ConfigError(
        f"--check {text.rpartition('@')[2]} cannot be checked: write tcp://HOST:PORT, "
        "or a URL such as https://127.0.0.1:6443/livez"
    )
