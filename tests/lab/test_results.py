"""The verdicts on a run follow from all of its results."""

from netlab.results import Report
from tests.lab.reports import outcomes


def test_what_is_wrong_makes_the_report_bad(report: Report) -> None:
    report.matrices[0].outcomes = outcomes("The path is relay, and direct is possible.")

    assert not report.is_good
    assert "2 of 3 pairs" in " ".join(report.verdicts)


def test_a_failed_scenario_makes_the_report_bad(report: Report) -> None:
    assert "1 of 1 scenarios hold." in report.verdicts
    report.scenarios[0].error = "No."

    assert "0 of 1 scenarios hold." in report.verdicts
    assert not report.is_good
