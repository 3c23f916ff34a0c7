"""Rows of the tables, on SQLite and on PostgreSQL."""

import random
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from coordinator.mesh.approvals import Decision, ItemState
from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.nodes import Node
from coordinator.store import schema
from coordinator.store.engine import transaction
from coordinator.store.rows import (
    from_auth_key,
    from_node,
    to_auth_key,
    to_node,
    upsert,
)
from meshwg.wire.routes import RouteTraits
from tests.coordinator.store.processes import Process

NODE = Node(
    key="key",
    name="web",
    requested_name="web",
    number=7,
    role="hub",
    routes=("10.0.0.0/8", "fd00::/8"),
    traits=(RouteTraits(prefix="10.0.0.0/8", priority=5, mapped="11.0.0.0/8"),),
    exit=True,
    wants_exit=True,
    wants_hub=True,
    decisions=(Decision("10.0.0.0/8", True, "alice", 1.5),),
    withheld=(ItemState("10.2.0.0/16", "advertised", "why"),),
    candidates='[{"kind":"host"}]',
    nat='{"mapping":"é"}',
    online=True,
    ephemeral=True,
    home="home",
    session="session",
    auth_key="aabbccddeeff",
    joined=1.25,
    seen=1_800_000_000.123456,
    version=1 << 40,
    revision=1 << 41,
)


async def test_a_node_survives_being_stored(process: Process) -> None:
    for node in (NODE, Node("plain", "plain", "plain", 8)):
        await store(process, schema.nodes, "key", [from_node(node)])
        assert to_node((await rows(process, schema.nodes))[node.key]) == node


async def test_an_auth_key_survives_being_stored(process: Process) -> None:
    _, key = new_auth_key(
        random.Random(1).randbytes,
        reusable=True,
        ephemeral=False,
        created=1.5,
        lifetime=60.0,
    )
    for each in (key, replace(key, revoked=True, limit=7), key.spend(2.5)):
        await store(process, schema.auth_keys, "number", [from_auth_key(each)])
        assert to_auth_key((await rows(process, schema.auth_keys))[key.number]) == each


async def test_only_the_row_of_the_same_key_is_replaced(process: Process) -> None:
    other = replace(NODE, key="other", name="mail", number=8)
    both = [from_node(NODE), from_node(other)]
    await store(process, schema.nodes, "key", both)
    changed = replace(NODE, name="shop", online=False)
    await store(process, schema.nodes, "key", [from_node(changed)])
    found = await rows(process, schema.nodes)
    assert {key: to_node(row) for key, row in found.items()} == {
        "key": changed,
        "other": other,
    }


async def store(process: Process, table: Any, key: str, values: list[Any]) -> None:
    async with transaction(process.store._engine) as connection:
        await upsert(connection, table, key, values)


async def rows(process: Process, table: Any) -> dict[str, Row[Any]]:
    """Return all rows of a table by their first column."""
    async with transaction(process.store._engine) as connection:
        return {row[0]: row for row in await connection.execute(select(table))}
