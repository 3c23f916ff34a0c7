"""Changes are reported soon, and a storm of them as rarely as a few."""

import asyncio
import subprocess

import pytest

from meshwg.runtime import netlink
from meshwg.runtime.changes import ChangeWatcher
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable"))


def test_each_change_is_reported(host: Host) -> None:
    async def run() -> None:
        calls: list[None] = []
        watcher = watch(calls, interval=0.0)
        for number in (1, 2, 3):
            change(number)
            await counted(calls, number)
        watcher.close()

    host.call(lambda: asyncio.run(run()))


def test_changes_that_belong_together_are_reported_once(host: Host) -> None:
    async def run() -> None:
        calls: list[None] = []
        watcher = watch(calls, settle=0.5)
        for number in range(3):
            change(number)
        assert calls == []
        await counted(calls, 1)
        watcher.close()

    host.call(lambda: asyncio.run(run()))


def test_what_comes_between_two_calls_is_reported_by_the_second(host: Host) -> None:
    async def run() -> None:
        calls: list[None] = []
        watcher = watch(calls, interval=0.5)
        change(1)
        await counted(calls, 1)
        for number in range(2, 10):
            change(number)
        # Messages that were lost on the way are changes, too.
        await counted(calls, 2)
        watcher.close()

    host.call(lambda: asyncio.run(run()))


def test_some_calls_may_follow_each_other_at_once(host: Host) -> None:
    async def run() -> None:
        calls: list[None] = []
        watcher = watch(calls, interval=3600.0, burst=2)
        for number in (1, 2):
            change(number)
            await counted(calls, number)
        change(3)
        await asyncio.sleep(0.1)
        watcher.close()
        assert len(calls) == 2

    host.call(lambda: asyncio.run(run()))


def test_nothing_is_reported_after_the_end(host: Host) -> None:
    async def run() -> None:
        calls: list[None] = []
        for settle in (0.0, 0.05):
            watcher = watch(calls, settle=settle)
            change(1)
            watcher.close()
        change(2)
        await asyncio.sleep(0.1)
        assert calls == []

    host.call(lambda: asyncio.run(run()))


def watch(
    calls: list[None], *, settle: float = 0.0, interval: float = 0.0, burst: int = 1
) -> ChangeWatcher:
    return ChangeWatcher(
        netlink.RTMGRP_LINK,
        lambda: calls.append(None),
        settle=settle,
        interval=interval,
        burst=burst,
    )


def change(number: int) -> None:
    """Change something in the namespace of this thread."""
    subprocess.run(["ip", "link", "set", "lo", "mtu", str(2000 + number)], check=True)


async def counted(calls: list[None], number: int) -> None:
    async with asyncio.timeout(10):
        while len(calls) < number:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
