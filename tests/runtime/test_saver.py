"""What a node remembers reaches the disk soon, and without holding anything up."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshwg.errors import MeshError
from meshwg.runtime import saver as module
from meshwg.runtime.saver import Saver
from meshwg.runtime.state import StateDirectory


class Disk(StateDirectory):
    """A state directory that can be slow, or full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[bytes] = []
        self.error: MeshError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.writers = self.attempts = 0

    def save_netmap(self, cache: bytes) -> None:
        self.attempts += 1
        self.writers += 1
        assert self.writers == 1
        self.gate.wait(10)
        self.writers -= 1
        if self.error is not None:
            raise self.error
        self.written.append(cache)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(module, "SETTLE", 0.001)
    monkeypatch.setattr(module, "INTERVAL", 0.001)
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    return Disk(tmp_path)


async def test_a_change_is_saved(disk: Disk) -> None:
    saver = Saver()
    netmap = saver.keep(disk.save_netmap, lambda: b"netmap")

    netmap.change()
    await until(lambda: disk.written == [b"netmap"])

    await saver.close()
    assert disk.written == [b"netmap"]


async def test_what_is_not_saved_yet_is_saved_at_the_end(disk: Disk) -> None:
    saver = Saver()
    netmap = saver.keep(disk.save_netmap, lambda: b"netmap")

    netmap.change()
    await saver.close()

    assert disk.written == [b"netmap"]


async def test_without_a_change_or_a_netmap_nothing_is_written(disk: Disk) -> None:
    saver = Saver()
    saver.keep(disk.save_netmap, lambda: None)
    await saver.close()
    saver = Saver()
    netmap = saver.keep(disk.save_netmap, lambda: None)
    netmap.change()
    await saver.close()

    assert disk.written == []


async def test_a_slow_disk_delays_nothing_and_gets_the_newest_netmap(
    disk: Disk,
) -> None:
    netmaps = iter([b"old", b"new"])
    saver = Saver()
    netmap = saver.keep(disk.save_netmap, lambda: next(netmaps))
    disk.gate.clear()
    netmap.change()
    await until(lambda: disk.writers == 1)

    netmap.change()
    closing = asyncio.create_task(saver.close())
    await asyncio.sleep(0.01)
    assert disk.written == []
    disk.gate.set()
    await closing

    assert disk.written == [b"old", b"new"]


async def test_a_full_disk_is_reported_and_retried(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    saver = Saver()
    netmap = saver.keep(disk.save_netmap, lambda: b"netmap")
    disk.error = MeshError("The disk is full")
    with caplog.at_level(logging.ERROR):
        netmap.change()
        await until(lambda: "The disk is full" in caplog.text)

    await until(lambda: disk.attempts > 3)
    assert caplog.text.count("The disk is full") == 1
    disk.error = None
    await until(lambda: disk.written == [b"netmap"])
    await saver.close()

    assert disk.written == [b"netmap"]


async def test_of_several_files_the_last_says_that_the_disk_is_full(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    saver = Saver()

    def refuse(_: bytes) -> None:
        if disk.error is not None:
            raise MeshError("Full: no pins")

    pins = saver.keep(refuse, lambda: b"pins")
    netmap = saver.keep(disk.save_netmap, lambda: b"netmap")
    disk.error = MeshError("Full: no netmap")

    netmap.change()
    pins.change()
    await until(lambda: disk.attempts > 5)
    disk.error = None
    await until(lambda: disk.written == [b"netmap"])
    await saver.close()

    assert [each.message for each in caplog.records] == ["Full: no netmap"]


async def test_a_file_that_cannot_be_written_keeps_no_other_from_it(disk: Disk) -> None:
    def refuse(_: bytes) -> None:
        raise MeshError("It is a directory")

    saver = Saver()
    odd = saver.keep(refuse, lambda: b"odd")
    netmap = saver.keep(disk.save_netmap, lambda: b"netmap")
    odd.change()
    netmap.change()
    await saver.close()

    assert disk.written == [b"netmap"]


async def test_what_is_made_in_parts_leaves_time_for_others_between_them(
    disk: Disk,
) -> None:
    loop = asyncio.get_running_loop()
    order: list[str] = []

    def parts() -> Iterator[bytes]:
        for part in (b"net", b"map"):
            order.append("part")
            loop.call_soon(order.append, "others")
            yield part

    saver = Saver()
    netmap = saver.keep(disk.save_netmap, parts)
    netmap.change()
    await until(lambda: disk.written == [b"netmap"])
    await saver.close()

    assert order == ["part", "others", "part", "others"]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("It never happened")
