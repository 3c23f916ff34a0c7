"""Opening a database, and what can be wrong with it."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select, text

from coordinator.mesh.operations import Assign, Update
from coordinator.store import engine, schema
from coordinator.store.engine import StoreError
from coordinator.store.rows import to_node
from meshwg.errors import ConfigError
from tests.coordinator.store.processes import Process, auth_key, join


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
        # As it was before that version, and so before those that came after it.
        for undone in (
            "DROP TABLE leases",
            "ALTER TABLE nodes DROP COLUMN cluster",
            "DROP TABLE flows",
        ):
            await connection.execute(text(undone))
        older = text("UPDATE alembic_version SET version_num = :below")
        await connection.execute(older, {"below": script.down_revision})
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
    with pytest.raises(StoreError, match="newer version"):
        await Process.start(database_url)


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
        engine.parse_url(url)


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
    made = engine.create_engine(engine.parse_url(database_url))
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
