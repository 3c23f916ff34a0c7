"""Reports: the first are stored at once, and of too many the last."""

from dataclasses import replace

import pytest

from coordinator.control import reports as module
from coordinator.control.connection import REPORT_BURST, REPORT_RATE
from coordinator.control.reports import Reports
from coordinator.mesh.approvals import Announcement
from coordinator.mesh.operations import Update


def test_reports_are_stored_at_once() -> None:
    reports = Reports()
    reports.add(update("a", 1), 0.0)
    reports.add(update("b", 1), 0.0)
    assert reports.due(0.0) == [update("a", 1), update("b", 1)]
    assert reports.due(0.0) == []
    assert reports.get_timer() is None


def test_of_too_many_the_last_is_stored_when_its_time_has_come() -> None:
    reports = Reports()
    for number in range(1000):
        reports.add(update("a", number), 0.0)
    assert len(reports.due(0.0)) == REPORT_BURST
    assert reports.get_timer() == 1 / REPORT_RATE
    assert reports.due(1 / REPORT_RATE - 0.1) == []
    assert reports.due(1 / REPORT_RATE) == [update("a", 999)]
    assert reports.get_timer() is None


def test_a_flood_of_reports_becomes_few() -> None:
    reports, stored = Reports(), 0
    for number in range(20 * 60):
        now = number / 20
        reports.add(update("a", number), now)
        stored += len(reports.due(now))
    assert stored <= REPORT_BURST + 60 * REPORT_RATE + 1


def test_what_was_announced_is_not_lost_and_what_is_void_is_not_stored() -> None:
    reports = Reports()
    for number in range(int(REPORT_BURST) + 1):
        reports.add(update("a", number), 0.0)
    reports.due(0.0)
    said = Announcement(routes=("10.1.0.0/16",))
    reports.add(replace(update("a", 1), announcement=said), 0.0)
    reports.add(update("a", 2), 0.0)
    assert reports.due(1 / REPORT_RATE) == [replace(update("a", 2), announcement=said)]

    reports.add(update("a", 3), 1 / REPORT_RATE)
    reports.forget("a")
    assert reports.due(10 / REPORT_RATE) == []


def test_nodes_do_not_wait_for_each_other() -> None:
    reports = Reports()
    for number in range(100):
        reports.add(update("a", number), 0.0)
    reports.due(0.0)
    reports.add(update("b", 1), 0.0)
    assert reports.due(0.0) == [update("b", 1)]


def test_so_many_reports_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 5)
    reports = Reports()
    for _ in range(int(REPORT_BURST) + 1):
        for number in range(5):
            reports.add(update(str(number), 1), 0.0)
    reports.add(update("more", 1), 0.0)
    assert len(reports._held) == 5


def update(key: str, number: int) -> Update:
    return Update(key, f"[{number}]", "null")
