"""Plain tables and quantities for people: aligned text, colour only on a terminal."""

import os
import re
import shutil
import sys
from collections.abc import Sequence

import click

WIDTH = 92
"""Columns that sentences may take."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def use_colour() -> bool:
    """Return whether standard output wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Return the columns of the terminal, :data:`WIDTH` where there is none."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


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
