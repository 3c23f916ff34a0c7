"""The matrix on a terminal: a table that fills while it runs, and a summary."""

import string
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from netlab.encounter import Outcome
from netlab.heatmap import style
from netlab.matrix import Cell, Progress
from netlab.presets import Preset

LETTERS = {
    "direct": ("D", "green"),
    "prediction": ("P", "blue"),
    "birthday": ("B", "yellow"),
    "tcp": ("T", "magenta"),
    "relay": ("r", "bright_black"),
    "failed": ("X", "bold red"),
}
MEANINGS = {
    "direct": "direct, both sides just send",
    "prediction": "direct by prediction of the next port",
    "birthday": "direct by the birthday method",
    "tcp": "direct over TCP, where no datagram gets through",
    "relay": "relayed, and nothing better is possible",
    "failed": "not what is possible",
}
REFRESH = 4
"""How many times a second the table is drawn."""
NOTHING: Mapping[Cell, Path] = {}
LINE_EVERY = 10
"""Cells between two lines of progress if the output is no terminal."""


class MatrixView:
    """Shows the progress of the cells."""

    def __init__(self, kinds: Sequence[Preset], total: int, console: Console) -> None:
        self._kinds = kinds
        self._total = total
        self._console = console
        self._cells: dict[frozenset[str], Cell] = {}
        """Those that have begun, by their kinds."""
        self._outcomes: dict[Cell, Outcome] = {}
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table inside the block, if the output is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            self.table(), console=self._console, refresh_per_second=REFRESH
        ) as self._live:
            yield
            self._live.update(self.table())
        self._live = None

    def tell(self, progress: Progress) -> None:
        """Show news of a cell."""
        cell, outcome = progress.cell, progress.outcome
        self._cells[frozenset((cell.row.name, cell.column.name))] = cell
        if outcome is not None:
            self._outcomes[cell] = outcome
        if self._live is not None:
            self._live.update(self.table())
        elif outcome is not None:
            self._print_line(cell, outcome)

    def finish(
        self, outcomes: dict[Cell, Outcome], evidence: Mapping[Cell, Path] = NOTHING
    ) -> None:
        """Print the summary, after the table if that was not shown already.

        :param evidence: the captures of the cells that failed.
        """
        self._outcomes = outcomes
        if not self._console.is_terminal:
            self._console.print(self.table())
        self._console.print(self._summary())
        for cell, outcome in outcomes.items():
            if outcome.problem is not None:
                self._console.print(f"  [red]✗[/] {cell}: {outcome.problem}")
                self._console.print(f"    {cell.nodes[0]} says: {outcome.reason}")
                if cell in evidence:
                    self._console.print(f"    On the wire: {evidence[cell]}")

    def table(self) -> RenderableType:
        """Return the matrix as far as it is known."""
        table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
        done = len(self._outcomes)
        table.add_column(f"{done} of {self._total}", no_wrap=True, style="bold")
        for letter, _ in zip(string.ascii_lowercase, self._kinds, strict=False):
            table.add_column(letter, width=1)
        for letter, row in zip(string.ascii_lowercase, self._kinds, strict=False):
            marks = [self._mark(row, column) for column in self._kinds]
            table.add_row(f"{letter} {row.name}", *marks)
        return table

    def _mark(self, row: Preset, column: Preset) -> Text:
        cell = self._cells.get(frozenset((row.name, column.name)))
        if cell is None:
            return Text("·", "bright_black")
        if cell not in self._outcomes:
            return Text("…", "cyan")
        return Text(*LETTERS[style(self._outcomes[cell])])

    def _summary(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
        for heading in ("", "pairs", "first packet", "direct after", "pings lost", ""):
            table.add_column(heading, justify="right")
        table.columns[-1].justify = "left"
        for key, (letter, colour) in LETTERS.items():
            found = [o for o in self._outcomes.values() if style(o) == key]
            if found:
                table.add_row(
                    Text(letter, colour),
                    str(len(found)),
                    _median([o.first for o in found]),
                    _median([o.direct for o in found]),
                    f"{sum(o.lost for o in found)} of {sum(o.sent for o in found)}",
                    MEANINGS[key],
                )
        return table

    def _print_line(self, cell: Cell, outcome: Outcome) -> None:
        done = len(self._outcomes)
        if outcome.problem is not None:
            self._console.print(f"  ✗ {cell}: {outcome.problem}")
        if done % LINE_EVERY == 0 or done == self._total:
            self._console.print(f"  {done} of {self._total} pairs are done")


def console() -> Console:
    """Return the console for tables, which is wide if the output is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)


def _median(times: list[float | None]) -> str:
    known = [time for time in times if time is not None]
    return f"{median(known):.2f} s" if known else "-"
