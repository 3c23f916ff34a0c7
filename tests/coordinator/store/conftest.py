"""Coordinator processes on a database of each kind."""

from collections.abc import AsyncIterator

import pytest

from tests.coordinator.store.processes import Process


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[Process]:
    made = await Process.start(database_url)
    yield made
    await made.store.close()


@pytest.fixture
async def other(process: Process, database_url: str) -> AsyncIterator[Process]:
    """A second process on the same database."""
    made = await Process.start(database_url)
    yield made
    await made.store.close()
