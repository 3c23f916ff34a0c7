"""The verdicts on a run follow from all of its results."""

from netlab.results import Report, ScenarioResult
from netlab.scenario import Step
from tests.lab.reports import outcomes


def test_a_failure_makes_the_report_bad(report: Report) -> None:
    report.matrices[0].outcomes = outcomes(
        "The path is relay, and direct was expected."
    )

    assert not report.is_good
    assert "2 of 3 pairs" in " ".join(report.verdicts)


def test_a_failed_scenario_makes_the_report_bad(report: Report) -> None:
    assert "1 of 1 scenarios hold." in report.verdicts
    report.scenarios[0].error = "No."

    assert "0 of 1 scenarios hold." in report.verdicts
    assert not report.is_good


def test_a_report_without_results_says_nothing() -> None:
    assert Report().verdicts == []


def test_a_scenario_takes_as_long_as_its_steps() -> None:
    steps = [Step("one", 1.5), Step("two"), Step("three", 2.0)]

    assert ScenarioResult("a", "A", "", steps=steps).seconds == 3.5


def test_the_small_print_names_when_and_with_what(report: Report) -> None:
    report.made_at, report.versions = "today", {"Linux": "6.1", "Python": "3.11"}

    assert report.small_print == "today: Linux 6.1, Python 3.11"
