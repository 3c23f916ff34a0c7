"""The terminal shows how far the matrix is, and what is wrong."""

from pathlib import Path

import pytest

from netlab import matrix
from netlab.terminal import MatrixView, console
from tests.lab.reports import KINDS, outcomes


def test_the_terminal_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    found = outcomes("The path is relay, and direct was expected.")
    view = MatrixView(KINDS, len(found), console())

    for cell, each in found.items():
        view.tell(matrix.Progress(cell))
        view.tell(matrix.Progress(cell, each))
    view.finish(found)

    shown = capsys.readouterr().out
    assert "public and all-symmetric: The path is relay, and direct was" in shown
    assert "3 of 3" in shown


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = outcomes()
    view = MatrixView(KINDS, len(found), console())
    with view.shown():
        for cell, each in found.items():
            view.tell(matrix.Progress(cell, each))

    assert capsys.readouterr().out.splitlines() == ["  3 of 3 pairs are done"]


def test_evidence_is_named_where_there_is_some(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = outcomes("It is relayed.")
    (wrong,) = (cell for cell, each in found.items() if each.problem)
    view = MatrixView(KINDS, len(found), console())

    view.finish(found, {wrong: Path("wire.pcap")})

    assert "On the wire: wire.pcap" in capsys.readouterr().out
