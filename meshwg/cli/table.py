"""Plain tables and quantities for people: aligned text, colour only on a terminal."""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence

import click

WIDTH = 80
"""Columns where there is no terminal."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def use_colour() -> bool:
    """Return whether standard output wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Return the columns of the terminal, :data:`WIDTH` where there is none."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def terminal_height() -> int:
    """Return the lines of the terminal."""
    return shutil.get_terminal_size((WIDTH, 24)).lines


def echo(text: str, end: str = "\n") -> None:
    """Print to standard output, without colour where that is not wanted."""
    click.echo(text, nl=False, color=use_colour())
    click.echo(end, nl=False)


def columns(rows: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Return the rows as lines with aligned columns; the last one is not padded."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "".join(
            cell + " " * (size - width(cell) + gap)
            for cell, size in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def fields(rows: Sequence[tuple[str, str]], size: int, gap: int = 2) -> list[str]:
    """Return labels, each with its text beside it, wrapped and indented.

    :param size: columns of a line at most.
    """
    margin = max(width(label) for label, _ in rows) + gap
    lines = []
    for label, text in rows:
        first, *more = wrap(text, max(size - margin, 1)) or [""]
        lines.append(f"{label}{' ' * (margin - width(label))}{first}".rstrip())
        lines += [" " * margin + line for line in more]
    return lines


def wrap(text: str, size: int) -> list[str]:
    """Return the lines of a text, at most ``size`` columns each, colour codes aside.

    Words that are longer are cut into pieces, but not those with colour.
    """
    lines: list[str] = []
    line = ""
    for word in _pieces(text, size):
        if line and width(line) + 1 + width(word) > size:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def _pieces(text: str, size: int) -> Iterator[str]:
    for word in text.split():
        if width(word) == len(word):
            yield from (word[at : at + size] for at in range(0, len(word), size))
        else:
            yield word


def shortened(text: str, size: int) -> str:
    """Return a name without its middle if it is longer than ``size`` columns."""
    if len(text) <= size:
        return text
    tail = (size - 1) // 3
    return f"{text[: size - 1 - tail]}…{text[len(text) - tail :]}"


def width(text: str) -> int:
    """Return how many columns a text takes, colour codes aside."""
    return len(_ESCAPES.sub("", text))


def bytes_text(count: int) -> str:
    """Return a number of bytes in three digits: ``1.24 MB``."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    digits = 0 if units[0] == "B" or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {units[0]}"


def duration_text(seconds: float) -> str:
    """Return a duration by its two largest units: ``2 h 5 min``."""
    whole = int(seconds)
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def milliseconds_text(milliseconds: float | None) -> str:
    """Return a round trip, ``-`` if it was not measured."""
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
