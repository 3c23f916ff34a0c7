"""Noticing what other processes write."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from coordinator.dsn import parse_url
from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import CreateAuthKey, Join
from coordinator.store import watch as watch_module
from coordinator.store.engine import Engine, create_engine
from coordinator.store.store import MeshConfig, Store
from coordinator.store.watch import Ears, watch
from meshwg.keys import format_key
from tests.coordinator.live import eventually
from tests.coordinator.store.middlebox import Middlebox

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
    async with watching(store.engine) as (changes, _):
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
    async with watching(store.engine) as (changes, _):
        await changes.wait()
        changes.clear()
        await store.mesh_url()
        await asyncio.sleep(2 * watch_module.POLL_INTERVAL)
        assert not changes.is_set()


@pytest.mark.postgres
async def test_an_offer_reaches_the_process_it_is_for(postgres_url: str) -> None:
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    async with watching(store.engine) as (changes, offers):
        await changes.wait()
        await store.forward([("elsewhere", "not for us")])
        await store.forward([("home", '{"for": "üs"}')])
        assert await offers.get() == '{"for": "üs"}'.encode()
        assert offers.empty()
    await store.close()


@pytest.mark.postgres
async def test_a_lost_connection_is_reopened_and_everything_reread(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECONNECT_INTERVAL", 0.05)
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    async with watching(store.engine) as (changes, _):
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
    away = create_engine(parse_url("postgresql://mesh:hunter2@127.0.0.1:1/mesh"))
    async with watching(away) as (_, _):
        await asyncio.sleep(0.1)
    complaints = [each for each in caplog.messages if "sends no notifications" in each]
    # It was asked several times.
    assert len(complaints) == 1
    assert "hunter2" not in caplog.text
    await store.close()


@pytest.mark.postgres
async def test_a_server_that_falls_silent_is_left_and_found_again(
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(watch_module, "RECONNECT_INTERVAL", 0.05)
    monkeypatch.setattr(watch_module, "PULSE_INTERVAL", 0.05)
    monkeypatch.setattr(watch_module, "PULSE_TIMEOUT", 1.0)
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    hears: list[bool] = []
    async with Middlebox(postgres_url).running() as box:
        engine = create_engine(parse_url(box.url + "&connect_timeout=2"))
        async with watching(engine, hears.append) as (changes, offers):
            await changes.wait()
            await eventually(lambda: hears[-1:] == [True])
            box.freeze()
            await eventually(lambda: hears[-1:] == [False])
            changes.clear()
            box.thaw()
            # What was missed meanwhile is read, and offers arrive again.
            await changes.wait()
            await eventually(lambda: hears[-1:] == [True])
            await store.forward([("home", "{}")])
            assert await offers.get() == b"{}"
    assert "the server does not answer" in caplog.text
    assert "sends notifications again" in caplog.text
    await store.close()


@pytest.mark.postgres
async def test_where_notifications_do_not_arrive_changes_are_looked_for(
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As behind a pool that gives each transaction another connection."""
    monkeypatch.setattr(watch_module, "PULSE_INTERVAL", 0.05)
    monkeypatch.setattr(watch_module, "PULSE_TIMEOUT", 0.2)
    monkeypatch.setattr(watch_module, "offer_channel", lambda _: "another")
    monkeypatch.setattr(watch_module, "VERSION_CHANNEL", "none")
    notify = watch_module.NOTIFY.replace("$1", "$1 || 'lost'")
    monkeypatch.setattr(watch_module, "NOTIFY", notify)
    store = await Store.open(postgres_url, CONFIG, random=os.urandom)
    hears: list[bool] = []
    async with watching(store.engine, hears.append) as (changes, _):
        for _ in range(3):
            await changes.wait()
            changes.clear()
        await eventually(lambda: hears[-1:] == [True])
    told = [each for each in caplog.messages if "notifications do not arrive" in each]
    assert len(told) == 1
    await store.close()


@contextlib.asynccontextmanager
async def watching(
    engine: Engine, on_listening: Callable[[bool], None] = lambda _: None
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Queue[bytes]]]:
    changes, offers = asyncio.Event(), asyncio.Queue[bytes]()
    ears = Ears(changes.set, offers.put_nowait, on_listening)
    task = asyncio.create_task(watch(engine, "home", ears))
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
        "WHERE query LIKE '%pg_notify%' AND pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )
    await connection.close()
