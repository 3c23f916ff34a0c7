"""What is written down of a node's events."""

import logging

import pytest

from meshwg.node import (
    CoordinatorKeyChanged,
    ExitChanged,
    NodeEvent,
    PeerHeld,
    RouteTaken,
)
from meshwg.runtime.eventlog import log_event


@pytest.mark.parametrize(
    ("event", "level", "said"),
    [
        (PeerHeld("bob", "another key."), logging.WARNING, "No traffic with bob"),
        (RouteTaken("bob", "10.0.0.0/8"), logging.INFO, "to 10.0.0.0/8 go to bob"),
        (ExitChanged("bob", ""), logging.INFO, "reached through bob"),
        (ExitChanged("bob", "bob is offline"), logging.WARNING, "bob is offline"),
        (CoordinatorKeyChanged(bytes(32), bytes(32)), logging.WARNING, "a new key"),
    ],
    ids=["held", "route", "exit", "exit-away", "key"],
)
def test_the_user_is_told(
    event: NodeEvent, level: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        log_event(event)

    (record,) = caplog.records
    assert record.levelno == level
    assert said in record.getMessage()


def test_a_key_that_was_proved_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log_event(CoordinatorKeyChanged(bytes(32), None))

    assert caplog.records == []
