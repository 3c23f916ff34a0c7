"""The flows of the last days in the database: bounded, and of no use to nodes."""

from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.mesh.flows import KEPT, MAX_FLOWS, Flow
from coordinator.store import schema
from coordinator.store.rows import upsert


async def read_flows(connection: AsyncConnection) -> dict[Flow, float]:
    """Return all flows, with when each was seen last."""
    rows = await connection.execute(select(schema.flows))
    return {Flow(*row.flow.split(" ")): row.at for row in rows}


async def write_flows(connection: AsyncConnection, flows: Mapping[Flow, float]) -> None:
    """Add flows that were seen just now; forget those that are too old, or too many."""
    if not flows:
        return
    rows = [
        {"flow": f"{each.source} {each.destination} {each.port}", "at": at}
        for each, at in flows.items()
    ]
    table = schema.flows
    await upsert(connection, table, "flow", rows)
    order = select(table.c.at).order_by(table.c.at.desc())
    floor = await connection.scalar(order.offset(MAX_FLOWS).limit(1))
    oldest = max(max(flows.values()) - KEPT, float("-inf") if floor is None else floor)
    await connection.execute(delete(table).where(table.c.at <= oldest))
