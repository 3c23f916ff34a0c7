"""What the lab found is written down whole, as data, pictures and a page."""

import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netlab import diagram, matrix, presets
from netlab.encounter import Outcome
from netlab.matrix import Cell
from netlab.report import picture, write
from netlab.results import MatrixResult, Report, ScenarioResult
from netlab.scenario import Step
from netlab.svg import COLOURS
from netlab.terminal import MatrixView, console
from netlab.topology import Site, Topology, Way
from netlab.truth import Method

KINDS = (presets.PUBLIC, presets.OFFICE)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('&')</script>"


def outcome(method: Method, problem: str | None = None) -> Outcome:
    direct = None if method is Method.RELAY else 0.25
    return Outcome(method, "x", 0.1, direct, 7, 0, HOSTILE, problem=problem)


def outcomes(problem: str | None = None) -> dict[Cell, Outcome]:
    found = {cell: outcome(cell.expected) for cell in matrix.cells(KINDS)}
    if problem is not None:
        (mixed,) = (cell for cell in found if cell.row is not cell.column)
        found[mixed] = outcome(Method.RELAY, problem)
    return found


@pytest.fixture
def report() -> Report:
    topology = Topology(
        (
            Site("internet", "internet", "", None),
            Site("hub", "host", "203.0.113.2", "internet"),
            Site("nat", "router", HOSTILE, "internet"),
            Site("alice", "host", "192.168.1.2", "nat"),
            Site("bob", "host", "192.168.1.3", "nat"),
        ),
        (Way(("alice", "hub", "bob"), "relay"), Way(("alice", "bob"), "direct")),
    )
    played = ScenarioResult("hub", "Hub", HOSTILE, topology, [Step("it works", 1.0)])
    return Report([played], [MatrixResult(KINDS, outcomes(), 12.0)])


def test_all_files_are_written(report: Report, tmp_path: Path) -> None:
    write(report, tmp_path / "report")

    written = json.loads((tmp_path / "report" / "matrix.json").read_text())
    (found,) = written["matrices"]
    assert written["schema"] == 1
    assert [kind["name"] for kind in found["kinds"]] == ["public", "office"]
    assert {cell["expected"] for cell in found["cells"]} == {"direct", "relay"}
    assert all(cell["as_expected"] for cell in found["cells"])
    assert {"meshwg", "Python", "Linux"} <= set(written["versions"])


def test_the_heat_map_shows_each_pair_and_its_mirror_image(report: Report) -> None:
    heat_map = ElementTree.fromstring(picture(report) or "")

    squares = [
        square
        for square in heat_map.iter(f"{SVG}rect")
        if square.find(f"{SVG}title") is not None
    ]
    assert len(squares) == len(KINDS) ** 2


def test_what_is_wrong_is_red_and_makes_the_report_bad(report: Report) -> None:
    report.matrices[0].outcomes = outcomes("The path is relay, and direct is possible.")

    assert COLOURS["failed"] in (picture(report) or "")
    assert not report.is_good
    assert "2 of 3 pairs" in " ".join(report.verdicts)


def test_a_failed_scenario_makes_the_report_bad(report: Report) -> None:
    assert "1 of 1 scenarios hold." in report.verdicts
    report.scenarios[0].error = "No."

    assert "0 of 1 scenarios hold." in report.verdicts
    assert not report.is_good


def test_the_page_loads_nothing_and_runs_nothing(
    report: Report, tmp_path: Path
) -> None:
    write(report, tmp_path)
    page = (tmp_path / "index.html").read_text()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            seen.add(tag)

    seen: set[str] = set()
    Tags().feed(page)
    assert "svg" in seen
    assert not seen & {"script", "link", "img", "iframe", "object"}


def test_a_topology_is_drawn_with_all_machines_and_ways(report: Report) -> None:
    topology = report.scenarios[0].topology
    assert topology is not None

    drawing = ElementTree.fromstring(diagram.draw(topology, "hub"))

    words = {text.text for text in drawing.iter(f"{SVG}text")}
    assert {"internet", "hub", "nat", "alice", "bob", HOSTILE} <= words
    assert len(list(drawing.iter(f"{SVG}path"))) == len(topology.ways)


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
