"""Leases in the database: few rows, each written again and again."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.mesh.leases import Lease
from coordinator.mesh.operations import Operation, UseLease
from coordinator.store import schema
from coordinator.store.rows import upsert


async def read_leases(
    connection: AsyncConnection, operations: Iterable[Operation]
) -> dict[str, Any]:
    """Return the leases that operations mention, as a draft takes them."""
    wanted = {each.prefix for each in operations if isinstance(each, UseLease)}
    if not wanted:
        return {}
    table = schema.leases
    rows = await connection.execute(
        select(table).where(table.c.prefix.in_(sorted(wanted)))
    )
    count = await connection.scalar(select(func.count()).select_from(table))
    return {
        "leases": {row.prefix: Lease(**row._mapping) for row in rows},
        "lease_count": count or 0,
    }


async def write_leases(
    connection: AsyncConnection, leases: Mapping[str, Lease]
) -> None:
    """Store leases that were written."""
    if leases:
        rows = [dataclasses.asdict(each) for each in leases.values()]
        await upsert(connection, schema.leases, "prefix", rows)
