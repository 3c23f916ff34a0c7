"""Noticing what other processes write."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import CreateAuthKey, Join
from coordinator.store import watch as watch_module
from coordinator.store.store import MeshConfig, Store
from coordinator.store.watch import watch
from meshwg.keys import format_key

PATIENCE = 20.0
CONFIG = MeshConfig(format_key(bytes(range(32))))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    made = await Store.open(database_url, CONFIG, random=os.urandom)
    yield made
    await made.close()


async def test_a_write_by_another_process_is_noticed(
    store: Store, database_url: str
) -> None:
    async with watching(store) as (changes, _):
        await changes.wait()
        changes.clear()
        other = await Store.open(database_url, CONFIG, random=os.urandom)
        await other.load()
        text, key = new_auth_key(
            os.urandom, reusable=True, ephemeral=False, created=0.0, lifetime=9.0
        )
        join = Join("k", "s", "home", "node", str(text))
        await other.commit([CreateAuthKey(key), join], 1.0)
        await changes.wait()
        await other.close()


async def test_a_read_by_another_process_is_not_a_change(store: Store) -> None:
    async with watching(store) as (changes, _):
        await changes.wait()
        changes.clear()
        await store.mesh_url()
        await asyncio.sleep(2 * watch_module.POLL_INTERVAL)
        assert not changes.is_set()


@pytest.mark.postgres
async def test_an_offer_reaches_the_process_it_is_for(postgres_url: str) -> None:
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    async with watching(store) as (changes, offers):
        await changes.wait()
        await store.forward("elsewhere", "not for us")
        await store.forward("home", '{"for": "üs"}')
        assert await offers.get() == '{"for": "üs"}'.encode()
        assert offers.empty()
    await store.close()


@pytest.mark.postgres
async def test_a_lost_connection_is_reopened_and_everything_reread(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECONNECT_INTERVAL", 0.05)
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    async with watching(store) as (changes, _):
        await changes.wait()
        changes.clear()
        await end_listeners(postgres_url)
        await changes.wait()
    await store.close()


@pytest.mark.postgres
async def test_a_database_that_is_away_is_asked_again(
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watch_module, "RECONNECT_INTERVAL", 0.01)
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    away = store.url.set(host="127.0.0.1", port=1, query={}, password="hunter2")
    task = asyncio.create_task(
        watch(away, "home", on_change=lambda: None, on_offer=lambda _: None)
    )
    await asyncio.sleep(0.1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert "sends no notifications" in caplog.text
    assert "hunter2" not in caplog.text
    await store.close()


@contextlib.asynccontextmanager
async def watching(
    store: Store,
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Queue[bytes]]]:
    changes, offers = asyncio.Event(), asyncio.Queue[bytes]()
    task = asyncio.create_task(
        watch(store.url, "home", on_change=changes.set, on_offer=offers.put_nowait)
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield changes, offers
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def end_listeners(url: str) -> None:
    """End all connections that listen, as an administrator of PostgreSQL can."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    await connection.close()
