"""QR codes of a terminal as images, for programs that read images."""

import re
import subprocess
from pathlib import Path

SCALE = 4
"""Pixels of a module."""
QUIET = 4
"""Modules of light around the code, as a terminal's own background would be."""
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_MODULES = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def decoded(code: str, directory: Path) -> str:
    """Return what zbarimg reads in a code, as a terminal shows it.

    :param directory: where the image is put.
    """
    path = directory / "code.pgm"
    path.write_bytes(_image(code))
    command = ["zbarimg", "--quiet", "--raw", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    # It ends what it has read with a line feed of its own.
    return done.stdout.removesuffix("\n")


def _image(code: str) -> bytes:
    """Return a code as a PGM image, dark on light."""
    modules: list[list[int]] = []
    for line in _ESCAPE.sub("", code).splitlines():
        pairs = [_MODULES[each] for each in line]
        modules += [[one for one, _ in pairs], [other for _, other in pairs]]
    width = len(modules[0]) + 2 * QUIET
    blank = [0] * width
    rows = [[0] * QUIET + row + [0] * QUIET for row in modules]
    rows = [blank] * QUIET + rows + [blank] * QUIET
    pixels = b"".join(
        bytes(0 if module else 255 for module in row for _ in range(SCALE)) * SCALE
        for row in rows
    )
    return f"P5 {width * SCALE} {len(rows) * SCALE} 255\n".encode() + pixels
