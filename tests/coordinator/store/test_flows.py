"""Flows of the last days, in databases of each kind."""

import pytest

from coordinator.mesh.flows import KEPT, Flow
from coordinator.store import flows as module
from coordinator.store.engine import transaction
from coordinator.store.flows import read_flows, write_flows
from tests.coordinator.store.processes import Process

SSH, WEB = Flow("a", "b", "tcp/22"), Flow("10.0.0.5", "b", "tcp/443")


async def write(process: Process, flows: dict[Flow, float]) -> None:
    async with transaction(process.store._engine) as connection:
        await write_flows(connection, flows)


async def test_each_is_there_once_as_it_was_seen_last(process: Process) -> None:
    await write(process, {SSH: 10.0, WEB: 10.0})
    await write(process, {SSH: 20.0})
    await write(process, {})

    async with transaction(process.store._engine) as connection:
        assert await read_flows(connection) == {SSH: 20.0, WEB: 10.0}
    assert await process.store.flows() == {SSH: 20.0, WEB: 10.0}


async def test_old_ones_are_forgotten(process: Process) -> None:
    await write(process, {WEB: 10.0})
    await write(process, {SSH: 10.0 + KEPT})

    assert await process.store.flows() == {SSH: 10.0 + KEPT}


async def test_of_too_many_the_last_ones_stay(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FLOWS", 2)
    for now in range(5):
        await write(process, {Flow("a", "b", f"tcp/{now + 1}"): now})

    assert sorted(each.port for each in await process.store.flows()) == [
        "tcp/4",
        "tcp/5",
    ]
