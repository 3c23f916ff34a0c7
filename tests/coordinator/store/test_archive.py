"""Taking everything out of a database, and putting it back."""

import os

import pytest
from sqlalchemy import text

from coordinator.dsn import parse_url
from coordinator.mesh.homes import Home
from coordinator.mesh.operations import Remove
from coordinator.store import archive, engine
from coordinator.store.archive import NoArchive
from meshwg.errors import MeshError
from tests.coordinator.store.processes import Process, auth_key, join


async def test_what_was_taken_is_put_back_in_a_new_epoch(
    process: Process, database_url: str
) -> None:
    key = await auth_key(process)
    await process.do(join("a", key), join("b", key))
    taken = await archive.take(parse_url(database_url))
    await process.do(Remove("a"))

    await put_back(database_url, taken)

    back = await Process.start(database_url)
    assert set(back.registry.nodes) == {"a", "b"}
    assert back.registry.version == process.registry.version - 1
    assert back.registry.epoch != process.registry.epoch
    await back.do(join("c", key))
    assert set(back.registry.nodes) == {"a", "b", "c"}
    await back.store.close()


async def test_what_cannot_be_put_back_replaces_nothing(
    process: Process, database_url: str
) -> None:
    key = await auth_key(process)
    await process.do(join("a", key))
    taken = await archive.take(parse_url(database_url))
    taken["tables"]["mesh"]["rows"] = []

    with pytest.raises(NoArchive, match="no mesh in it"):
        await put_back(database_url, taken)

    assert await engine.holds_mesh(parse_url(database_url))


@pytest.mark.postgres
async def test_a_database_in_use_is_not_replaced(postgres_url: str) -> None:
    process = await Process.start(postgres_url)
    await process.store.beat(Home("home"))
    taken = await archive.take(parse_url(postgres_url))

    with pytest.raises(MeshError, match="stop all that do"):
        await put_back(postgres_url, taken)

    async with engine.transaction(process.store._engine) as connection:
        await connection.execute(text("DELETE FROM homes"))
    await put_back(postgres_url, taken)
    await process.store.close()


async def put_back(url: str, taken: archive.Archive) -> None:
    await archive.put_back(
        parse_url(url), taken, random=os.urandom, before_commit=lambda: None
    )
