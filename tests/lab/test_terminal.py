"""The terminal shows how far the matrix is, and what is wrong."""

import pytest

from netlab import matrix
from netlab.terminal import MatrixView, console
from tests.lab.reports import KINDS, outcomes


def test_the_terminal_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    found = outcomes("The path is relay, and direct is possible.")
    view = MatrixView(KINDS, len(found), console())

    for cell, each in found.items():
        view.tell(matrix.Progress(cell))
        view.tell(matrix.Progress(cell, each))
    view.finish(found)

    shown = capsys.readouterr().out
    assert "public and office: The path is relay, and direct is possible." in shown
    assert "3 of 3" in shown
