"""Echo requests for ``meshwg ping``: answers, losses, and when to stop."""

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest

from meshwg.errors import MeshError
from meshwg.node import Node
from meshwg.peer import MeshPeer
from meshwg.runtime import echo as module
from meshwg.runtime.echo import Pinger
from tests.test_peer import make_peer

IDENTIFIER = 77


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.001)
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.02)


async def test_every_answer_is_printed_and_then_the_summary() -> None:
    stage = Stage()

    answers = await stage.run(count=3)

    assert [answer.get("sequence") for answer in answers] == [1, 2, 3, None]
    assert all(answer["rtt_ms"] is not None for answer in answers[:3])
    assert answers[0]["peer"] == "bob"
    assert answers[0]["address"] == "100.64.0.9"
    assert answers[-1]["summary"]["sent"] == answers[-1]["summary"]["received"] == 3
    assert answers[-1]["summary"]["median_ms"] > 0
    assert answers[-1]["reason"]
    assert stage.ended == [IDENTIFIER]


async def test_losses_are_reported_too() -> None:
    stage = Stage()
    stage.lost = {2}

    answers = await stage.run(count=3)

    rtts = [answer["rtt_ms"] for answer in answers[:-1]]
    assert [rtt is None for rtt in rtts] == [False, True, False]
    assert answers[-1]["summary"]["received"] == 2


async def test_nothing_but_losses_has_no_median() -> None:
    stage = Stage()
    stage.lost = {1, 2}

    answers = await stage.run(count=2)

    summary = {"sent": 2, "received": 0, "median_ms": None}
    assert answers[-1]["summary"] == summary


async def test_late_answers_do_not_count() -> None:
    stage = Stage()
    stage.lost = {1}
    stage.late = 1

    answers = await stage.run(count=2)

    assert [answer["rtt_ms"] is None for answer in answers[:2]] == [True, False]


async def test_it_stops_when_the_path_is_direct() -> None:
    stage = Stage()
    stage.direct_from = 3

    answers = await stage.run(count=None, until_direct=True)

    kinds = [answer["path"]["kind"] for answer in answers]
    assert kinds == ["relay", "relay", "direct", "direct"]


async def test_it_stops_when_time_is_up() -> None:
    stage = Stage()
    stage.lost = set(range(10_000))

    answers = await stage.run(count=None, limit=0.05)

    assert answers[-1]["summary"]["sent"] >= 1


async def test_a_request_that_was_given_no_time_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 60.0)
    stage = Stage()
    stage.lost = set(range(3, 10_000))

    answers = await stage.run(count=None, limit=0.1)

    assert [answer["rtt_ms"] is None for answer in answers[:-1]] == [False, False]
    assert answers[-1]["summary"]["sent"] == 2


async def test_a_node_without_address_says_so_and_ends() -> None:
    stage = Stage()
    stage.has_address = False

    with pytest.raises(MeshError, match="wait until it has joined"):
        await stage.run(count=1)

    assert stage.ended == [IDENTIFIER]


async def test_a_client_that_hangs_up_ends_it() -> None:
    stage = Stage()

    async with aclosing(stage.pinger.run(None, False, None)) as answers:
        await anext(answers)

    assert stage.ended == [IDENTIFIER]


class Stage:
    """A node whose peer answers as a test wants."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.late: int | None = None
        """This answer comes just before the next one."""
        self.direct_from = 10_000
        self.has_address = True
        self.ended: list[int] = []
        self._asked = 0
        self.echoes = self
        peer = make_peer(addresses=("fd00::9", "100.64.0.9"))
        peer.path_json = self._path  # type: ignore[method-assign]
        self.pinger = Pinger(cast(Node, self), peer, IDENTIFIER, self._turn)

    async def run(
        self, count: int | None, until_direct: bool = False, limit: float | None = None
    ) -> list[dict[str, Any]]:
        """Return everything that a command would get."""
        async with asyncio.timeout(20):
            answers = self.pinger.run(count, until_direct, limit)
            return [answer async for answer in answers]

    # What the pinger needs of a node.

    def ping(self, peer: MeshPeer, identifier: int, sequence: int, now: float) -> bool:
        assert identifier == IDENTIFIER
        self._asked = sequence
        return self.has_address

    def end(self, identifier: int) -> None:
        self.ended.append(identifier)

    def _turn(self) -> None:
        if self.late is not None and self.late < self._asked:
            self.pinger.receive(self.late)
        if self._asked not in self.lost:
            self.pinger.receive(self._asked)

    def _path(self, now: float, unix_time: float) -> dict[str, Any]:
        return {"kind": "direct" if self._asked >= self.direct_from else "relay"}
