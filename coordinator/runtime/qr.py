"""QR codes for terminals, of half blocks: each character is two modules high."""

import segno

QUIET = 2
"""Modules around a code that stay light. The standard asks for four, and what reads
codes from screens is content with two; a terminal has few lines."""
_BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"
"""Colours are said outright, so that a code is the same in a light terminal as in a
dark one. Many cameras do not read one whose colours are swapped."""
_RESET = "\x1b[0m"
_BLOCKS = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def qr_text(text: str) -> str:
    """Return a text as a QR code for a terminal, lines that end with a line feed."""
    code = segno.make(text, error="l", micro=False)
    rows = [bytes(row) for row in code.matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append(bytes(len(rows[0])))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        pairs = zip(upper, lower, strict=True)
        blocks = "".join(_BLOCKS[bool(one), bool(other)] for one, other in pairs)
        lines.append(f"{_BLACK_ON_WHITE}{blocks}{_RESET}\n")
    return "".join(lines)


def qr_width(code: str) -> int:
    """Return how many columns of a terminal such a code takes."""
    line = code.partition("\n")[0]
    return len(line.removeprefix(_BLACK_ON_WHITE).removesuffix(_RESET))
