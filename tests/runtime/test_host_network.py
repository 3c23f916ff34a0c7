"""The host's network: looked at in the beginning, after changes, and after sleep."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from meshwg.runtime import host_network as module
from meshwg.runtime.host_network import (
    INTERVAL,
    REPORT_BURST,
    REST,
    SETTLE,
    SLEPT,
    HostNetwork,
    automatic_mtu,
)
from meshwg.runtime.rtnetlink import Snapshot
from meshwg.runtime.surroundings import Network
from netlab.lab import Lab
from netlab.machine import Host

HOME = Network(("192.168.1.2",), ("192.168.1.0/24",), (), 1)
CAFE = Network(("10.0.0.2",), ("10.0.0.0/8",), (), 1)
CONTAINERS = Network(("192.168.1.2", "172.17.0.1"), ("192.168.1.0/24",), (), 1)
OWN_INTERFACE = 7


class World:
    """A host between networks, whose clocks a test sets.

    :ivar drift: seconds that the machine has been asleep so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.network = HOME
        self.drift = 0.0
        self.reported: list[Network] = []
        self.elsewhere: list[bool] = []
        self.looks = 0
        self.watchers: list[StandInWatcher] = []
        self._news = asyncio.Event()
        self._looked = asyncio.Event()
        monkeypatch.setattr(module, "take_snapshot", lambda: cast(Snapshot, None))
        monkeypatch.setattr(module, "network_in", self._network_in)
        monkeypatch.setattr(module, "ChangeWatcher", self._watch)
        monkeypatch.setattr(module, "_drift", lambda: self.drift)
        monkeypatch.setattr(module, "SLEEP_CHECK", 0.001)
        self.host_network = HostNetwork(
            self._report, self._look, except_interface=OWN_INTERFACE
        )

    def _network_in(self, snapshot: Snapshot, except_interface: int) -> Network:
        assert except_interface == OWN_INTERFACE
        return self.network

    def _look(self) -> None:
        self.looks += 1
        self._looked.set()

    def _watch(
        self,
        groups: int,
        on_change: Callable[[], None],
        *,
        settle: float,
        interval: float,
    ) -> "StandInWatcher":
        assert settle < interval <= 1.0
        self.watchers.append(StandInWatcher(on_change))
        return self.watchers[-1]

    def _report(self, network: Network, is_elsewhere: bool) -> None:
        self.reported.append(network)
        self.elsewhere.append(is_elsewhere)
        self._news.set()

    async def until_reported(self) -> None:
        async with asyncio.timeout(10):
            await self._news.wait()
        self._news.clear()

    async def come_and_go(self, times: int) -> None:
        """Be in another network after each look."""
        for n in range(times):
            self.network = HOME if n % 2 else CAFE
            await self.look()

    async def look(self) -> None:
        """Let something change, and wait for the look at it."""
        self._looked.clear()
        self.watchers[0].on_change()
        async with asyncio.timeout(10):
            await self._looked.wait()

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
    assert world.looks == 1


async def test_other_ways_out_are_told_from_other_addresses(world: World) -> None:
    await world.host_network.start()

    for network in (CONTAINERS, CAFE):
        world.network = network
        world.watchers[0].on_change()
        await world.until_reported()

    assert world.elsewhere == [False, True]


async def test_a_network_that_comes_and_goes_is_reported_a_few_times(
    world: World,
) -> None:
    await world.host_network.start()

    await world.come_and_go(3 * REPORT_BURST)

    assert len(world.reported) == REPORT_BURST
    assert world.looks == 3 * REPORT_BURST, "the own interface is looked after"


async def test_what_the_network_is_in_the_end_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORT_INTERVAL", 0.05)
    await world.host_network.start()

    await world.come_and_go(3 * REPORT_BURST)
    world.network = CONTAINERS
    world.watchers[0].on_change()
    while world.reported[-1] != CONTAINERS:
        await world.until_reported()

    assert world.host_network.current == CONTAINERS


async def test_changes_during_a_look_are_looked_at_once_afterwards(
    world: World,
) -> None:
    await world.host_network.start()

    for _ in range(50):
        world.watchers[0].on_change()
    await world.pause()

    assert 1 <= world.looks <= 2


async def test_after_a_look_that_took_long_there_is_none_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_look", lambda: (None, 1000.0 / REST))
    await world.host_network.start()

    await world.look()
    for _ in range(5):
        world.watchers[0].on_change()
        await world.pause()
    assert world.looks == 1

    world.host_network._rests_until = 0.0
    await world.look()
    assert world.looks == 2


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


# On a real host


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host(
        "host", lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    )


@pytest.mark.netns
@pytest.mark.parametrize(
    ("link_mtu", "expected"), [(1500, 1400), (9000, 1400), (1420, 1320), (1300, 1280)]
)
def test_the_mtu_fits_the_links_of_the_host(
    host: Host, link_mtu: int, expected: int
) -> None:
    host.run(["ip", "link", "set", "eth0", "mtu", str(link_mtu)])

    assert host.call(automatic_mtu) == expected


@pytest.mark.netns
def test_a_change_is_seen_while_others_do_not_stop(host: Host) -> None:
    async def watching() -> tuple[list[Network], int]:
        reported: list[Network] = []
        looks: list[None] = []
        watched = HostNetwork(
            lambda network, _: reported.append(network),
            lambda: looks.append(None),
            except_interface=0,
        )
        await watched.start()
        change = ["ip", "address", "add", "10.9.0.1/24", "dev", "eth0"]
        await (await asyncio.create_subprocess_exec(*change)).wait()
        loop = asyncio.get_running_loop()
        end = loop.time() + 20 * INTERVAL
        churn = "ip route add 10.8.0.0/16 dev eth0; ip route del 10.8.0.0/16 dev eth0"
        rounds = 0
        while not reported and loop.time() < end:
            await (await asyncio.create_subprocess_shell(churn)).wait()
            await asyncio.sleep(SETTLE / 5)
            rounds += 1
        watched.close()
        return reported, len(looks) - rounds

    reported, more_looks_than_rounds = host.call(lambda: asyncio.run(watching()))

    assert "10.9.0.1" in reported[0].addresses
    assert more_looks_than_rounds < 0
