"""The program around a floating address, with a kernel and a lease of the test's."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from meshwg.errors import MeshError
from meshwg.kubernetes.election import LeaseRecord, LeaseTaken, Timing
from meshwg.runtime.kubernetes.kerneladdresses import KernelAddresses
from meshwg.runtime.kubernetes.lanannouncer import LanAnnouncer
from meshwg.runtime.kubernetes.servicecheck import ServiceCheck
from meshwg.runtime.kubernetes.vip import VipProgram

TIMING = Timing(duration=2.0, deadline=1.0, retry=0.02)


class StandInStore:
    """A lease in memory."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.error: Exception | None = None
        self.is_closed = False
        self.writes = 0

    async def read(self) -> LeaseRecord | None:
        if self.error is not None:
            raise self.error
        return self.record

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        if self.error is not None:
            raise self.error
        known = "" if self.record is None else self.record.version
        if record.version != known:
            raise LeaseTaken
        self.writes += 1
        self.record = replace(record, version=str(self.writes))
        return self.record

    async def close(self) -> None:
        self.is_closed = True

    def holder(self) -> str | None:
        return None if self.record is None else self.record.holder


class Surroundings:
    """Kernel, mesh, link and service, which note what becomes of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.is_here = self.stays = False
        self.problem: str | None = None
        self.why: str | None = None
        self.error: MeshError | None = None

    # The kernel.

    def have(self, seconds: int) -> None:
        if self.error is not None:
            raise self.error
        if not self.is_here:
            self.log.append("have")
        self.is_here = True

    def remove(self) -> None:
        if self.stays:
            raise MeshError("The system does not let go of 10.60.0.10")
        if self.is_here:
            self.log.append("remove")
        self.is_here = False

    # The link.

    def announce(self) -> None:
        self.log.append("announce")

    # The service.

    async def run(self) -> str | None:
        return self.problem


class Mesh:
    """What the node on this machine is told."""

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self.why: str | None = None
        self.error: MeshError | None = None

    async def hold(self, seconds: int) -> str | None:
        if self.error is not None:
            raise self.error
        self._log.append(f"hold {seconds}")
        return self.why

    async def release(self) -> None:
        self._log.append("release")


class Scene:
    """A program that runs, and everything around it."""

    def __init__(self, *, checks: bool = False, lan: bool = False) -> None:
        self.store = StandInStore()
        self.around = Surroundings()
        self.mesh = Mesh(self.around.log)
        self._stop = asyncio.Event()
        program = VipProgram(
            "me",
            TIMING,
            self.store,
            cast(KernelAddresses, self.around),
            route=self.mesh,
            lan=cast(LanAnnouncer, self.around) if lan else None,
            check=cast(ServiceCheck, self.around) if checks else None,
        )
        self._task = asyncio.ensure_future(program.run(self._stop))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; the limit is for a machine that is busy."""
        for _ in range(3000):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("It does not come to that")

    async def stop(self) -> None:
        self._stop.set()
        await self._task


async def test_who_gets_the_lease_has_the_address_and_tells_the_mesh() -> None:
    scene = Scene()
    await scene.until(lambda: "hold 1" in scene.around.log)
    assert scene.around.is_here
    assert scene.store.record is not None
    assert scene.store.record.holder == "me"
    await scene.stop()


async def test_who_stops_takes_it_away_before_the_lease_is_free() -> None:
    scene = Scene()
    await scene.until(lambda: "hold 1" in scene.around.log)
    await scene.stop()
    assert scene.around.log[-2:] == ["remove", "release"]
    assert not scene.around.is_here
    assert scene.store.record is not None
    assert scene.store.record.holder == ""
    assert scene.store.is_closed


async def test_an_address_that_cannot_be_removed_is_not_given_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(checks=True)
    await scene.until(lambda: scene.around.is_here)
    scene.around.stays = True
    scene.around.problem = "connection refused"
    await scene.until(lambda: "does not let go" in caplog.text)
    assert scene.store.record is not None
    assert scene.store.record.holder == "me"
    await scene.until(lambda: scene.store.holder() == "")
    scene.around.stays = False
    await scene.stop()


async def test_another_holder_is_left_alone() -> None:
    scene = Scene()
    scene.store.record = LeaseRecord("other", 3600.0, 0, "x")
    await asyncio.sleep(0.2)
    assert scene.around.log == []
    await scene.stop()
    assert scene.store.record.holder == "other"


async def test_a_stolen_lease_ends_it_here() -> None:
    scene = Scene()
    await scene.until(lambda: scene.around.is_here)
    scene.store.record = LeaseRecord("thief", 3600.0, 0, "x")
    await scene.until(lambda: not scene.around.is_here)
    await scene.stop()


async def test_an_arbiter_that_is_away_ends_it_here_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene()
    await scene.until(lambda: scene.around.is_here)
    scene.store.error = MeshError("The arbiter is away")
    await scene.until(lambda: not scene.around.is_here)
    scene.store.error = None
    await scene.until(lambda: scene.around.is_here)
    said = [each.getMessage() for each in caplog.records]
    assert said.count("The arbiter is away") == 1
    assert "That is well again: The arbiter is away" in said
    await scene.stop()


async def test_a_fault_in_the_way_to_the_arbiter_ends_nothing_for_good(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.store.error = RuntimeError("nobody expected this")
    await scene.until(lambda: "nobody expected this" in caplog.text)
    scene.store.error = None
    await scene.until(lambda: scene.around.is_here)
    await scene.stop()


async def test_where_the_service_fails_the_address_does_not_come() -> None:
    scene = Scene(checks=True)
    scene.around.problem = "connection refused"
    await asyncio.sleep(0.2)
    assert not scene.around.is_here
    scene.around.problem = None
    await scene.until(lambda: scene.around.is_here)
    scene.around.problem = "connection refused"
    await scene.until(lambda: not scene.around.is_here)
    # The address goes first, and then the lease is given up.
    await scene.until(
        lambda: scene.store.record is not None and scene.store.record.holder == ""
    )
    await scene.stop()


async def test_neighbours_on_the_link_are_told() -> None:
    scene = Scene(lan=True)
    await scene.until(lambda: "announce" in scene.around.log)
    await scene.stop()


async def test_a_node_that_does_not_answer_is_told_of_and_nothing_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.mesh.error = MeshError("No meshwg daemon listens")
    await scene.until(lambda: "No meshwg daemon listens" in caplog.text)
    assert scene.around.is_here
    await scene.stop()


async def test_what_the_mesh_does_not_approve_of_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.mesh.why = "The mesh is not told of 10.60.0.10/32"
    await scene.until(lambda: "The mesh is not told of" in caplog.text)
    await scene.stop()


async def test_what_the_kernel_refuses_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.around.error = MeshError("The system refuses 10.60.0.10")
    await scene.until(lambda: "The system refuses" in caplog.text)
    assert "hold 1" not in scene.around.log
    await scene.stop()
