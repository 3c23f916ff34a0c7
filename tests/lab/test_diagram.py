"""A topology is drawn whole."""

from xml.etree import ElementTree

from netlab import diagram
from netlab.results import Report
from tests.lab.reports import HOSTILE, SVG


def test_a_topology_is_drawn_with_all_machines_and_links(report: Report) -> None:
    topology = report.scenarios[0].topology
    assert topology is not None

    drawing = ElementTree.fromstring(diagram.draw(topology, "hub"))

    words = {text.text for text in drawing.iter(f"{SVG}text")}
    assert {"internet", "hub", "nat", "alice", "bob", HOSTILE} <= words
    assert len(list(drawing.iter(f"{SVG}path"))) == len(topology.ways)
