"""What the log says of events of a node."""

import logging

import pytest

from meshwg.node import (
    CoordinatorKeyChanged,
    ExitChanged,
    NetmapChanged,
    NodeEvent,
    PeerHeld,
    RouteTaken,
)
from meshwg.runtime.event_log import log_event


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (PeerHeld("bob", "another key"), "No traffic with bob: another key"),
        (RouteTaken("bob", "10.1.0.0/16"), "Packets to 10.1.0.0/16 go to bob"),
        (ExitChanged("bob", ""), "The internet is reached through bob"),
        (
            ExitChanged("bob", "bob is offline"),
            "Nothing gets to the internet: bob is offline",
        ),
        (
            CoordinatorKeyChanged(bytes(32), bytes(32)),
            f"The coordinator has a new key, as the old one said: {'A' * 43}=",
        ),
    ],
    ids=["held", "route", "exit", "away", "key"],
)
def test_what_the_user_should_know_is_one_line(
    caplog: pytest.LogCaptureFixture, event: NodeEvent, message: str
) -> None:
    caplog.set_level(logging.INFO)

    log_event(event)

    assert caplog.messages == [message]


def test_anything_else_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    log_event(CoordinatorKeyChanged(bytes(32), None))
    log_event(NetmapChanged())

    assert caplog.messages == []
