"""The alarm: it goes off once, at the earliest time requested."""

import asyncio
from collections.abc import Callable

import pytest

from meshwg.runtime.alarm import Alarm

LATER = 3600.0


async def test_it_goes_off_once_when_it_is_due() -> None:
    rung = Rung()
    rung.alarm.set(rung.now() + 0.01, rung.now())

    await rung.times(1)
    await asyncio.sleep(0.02)

    assert rung.count == 1


async def test_what_is_due_already_does_not_go_off_within_the_call() -> None:
    rung = Rung()

    rung.alarm.set(1.0, 2.0)

    assert rung.count == 0
    await rung.times(1)


async def test_an_earlier_time_replaces_a_later_one() -> None:
    rung = Rung()

    rung.alarm.set(LATER, 0.0)
    rung.alarm.set(0.01, 0.0)

    await rung.times(1)


@pytest.mark.parametrize("later", [LATER, None])
async def test_a_later_time_or_none_keeps_the_earlier_one(later: float | None) -> None:
    rung = Rung()

    rung.alarm.set(0.01, 0.0)
    rung.alarm.set(later, 0.0)

    await rung.times(1)


async def test_a_cleared_alarm_does_not_go_off_and_can_be_set_later() -> None:
    order: list[str] = []
    rung = Rung(lambda: order.append("alarm"))
    loop = asyncio.get_running_loop()

    rung.alarm.set(0.0, 0.0)
    rung.alarm.clear()
    rung.alarm.clear()
    rung.alarm.set(0.02, 0.0)
    loop.call_later(0.01, order.append, "between")

    await rung.times(1)
    assert order == ["between", "alarm"]


async def test_it_can_be_set_again_while_it_goes_off() -> None:
    rung = Rung(lambda: rung.alarm.set(0.0 if rung.count < 3 else None, 0.0))

    rung.alarm.set(0.0, 0.0)

    await rung.times(3)


class Rung:
    """An alarm, and how often it went off."""

    def __init__(self, also: Callable[[], None] = lambda: None) -> None:
        self.alarm = Alarm(self._ring)
        self.now = asyncio.get_running_loop().time
        self.count = 0
        self._also = also
        self._news = asyncio.Event()

    def _ring(self) -> None:
        self.count += 1
        self._news.set()
        self._also()

    async def times(self, count: int) -> None:
        """Wait until it went off so many times."""
        async with asyncio.timeout(10):
            while self.count < count:
                self._news.clear()
                await self._news.wait()
