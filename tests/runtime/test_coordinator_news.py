"""That the coordinator is away, and back, is told once each, with the cause."""

import logging

import pytest

from meshwg.health import Health, Severity
from meshwg.runtime.coordinator_news import MAX_CAUSES, CoordinatorNews
from meshwg.wire.control import Error, ErrorCode
from tests.control.link import REGISTERED, Link

URL = "http://mesh.example:8443"
Log = pytest.LogCaptureFixture


class Watched:
    """A client of which news are told."""

    def __init__(self) -> None:
        self.link = Link()
        self.health = Health()
        self._news = CoordinatorNews(self.link.client, self.health, URL)

    def join(self) -> "Watched":
        self.link.connect()
        self.look()
        self.link.hear(REGISTERED)
        self.look()
        return self

    def fail(self, reason: str) -> None:
        """Let the next attempt fail."""
        self.link.tick_until_connecting()
        self.look()
        self.link.client.control_closed(self.link.number, reason, self.link.now)
        self.look()

    def look(self) -> None:
        self._news.look(self.link.now)

    def complaints(self) -> list[tuple[str, Severity]]:
        return [(each.code, each.severity) for each in self.health]


def test_a_member_is_told_once_that_it_is_away_and_that_it_is_back(log: Log) -> None:
    watched = Watched().join()
    watched.link.lose()
    watched.look()
    for _ in range(20):
        watched.fail("It is silent")
    assert watched.complaints() == [("coordinator", Severity.WARNING)]
    watched.join()

    first, lost, silent, back = (record.getMessage() for record in log.records)
    assert first == f"Connected to the coordinator {URL}"
    assert lost == "The connection was reset; paths and sessions go on without it"
    assert silent == "It is silent; paths and sessions go on without it"
    assert back.startswith(f"Connected to the coordinator {URL} again, after ")
    assert watched.complaints() == []


def test_the_next_absence_is_told_again(log: Log) -> None:
    watched = Watched()
    for _ in range(2):
        watched.join()
        watched.link.lose()
        watched.look()
    assert [each.levelno for each in log.records] == [logging.INFO, logging.WARNING] * 2


def test_a_first_join_that_fails_is_a_failure(log: Log) -> None:
    watched = Watched()
    watched.fail("No route to it")
    watched.fail("No route to it")

    (record,) = log.records
    assert "has not joined its mesh yet" in record.getMessage()
    assert "No route to it" in record.getMessage()
    assert watched.complaints() == [("coordinator", Severity.FAILURE)]


def test_a_coordinator_with_many_causes_does_not_fill_the_log(log: Log) -> None:
    watched = Watched().join()
    watched.link.lose()
    watched.look()
    for number in range(50):
        watched.fail(f"Cause {number}")
    assert len(log.records) == 1 + MAX_CAUSES


def test_a_forgotten_node_is_told_how_to_come_back() -> None:
    watched = Watched().join()
    watched.link.lose()
    watched.link.connect()
    code = ErrorCode.NOT_A_MEMBER
    watched.link.hear(
        Error(code=code, message="Who?", fatal=True, epoch="another", version=1)
    )
    watched.look()
    (complaint,) = watched.health
    assert "no longer knows this node" in complaint.text
    assert "meshwg join" in complaint.mend


def test_a_connection_that_replaces_another_is_no_news(log: Log) -> None:
    watched = Watched().join()
    watched.look()
    watched.link.hear(REGISTERED)
    watched.look()
    assert len(log.records) == 1


@pytest.fixture
def log(caplog: Log) -> Log:
    caplog.set_level(logging.INFO)
    return caplog
