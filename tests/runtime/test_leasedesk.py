"""Programs on this machine ask the coordinator about leases."""

import asyncio
from typing import Any, cast

import pytest

from meshwg.control.client import ControlClient
from meshwg.errors import ConfigError, CoordinatorError
from meshwg.runtime import leasedesk as module
from meshwg.runtime.leasedesk import MAX_WAITING, LeaseDesk
from meshwg.wire.control import LeaseAnswer, LeaseTerm, LeaseUse

VIP = "10.60.0.10/32"
TERM: dict[str, Any] = {"holder": "a_1", "duration": 4.0, "transitions": 1}


class StandInCoordinator:
    """A control client, and a coordinator that answers as a test says."""

    def __init__(self) -> None:
        self.desk = LeaseDesk(cast(ControlClient, self), self._turn)
        self.is_away = False
        self.answer: dict[str, Any] | None = {}
        self.uses: list[LeaseUse] = []
        self.turns = 0

    def say(self, message: LeaseUse, now: float) -> bool:
        self.uses.append(message)
        return not self.is_away

    def _turn(self) -> None:
        self.turns += 1
        if self.answer is not None:
            # One that nobody waits for does no harm.
            self.desk.answered(LeaseAnswer(id=999_999))
            self.desk.answered(LeaseAnswer(id=self.uses[-1].id, **self.answer))


async def test_what_is_in_a_lease_is_read() -> None:
    coordinator = StandInCoordinator()
    coordinator.answer = {"version": 7, "term": LeaseTerm(holder="b_1", duration=4.0)}
    assert await coordinator.desk.use({"prefix": VIP}) == {
        "version": 7,
        "written": False,
        "holder": "b_1",
        "duration": 4.0,
        "transitions": 0,
    }
    assert coordinator.uses == [LeaseUse(id=1, prefix=VIP)]


async def test_what_is_written_names_the_version_that_it_replaces() -> None:
    coordinator = StandInCoordinator()
    coordinator.answer = {"version": 8, "written": True}
    found = await coordinator.desk.use({"prefix": VIP, "base": 7, "term": TERM})
    assert found["written"]
    (use,) = coordinator.uses
    assert (use.base, use.term) == (7, LeaseTerm(**TERM))


async def test_a_refusal_is_told_as_it_is() -> None:
    coordinator = StandInCoordinator()
    coordinator.answer = {"refused": "a may not have it"}
    with pytest.raises(CoordinatorError, match="a may not have it"):
        await coordinator.desk.use({"prefix": VIP})


async def test_while_the_coordinator_is_away_nobody_waits() -> None:
    coordinator = StandInCoordinator()
    coordinator.is_away = True
    with pytest.raises(CoordinatorError, match="cannot be reached"):
        await coordinator.desk.use({"prefix": VIP})
    assert coordinator.turns == 0


async def test_one_that_does_not_answer_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    coordinator = StandInCoordinator()
    coordinator.answer = None
    with pytest.raises(CoordinatorError, match="does not say in"):
        await coordinator.desk.use({"prefix": VIP})
    assert coordinator.desk._waiting == {}


async def test_only_so_many_wait_at_once() -> None:
    coordinator = StandInCoordinator()
    coordinator.answer = None
    waiting = [
        asyncio.ensure_future(coordinator.desk.use({"prefix": VIP}))
        for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(CoordinatorError, match="Too many"):
        await coordinator.desk.use({"prefix": VIP})
    for number in range(1, MAX_WAITING + 1):
        coordinator.desk.answered(LeaseAnswer(id=number))
    assert len(await asyncio.gather(*waiting)) == MAX_WAITING


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"prefix": "here"},
        {"prefix": VIP, "term": {"holder": "a b"}},
        {"prefix": VIP, "term": {"holder": 7}},
        {"prefix": VIP, "term": {"duration": -1.0}},
        {"prefix": VIP, "term": {"holder": "x" * 1000}},
    ],
)
async def test_what_is_no_use_of_a_lease_is_refused_here(
    request_: dict[str, Any],
) -> None:
    coordinator = StandInCoordinator()
    with pytest.raises(ConfigError, match="no use of a lease"):
        await coordinator.desk.use(request_)
    assert coordinator.uses == []
