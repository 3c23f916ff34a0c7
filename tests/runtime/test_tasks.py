"""Tasks beside callbacks: started, awaited, cancelled, and their failures logged."""

import asyncio
import logging

import pytest

from meshwg.runtime.tasks import TaskSet


async def test_tasks_run_and_can_be_waited_for() -> None:
    done: list[int] = []
    tasks = TaskSet()

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)
        if number < 3:
            tasks.run(work(number + 1))

    tasks.run(work(1))
    await tasks.wait()

    assert done == [1, 2, 3]


async def test_cancelled_tasks_end_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = TaskSet()
    running = tasks.run(asyncio.sleep(3600))
    await asyncio.sleep(0)

    tasks.cancel()
    await tasks.wait()

    assert running.cancelled()
    assert caplog.records == []


async def test_a_failure_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("It broke")

    tasks = TaskSet()
    tasks.run(fail())
    await tasks.wait()
    await asyncio.sleep(0)

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "It broke" in record.getMessage()
    assert record.exc_info is not None


async def test_without_tasks_there_is_nothing_to_wait_for() -> None:
    tasks = TaskSet()

    tasks.cancel()
    await tasks.wait()
