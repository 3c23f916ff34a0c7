"""A report with a scenario and a small matrix, for tests."""

from netlab import matrix, presets
from netlab.encounter import Outcome
from netlab.matrix import Cell
from netlab.results import MatrixResult, Report, ScenarioResult
from netlab.scenario import Step
from netlab.topology import Site, Topology, Way
from netlab.truth import Method

KINDS = (presets.PUBLIC, presets.ALL_SYMMETRIC)
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


def make_topology() -> Topology:
    return Topology(
        (
            Site("internet", "internet", "", None),
            Site("hub", "host", "203.0.113.2", "internet"),
            Site("nat", "router", HOSTILE, "internet"),
            Site("alice", "host", "192.168.1.2", "nat"),
            Site("bob", "host", "192.168.1.3", "nat"),
        ),
        (Way(("alice", "hub", "bob"), "relay"), Way(("alice", "bob"), "direct")),
    )


def make_report() -> Report:
    steps = [Step("it works", 1.0)]
    played = ScenarioResult("hub", "Hub", HOSTILE, make_topology(), steps)
    return Report([played], [MatrixResult(KINDS, outcomes(), 12.0)])
