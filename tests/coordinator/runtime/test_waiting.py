"""The log says once what nodes offer and others are not told of."""

import pytest

from coordinator.mesh.approvals import ItemState
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.runtime.waiting import MAX_TOLD_OF_ONE, WaitingOffers


def test_each_item_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    waiting = WaitingOffers()

    for _ in range(3):
        waiting.look([changed("router", "10.1.0.0/16", "exit", "hub")])

    assert caplog.messages == [
        "router offers the network 10.1.0.0/16, and others are not told of it: why",
        "router offers to be an exit, and others are not told of it: why",
        "router offers to be a hub, and others are not told of it: why",
    ]


def test_nobody_fills_the_log(caplog: pytest.LogCaptureFixture) -> None:
    waiting = WaitingOffers()

    for number in range(500):
        waiting.look([changed("thief", f"10.{number % 250}.{number}.0/24")])
    waiting.look([changed("other", "10.1.0.0/16")])

    assert len(caplog.messages) == MAX_TOLD_OF_ONE + 1
    assert caplog.messages[-1].startswith("other offers")


def changed(name: str, *items: str) -> Changes:
    withheld = tuple(ItemState(item, "advertised", "why") for item in items)
    return Changes(1, (Node(name, name, name, 7, withheld=withheld),))
