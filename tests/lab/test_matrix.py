"""The matrix of NAT kinds agrees with the truth table, and notices when it does not."""

import pytest

from netlab import encounter, matrix, presets, truth
from netlab.lab import Lab
from netlab.matrix import Cell, Faults
from netlab.presets import Preset

pytestmark = [pytest.mark.netns, pytest.mark.lab]

HANDFUL = (presets.PUBLIC, presets.PORT_RESTRICTED, presets.SEQUENTIAL, presets.OFFICE)
DISGUISED = {presets.PORT_RESTRICTED.name: presets.ALL_SYMMETRIC}
HARD = (presets.PORT_RESTRICTED, presets.ALL_SYMMETRIC)
MIXED = (presets.PUBLIC, presets.ALL_SYMMETRIC)


def test_a_few_kinds_get_the_best_possible_path(lab: Lab) -> None:
    assert problems(lab, HANDFUL) == {}


def test_only_the_cells_with_wrong_routers_fail(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encounter, "PATIENCE", 8.0)
    kinds = (presets.PUBLIC, *HARD)

    found = problems(lab, kinds, Faults(DISGUISED))

    assert set(found) == {
        str(cell)
        for cell in matrix.cells(kinds)
        if truth.method(*map(disguise, (cell.row, cell.column))) is not cell.expected
    }
    assert found == {
        "port-restricted and port-restricted": (
            "The path is relay, and direct was expected."
        ),
        "port-restricted and all-symmetric": (
            "The path is relay, and birthday was expected."
        ),
    }


def test_only_the_relayed_cells_fail_without_a_relay(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encounter, "HOPELESS_PATIENCE", 8.0)

    found = problems(lab, MIXED, Faults({}, relay=False))

    assert set(found) == {str(Cell(presets.ALL_SYMMETRIC, presets.ALL_SYMMETRIC))}
    assert "was answered" in found["all-symmetric and all-symmetric"]


def problems(
    lab: Lab, kinds: tuple[Preset, ...], faults: Faults = matrix.HEALTHY
) -> dict[str, str]:
    """Return what the matrix of these kinds finds wrong, cell by cell."""
    mesh = matrix.build(lab, kinds, faults)
    outcomes = matrix.run(mesh, matrix.cells(kinds), lambda progress: None)
    return {
        str(cell): outcome.problem
        for cell, outcome in outcomes.items()
        if outcome.problem is not None
    }


def disguise(kind: Preset) -> Preset:
    return DISGUISED.get(kind.name, kind)
