"""A node reports where it is: at once, then once a second, and only what is new."""

import pytest

from meshwg.control.reports import FIRST_REPORT, REPORT_INTERVAL, Reports
from meshwg.wire.control import Report, ReportedCandidate


@pytest.fixture
def reports() -> Reports:
    return Reports(now=100.0)


def test_there_is_nothing_to_tell_at_first(reports: Reports) -> None:
    assert reports.get_timer() is None
    assert reports.take(200.0) is None


def test_a_report_is_told_once(reports: Reports) -> None:
    reports.change(report(1))
    assert reports.get_timer() == 100.0
    assert reports.take(100.0) == report(1)
    assert reports.get_timer() is None
    assert reports.take(200.0) is None


def test_what_has_not_changed_is_not_told_again(reports: Reports) -> None:
    reports.change(report(1))
    reports.take(100.0)
    reports.change(report(1))
    assert reports.get_timer() is None


def test_of_many_in_a_second_the_last_is_told(reports: Reports) -> None:
    reports.change(report(1))
    reports.take(100.0)
    for port in range(2, 9):
        reports.change(report(port))
        assert reports.take(100.5) is None
    assert reports.get_timer() == 100.0 + REPORT_INTERVAL
    assert reports.take(100.0 + REPORT_INTERVAL) == report(8)


def test_what_was_told_with_registering_is_known(reports: Reports) -> None:
    reports.change(report(1))
    assert reports.register(100.0) == report(1)
    reports.registered()
    assert reports.get_timer() is None


def test_what_is_found_while_registering_is_told_soon_after(reports: Reports) -> None:
    reports.register(100.0)
    reports.change(report(1))
    reports.registered()
    due = reports.get_timer()
    assert due == pytest.approx(100.0 + FIRST_REPORT)
    assert reports.take(100.0) is None
    assert reports.take(100.0 + 2 * FIRST_REPORT) == report(1)


def report(port: int) -> Report:
    where = ReportedCandidate(kind="host", host="192.0.2.1", port=port)
    return Report(candidates=(where,))
