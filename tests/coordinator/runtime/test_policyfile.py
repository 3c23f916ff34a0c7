"""A policy file is applied when it changes, and complained of once if it is wrong."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from coordinator.mesh.operations import (
    Accepted,
    ApplyPolicy,
    Operation,
    Refused,
    Result,
)
from coordinator.mesh.policies import make_version
from coordinator.runtime import policyfile
from coordinator.runtime.policyfile import PolicyFile
from coordinator.runtime.worker import StoreWorker
from meshwg.wire.control import ErrorCode

WRONG = "allow = 1"


class StandInWorker:
    """A worker that refuses one text, and accepts all others."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.applied = asyncio.Condition()

    async def perform(self, operation: Operation, actor: str) -> Result:
        assert isinstance(operation, ApplyPolicy)
        async with self.applied:
            self.texts.append(operation.text)
            self.applied.notify_all()
        if operation.text == WRONG:
            return Refused(ErrorCode.MALFORMED, "Line 1 of the policy: it is wrong")
        version = make_version(1, operation.text, operation.author, 0.0)
        return Accepted(policy=version)

    async def wait(self, count: int) -> None:
        """Wait until so many policies were applied."""
        async with asyncio.timeout(20), self.applied:
            await self.applied.wait_for(lambda: len(self.texts) >= count)


async def test_it_is_applied_at_the_start_and_after_each_change(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("# one\n")
    worker = StandInWorker()

    async with watched(file, worker):
        await worker.wait(1)
        file.write_text("# number two\n")
        await worker.wait(2)

    assert worker.texts == ["# one\n", "# number two\n"]


async def test_it_is_read_again_when_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("# one\n")
    worker = StandInWorker()

    async with watched(file, worker) as watching:
        await worker.wait(1)
        watching.look()
        await worker.wait(2)

    assert worker.texts == ["# one\n", "# one\n"]


async def test_what_is_wrong_or_missing_is_said_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "policy.toml"
    worker = StandInWorker()

    with caplog.at_level(logging.ERROR):
        async with watched(file, worker):
            await asyncio.sleep(0.1)
            file.write_text(WRONG)
            await worker.wait(1)
            file.write_bytes(b"\xff")
            await asyncio.sleep(0.1)
            file.write_text("# right")
            await worker.wait(2)

    messages = [record.getMessage() for record in caplog.records]
    assert "Line 1 of the policy: it is wrong" in messages[1]
    assert "cannot be read (No such file" in messages[0]
    assert all(each.startswith("The policy stays as it is") for each in messages)


async def test_without_a_file_nothing_is_applied() -> None:
    worker = StandInWorker()

    async with watched(None, worker) as watching:
        watching.look()
        await asyncio.sleep(0.05)

    assert worker.texts == []


@contextlib.asynccontextmanager
async def watched(
    file: Path | None, worker: StandInWorker
) -> AsyncIterator[PolicyFile]:
    """Watch a file, more often than usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policyfile, "INTERVAL", 0.01)
        watching = PolicyFile(file, cast(StoreWorker, worker))
        task = asyncio.create_task(watching.watch())
        try:
            yield watching
        finally:
            task.cancel()
            await asyncio.wait([task])
