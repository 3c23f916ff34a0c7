"""Opening a database, and what can be wrong with it."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    MetaData,
    Table,
    insert,
    inspect,
    select,
    text,
    update,
)

from coordinator.dsn import parse_url
from coordinator.mesh.operations import Assign, Update
from coordinator.store import engine, schema
from coordinator.store.engine import StoreError
from coordinator.store.rows import to_node
from meshwg.errors import ConfigError
from tests.coordinator.store.middlebox import Middlebox
from tests.coordinator.store.processes import Process, auth_key, join

ROLLING_FROM = "0012"
"""The first revision beside which programs of the one before have to go on."""

REVISIONS = {
    each.revision: str(each.down_revision)
    for each in ScriptDirectory(str(engine.MIGRATIONS)).walk_revisions()
    if each.revision >= ROLLING_FROM
}
"""The revisions from then on, each with the one before."""


async def test_the_migrations_make_exactly_the_schema(process: Process) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection)
        found: list[Any] = compare_metadata(context, schema.metadata)
        return found

    async with engine.transaction(process.store._engine) as connection:
        assert await connection.run_sync(differences) == []


async def test_owners_of_before_are_news_to_nodes_that_hold_a_netmap(
    process: Process, database_url: str
) -> None:
    key = await auth_key(process)
    await process.do(join("owned", key), join("other", key))
    await process.do(Assign("owned", "", ("db",)))
    before = process.registry.version
    versions = {each.key: each.version for each in process.registry.nodes.values()}
    script = ScriptDirectory(str(engine.MIGRATIONS)).get_revision("0009")

    async with engine.transaction(process.store._engine) as connection:
        await connection.run_sync(downgrade, str(script.down_revision))
        await connection.run_sync(engine.upgrade, "0009")
    again = await Process.start(database_url)

    assert again.registry.version == before + 1
    assert again.registry.nodes["owned"].version == before + 1
    assert again.registry.nodes["other"].version == versions["other"]
    await again.store.close()


async def test_a_database_of_a_newer_version_is_left_alone(
    process: Process, database_url: str
) -> None:
    async with engine.transaction(process.store._engine) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '99'"))
        await connection.execute(text("UPDATE mesh SET oldest = '98'"))
    with pytest.raises(StoreError, match="newer version"):
        await Process.start(database_url)


async def test_a_newer_schema_that_still_suits_this_version_is_used(
    process: Process, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with engine.transaction(process.store._engine) as connection:
        newer = text("UPDATE alembic_version SET version_num = '9999'")
        await connection.execute(newer)
        await connection.execute(
            text("ALTER TABLE nodes ADD COLUMN news VARCHAR(8) DEFAULT 'x' NOT NULL")
        )
    again = await Process.start(database_url)
    key = await auth_key(again)
    await again.do(join("a", key))
    await process.look()
    assert set(process.registry.nodes) == {"a"}
    assert "of a newer version (9999)" in caplog.text
    await again.store.close()


@pytest.mark.parametrize("revision", sorted(REVISIONS))
async def test_migrations_add_and_leave_the_rest_to_programs_of_before(
    database_url: str, revision: str
) -> None:
    """What a program of the revision before wrote, it can write after it as well."""
    made = engine.create_engine(parse_url(database_url))
    async with engine.transaction(made) as connection:
        await connection.run_sync(engine.upgrade, REVISIONS[revision])
        before = await connection.run_sync(columns)
        await connection.run_sync(engine.upgrade, revision)
        after = await connection.run_sync(columns)
    await made.dispose()
    assert before.keys() <= after.keys()
    for table, known in before.items():
        assert known.items() <= after[table].items()
        new = {name: after[table][name] for name in after[table].keys() - known.keys()}
        assert all(may_be_left_out for _, may_be_left_out in new.values())


async def test_a_program_of_the_version_before_writes_beside_this_one(
    process: Process, database_url: str
) -> None:
    """It knows the tables as they were, and nothing of what was added."""
    older = engine.create_engine(parse_url(database_url))
    script = ScriptDirectory(str(engine.MIGRATIONS)).get_revision("head")
    async with engine.transaction(older) as connection:
        await connection.run_sync(downgrade, str(script.down_revision))
        known = await connection.run_sync(reflect)
        await connection.run_sync(engine.upgrade)
    key = await auth_key(process)
    await process.do(join("a", key))

    async with engine.transaction(older) as connection:
        nodes, mesh, homes = known["nodes"], known["mesh"], known["homes"]
        await connection.execute(select(mesh).with_for_update())
        row = (await connection.execute(select(nodes))).one()._mapping
        values = {**row, "key": "b", "name": "b", "number": 7, "revision": 2}
        await connection.execute(insert(nodes), {**values, "version": 2})
        await connection.execute(update(mesh).values(version=2))
        await connection.execute(insert(homes), {"home": "older", "beat": 1.0})
    await process.look()
    await process.do(join("c", key))

    assert set(process.registry.nodes) == {"a", "b", "c"}
    async with engine.transaction(older) as connection:
        seen = await connection.execute(select(nodes.c.key))
        assert {each.key for each in seen} == {"a", "b", "c"}
    await older.dispose()


@pytest.mark.postgres
async def test_a_database_that_falls_silent_is_named_and_used_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Middlebox(postgres_url).running() as box:
        process = await Process.start(box.url)
        async with engine.transaction(process.store.engine) as _:
            await process.look()
        box.freeze()
        monkeypatch.setattr(engine, "PATIENCE", 0.3)
        accepted = box.accepted
        for _ in range(2):
            with pytest.raises(StoreError, match="does not answer") as caught:
                await process.look()
        assert not caught.value.refused
        box.thaw()
        monkeypatch.setattr(engine, "PATIENCE", 15.0)
        # None of the connections of before is waited for.
        await process.look()
        assert box.accepted > accepted
        await process.store.close()


@pytest.mark.postgres
async def test_a_transaction_that_takes_too_long_costs_no_other_one(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await Process.start(postgres_url)
    connection = await process.store.engine.connect()
    await connection.execute("BEGIN; SELECT * FROM mesh FOR UPDATE")
    monkeypatch.setattr(engine, "PATIENCE", 3.0)

    async def wait_for_lock() -> None:
        with pytest.raises(StoreError, match="does not answer"):
            await process.look()

    waiting = asyncio.create_task(wait_for_lock())
    while not waiting.done():
        await process.store.users()
        await asyncio.sleep(0.02)
    await waiting
    assert not connection.is_closed()
    await connection.close()
    await process.store.close()


@pytest.mark.postgres
async def test_a_connection_that_breaks_costs_no_other_transaction(
    postgres_url: str,
) -> None:
    async with Middlebox(postgres_url).running() as box:
        process = await Process.start(box.url)
        box.cut()
        await process.look()
        await process.store.close()


@pytest.mark.postgres
async def test_a_silent_database_does_not_keep_a_process_from_ending(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CLOSE_TIMEOUT", 0.1)
    async with Middlebox(postgres_url).running() as box:
        process = await Process.start(box.url)
        box.freeze()
        async with asyncio.timeout(20):
            await process.store.close()


@pytest.mark.postgres
async def test_a_user_without_rights_is_told_which(postgres_url: str) -> None:
    made = engine.create_engine(parse_url(postgres_url))
    async with engine.transaction(made) as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.execute(text(f"CREATE ROLE {name}_reader LOGIN"))
    await made.dispose()
    with pytest.raises(StoreError, match="ALTER DATABASE") as caught:
        await Process.start(postgres_url.replace("mesh@", f"{name}_reader@"))
    assert f"{name}_reader@" in str(caught.value)


@pytest.mark.postgres
async def test_a_database_that_becomes_read_only_is_named_and_refuses_nobody(
    postgres_url: str,
) -> None:
    process = await Process.start(postgres_url)
    made = engine.create_engine(parse_url(postgres_url))
    async with engine.transaction(made) as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        setting = "SET default_transaction_read_only TO on"
        await connection.execute(text(f"ALTER DATABASE {name} {setting}"))
    process.store.engine.abort()
    with pytest.raises(StoreError, match="takes no writes") as caught:
        await process.do(Update("a", "[]", "null"))
    assert not caught.value.refused
    await made.dispose()
    await process.store.close()


@pytest.mark.postgres
async def test_a_coordinator_that_stops_in_a_transaction_keeps_no_lock(
    postgres_url: str,
) -> None:
    """The server ends such a transaction, and the others go on."""
    process = await Process.start(postgres_url)
    connection = await process.store.engine.connect()
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    await connection.execute("SET idle_in_transaction_session_timeout = '200ms'")
    await connection.execute("BEGIN; SELECT * FROM mesh FOR UPDATE")
    await process.do(Update("a", "[]", "null"))
    await asyncio.wait_for(ended.wait(), 20)
    await process.store.close()


async def test_many_processes_may_start_at_once(database_url: str) -> None:
    processes = await asyncio.gather(*(Process.start(database_url) for _ in range(8)))
    assert len({process.registry.epoch for process in processes}) == 1
    for process in processes:
        await process.store.close()


async def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match="damaged; restore it") as caught:
        await Process.start(f"sqlite:///{path}")
    assert caught.value.damaged
    assert str(path) in str(caught.value)


async def test_a_file_damaged_while_running_is_noticed(
    sqlite_url: str, tmp_path: Path
) -> None:
    process = await Process.start(sqlite_url)
    key = await auth_key(process)
    await process.do(*(join(f"k{number}", key) for number in range(200)))
    await process.store.close()
    path = tmp_path / "coordinator.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 8192))
    with pytest.raises(StoreError):
        await Process.start(sqlite_url)


async def test_a_directory_that_is_not_there_is_named() -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        await Process.start("sqlite:////nowhere/at/all/coordinator.db")


async def test_a_full_disk_is_reported_and_nothing_is_lost(sqlite_url: str) -> None:
    process = await Process.start(sqlite_url)
    key = await auth_key(process)
    await process.do(join("a", key))

    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    async with engine.transaction(process.store._engine) as connection:
        await connection.run_sync(limit)
    with pytest.raises(StoreError, match="is full; free some space") as caught:
        await process.do(*(join(f"k{number}", key) for number in range(400)))
    assert not caught.value.damaged
    assert set(process.registry.nodes) == {"a"}
    await process.store.close()


async def test_a_locked_database_is_waited_for_and_then_named(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.1)
    process = await Process.start(sqlite_url)
    holder = sqlite3.connect(tmp_path / "coordinator.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await process.do(Update("a", "[]", "null"))
    holder.close()
    await process.do(Update("a", "[]", "null"))
    await process.store.close()


async def test_the_file_is_its_owners_only(sqlite_url: str, tmp_path: Path) -> None:
    process = await Process.start(sqlite_url)
    modes = {os.stat(tmp_path / name).st_mode & 0o777 for name in os.listdir(tmp_path)}
    assert modes == {0o600}
    await process.store.close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://h/d", "sqlite://", "://"])
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="database URL"):
        parse_url(url)


async def test_a_database_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        await Process.start("postgresql://mesh:hunter2@127.0.0.1:1/mesh")
    assert "hunter2" not in str(caught.value)


def test_a_start_imports_nothing_that_it_does_not_need() -> None:
    """Alembic is for migrations, the rest for PostgreSQL: half of what SQLite takes."""
    code = "import sys, coordinator.runtime.server; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "sqlalchemy" in loaded
    assert not loaded & {"alembic", "mako", "asyncpg", "sqlalchemy.dialects.postgresql"}


async def test_who_had_networks_or_was_a_hub_keeps_that_after_the_update(
    database_url: str,
) -> None:
    made = engine.create_engine(parse_url(database_url))
    async with engine.transaction(made) as connection:
        await connection.run_sync(engine.upgrade, "0006")
        for name, number, role, routes in (
            ("hub", 1, "hub", '["10.1.0.0/16"]'),
            ("plain", 2, "node", "[]"),
        ):
            await connection.execute(
                text(
                    "INSERT INTO nodes (key, name, requested_name, number, role, "
                    "routes, candidates, nat, online, ephemeral, expired, home, "
                    "session, joined, seen, version, revision) VALUES (:n, :n, :n, "
                    ":number, :role, :routes, '[]', 'null', false, false, false, '', "
                    "'', 1.0, 1.0, 1, 1)"
                ),
                {"n": name, "number": number, "role": role, "routes": routes},
            )
        await connection.run_sync(engine.upgrade)
        rows = await connection.execute(select(schema.nodes).order_by("name"))
        hub, plain = (to_node(row) for row in rows)
    await made.dispose()

    assert hub.wants_hub
    assert [(each.item, each.approved) for each in hub.decisions] == [
        ("10.1.0.0/16", True),
        ("hub", True),
    ]
    assert (plain.wants_hub, plain.decisions) == (False, ())


def columns(connection: Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return the columns by table: their types, and whether they may be left out."""
    inspector = inspect(connection)
    return {
        table: {
            column["name"]: (
                str(column["type"]),
                bool(column["nullable"] or column["default"]),
            )
            for column in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
    }


def reflect(connection: Connection) -> dict[str, Table]:
    """Return the tables as they are now."""
    found = MetaData()
    found.reflect(connection)
    return dict(found.tables)


def downgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(engine.MIGRATIONS))
    config.attributes["connection"] = connection
    command.downgrade(config, revision)
