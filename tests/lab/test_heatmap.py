"""The heat map has a square for each pair of kinds, coloured by its outcome."""

from xml.etree import ElementTree

from netlab.report import picture
from netlab.results import Report
from netlab.svg import COLOURS
from tests.lab.reports import KINDS, SVG, outcomes


def test_the_heat_map_shows_each_pair_and_its_mirror_image(report: Report) -> None:
    heat_map = ElementTree.fromstring(picture(report) or "")

    squares = [
        square
        for square in heat_map.iter(f"{SVG}rect")
        if square.find(f"{SVG}title") is not None
    ]
    assert len(squares) == len(KINDS) ** 2


def test_failures_are_red(report: Report) -> None:
    report.matrices[0].outcomes = outcomes(
        "The path is relay, and direct was expected."
    )

    assert COLOURS["failed"] in (picture(report) or "")
