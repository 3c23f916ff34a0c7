"""The host's network: looked at in the beginning, after changes, and after sleep."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from meshwg.runtime import host_network as module
from meshwg.runtime.host_network import SLEPT, HostNetwork
from meshwg.runtime.interface import Network

HOME = Network(("192.168.1.2",), ("192.168.1.0/24",), ())
CAFE = Network(("10.0.0.2",), ("10.0.0.0/8",), ())
OWN_INTERFACE = 7


class World:
    """A host between networks, whose clocks a test sets.

    :ivar drift: seconds that the machine has been asleep so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.network = HOME
        self.drift = 0.0
        self.reported: list[Network] = []
        self.watchers: list[StandInWatcher] = []
        self._news = asyncio.Event()
        monkeypatch.setattr(module, "look_around", self._look_around)
        monkeypatch.setattr(module, "NetworkWatcher", self._watch)
        monkeypatch.setattr(module, "_drift", lambda: self.drift)
        monkeypatch.setattr(module, "SLEEP_CHECK", 0.001)
        self.host_network = HostNetwork(self._report, except_interface=OWN_INTERFACE)

    async def _look_around(self, except_interface: int) -> Network:
        assert except_interface == OWN_INTERFACE
        return self.network

    def _watch(
        self, on_change: Callable[[], None], *, except_interface: int
    ) -> "StandInWatcher":
        assert except_interface == OWN_INTERFACE
        self.watchers.append(StandInWatcher(on_change))
        return self.watchers[-1]

    def _report(self, network: Network) -> None:
        self.reported.append(network)
        self._news.set()

    async def until_reported(self) -> None:
        async with asyncio.timeout(10):
            await self._news.wait()
        self._news.clear()

    async def pause(self) -> None:
        """Let happen what would happen by now."""
        await asyncio.sleep(0.02)


class StandInWatcher:
    def __init__(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World(monkeypatch)
    yield made
    made.host_network.close()


async def test_the_first_look_is_not_a_change(world: World) -> None:
    await world.host_network.start()
    await world.pause()

    assert world.host_network.current == HOME
    assert world.reported == []


async def test_another_network_is_reported_once(world: World) -> None:
    await world.host_network.start()
    world.network = CAFE

    world.watchers[0].on_change()
    await world.until_reported()
    world.watchers[0].on_change()
    await world.pause()

    assert world.reported == [CAFE]
    assert world.host_network.current == CAFE


async def test_a_change_that_leaves_the_network_as_it_was_is_not_reported(
    world: World,
) -> None:
    await world.host_network.start()

    world.watchers[0].on_change()
    await world.pause()

    assert world.reported == []


async def test_after_sleep_the_same_network_is_reported_once(world: World) -> None:
    await world.host_network.start()

    world.drift += SLEPT + 1
    await world.until_reported()
    await world.pause()

    assert world.reported == [HOME]


async def test_a_small_difference_between_clocks_is_not_a_sleep(world: World) -> None:
    await world.host_network.start()

    for _ in range(5):
        world.drift += SLEPT / 2
        await world.pause()

    assert world.reported == []


async def test_once_closed_it_reports_nothing(world: World) -> None:
    await world.host_network.start()

    world.host_network.close()
    world.drift += SLEPT + 1
    await world.pause()

    assert world.watchers[0].is_closed
    assert world.reported == []


async def test_it_can_be_closed_without_having_been_started(world: World) -> None:
    world.host_network.close()

    assert world.watchers == []
