"""The matrix as a picture: one square for each pair of kinds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from netlab.encounter import Outcome
from netlab.matrix import Cell
from netlab.presets import Preset
from netlab.svg import COLOURS, FAINT, INK, box, document, text

SIDE, GAP = 38, 2
LEFT, TOP, MARGIN = 216, 216, 24
LEGEND = 176

LEGENDS = {
    "direct": "direct: both sides just send",
    "prediction": "direct: the next port was predicted",
    "birthday": "direct: found by trying many ports",
    "tcp": "direct over TCP: no datagram gets through",
    "relay": "relayed: nothing better is possible",
    "failed": "not what is possible",
}


def draw(kinds: Sequence[Preset], outcomes: Mapping[Cell, Outcome], note: str) -> str:
    """Return the heat map as SVG.

    :param note: small print, such as versions and date.
    """
    size = len(kinds) * SIDE
    width, height = LEFT + size + 2 * MARGIN, TOP + size + LEGEND
    body = _headings(kinds, outcomes)
    for cell, outcome in outcomes.items():
        row, column = kinds.index(cell.row), kinds.index(cell.column)
        for x, y in {(row, column), (column, row)}:
            body += _square(LEFT + x * SIDE, TOP + y * SIDE, cell, outcome)
    body += _legend(TOP + size + 28, outcomes)
    body.append(text(MARGIN, height - 14, note, size=11, fill=FAINT))
    return document(max(width, 640), height, body, "The NAT matrix")


def style(outcome: Outcome) -> str:
    """Return the key of :data:`COLOURS` for an outcome."""
    if not outcome.as_expected or outcome.method is None:
        return "failed"
    return outcome.method.value


def _headings(kinds: Sequence[Preset], outcomes: Mapping[Cell, Outcome]) -> list[str]:
    right = sum(outcome.as_expected for outcome in outcomes.values())
    body = [
        text(MARGIN, 36, "Every kind of NAT against every other", size=19, bold=True),
        text(
            MARGIN,
            57,
            f"{right} of {len(outcomes)} pairs got the best path that is possible. "
            "In a square: seconds until the path was direct.",
            fill=FAINT,
        ),
    ]
    for index, kind in enumerate(kinds):
        middle = index * SIDE + SIDE / 2
        y = TOP + middle + 4
        body.append(text(LEFT - 9, y, kind.name, anchor="end"))
        body.append(text(LEFT + middle + 4, TOP - 8, kind.name, rotate=-48))
    return body


def _square(x: float, y: float, cell: Cell, outcome: Outcome) -> list[str]:
    fill = COLOURS[style(outcome)]
    tip = f"{cell}: {outcome.problem or outcome.reason}"
    words = "-" if outcome.direct is None else _seconds(outcome.direct)
    ink = INK if style(outcome) in ("relay", "birthday") else "#ffffff"
    inner = SIDE - GAP
    return [
        box(x + GAP / 2, y + GAP / 2, inner, inner, fill=fill, tip=tip),
        text(x + SIDE / 2, y + SIDE / 2 + 4, words, size=12, fill=ink, anchor="middle"),
    ]


def _legend(top: float, outcomes: Mapping[Cell, Outcome]) -> list[str]:
    body: list[str] = []
    counts = Counter(map(style, outcomes.values()))
    shown = [key for key in LEGENDS if counts[key]]
    for index, key in enumerate(shown):
        y = top + index * 22
        body.append(box(MARGIN, y, 15, 15, fill=COLOURS[key]))
        words = f"{counts[key]} {LEGENDS[key]}"
        times = [
            outcome.direct
            for outcome in outcomes.values()
            if style(outcome) == key and outcome.direct is not None
        ]
        if times:
            words += f", after {_seconds(median(times))} s (median)"
        body.append(text(MARGIN + 24, y + 12, words))
    return body


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"
