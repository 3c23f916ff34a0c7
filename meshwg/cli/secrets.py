"""Secrets that users hand over, for all to read if they are words of a command line.

Instead of the secret itself, ``@FILE`` names a file, and ``-`` the standard input; if
that is a terminal, it is asked without an echo. A secret that was given as it is, is
blotted out of the command line that ``ps`` shows.
"""

import ctypes
import sys
from pathlib import Path

import click

from meshwg.errors import ConfigError

MAX_LENGTH = 8192
"""Bytes of the longest secret: a join token, or a database's URL."""


def read_secret(text: str, what: str) -> str:
    """Return the secret that a user means.

    :param what: names it, as in "join token".
    :raises ConfigError: if the file or the standard input holds none.
    """
    if text == "-":
        return _from_input(what)
    if text.startswith("@"):
        return _from_file(Path(text[1:]), what)
    blot_out(text)
    return text


def blot_out(secret: str) -> None:
    """Overwrite a secret in the command line of this process, as far as it is there.

    The kernel shows other users the memory that the process was started with.
    """
    words = Path("/proc/self/cmdline").read_bytes()
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    # The 48th field of proc(5), counted from the third.
    start = int(fields[45])
    wanted = secret.encode()
    at = words.find(wanted)
    while wanted and start and at >= 0:
        ctypes.memset(start + at, ord("x"), len(wanted))
        at = words.find(wanted, at + len(wanted))


def _from_input(what: str) -> str:
    if sys.stdin.isatty():
        return _checked(str(click.prompt(what.capitalize(), hide_input=True)), what, "")
    return _checked(sys.stdin.read(MAX_LENGTH + 1), what, "the standard input")


def _from_file(path: Path, what: str) -> str:
    try:
        with path.open() as file:
            text = file.read(MAX_LENGTH + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(
            f"The {what} cannot be read from {path} ({why}): name another file after @"
        ) from None
    return _checked(text, what, str(path))


def _checked(text: str, what: str, place: str) -> str:
    secret = text.strip()
    if not secret or len(text) > MAX_LENGTH:
        raise ConfigError(f"There is no {what} in {place or 'what was typed'}")
    return secret
