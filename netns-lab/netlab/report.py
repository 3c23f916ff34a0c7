"""The results of a run as files: ``matrix.json``, a picture and a page."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netlab import heatmap, page
from netlab.encounter import Outcome
from netlab.matrix import Cell
from netlab.results import MatrixResult, Report, ScenarioResult

SCHEMA = 1


def write(report: Report, directory: Path) -> None:
    """Write all files; those of an earlier run are replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(report), indent=1, ensure_ascii=False)
    (directory / "matrix.json").write_text(text + "\n")
    heat_map = picture(report)
    if heat_map is not None:
        (directory / "matrix.svg").write_text(heat_map)
    (directory / "index.html").write_text(page.render(report, heat_map))


def picture(report: Report) -> str | None:
    """Return the heat map of the last matrix, if there is one."""
    if not report.matrices:
        return None
    last = report.matrices[-1]
    return heatmap.draw(last.kinds, last.outcomes, report.small_print)


def to_json(report: Report) -> dict[str, Any]:
    """Return all results as one object."""
    return {
        "schema": SCHEMA,
        "made_at": report.made_at,
        "versions": report.versions,
        "matrices": [_matrix_json(each) for each in report.matrices],
        "scenarios": [_scenario_json(each) for each in report.scenarios],
    }


def _matrix_json(matrix: MatrixResult) -> dict[str, Any]:
    return {
        "seconds": round(matrix.seconds, 1),
        "kinds": [
            {"name": kind.name, "seen": kind.seen, "punching": kind.punching}
            for kind in matrix.kinds
        ],
        "cells": [_cell_json(*item) for item in matrix.outcomes.items()],
    }


def _cell_json(cell: Cell, outcome: Outcome) -> dict[str, Any]:
    found = asdict(outcome)
    return {
        "row": cell.row.name,
        "column": cell.column.name,
        "expected": cell.expected.value,
        **found,
        "method": outcome.method.value if outcome.method else None,
        "first": _rounded(outcome.first),
        "direct": _rounded(outcome.direct),
        "as_expected": outcome.as_expected,
    }


def _scenario_json(result: ScenarioResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "title": result.title,
        "seconds": round(result.seconds, 1),
        "error": result.error or None,
        "steps": [
            {"sentence": step.sentence, "seconds": _rounded(step.seconds)}
            for step in result.steps
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
