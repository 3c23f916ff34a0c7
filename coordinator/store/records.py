"""The records of the zone in the database: few, so they are read and written whole."""

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.store import schema
from meshwg.wire.dnsrecords import DnsRecord


async def read_records(connection: AsyncConnection) -> tuple[DnsRecord, ...]:
    """Return all records, the oldest first."""
    table = schema.dns_records
    rows = await connection.execute(select(table).order_by(table.c.position))
    return tuple(
        DnsRecord(name=row.name, kind=row.kind, value=row.value) for row in rows
    )


async def write_records(
    connection: AsyncConnection, records: tuple[DnsRecord, ...], version: int
) -> None:
    """Replace all records.

    :param version: of the mesh, from which on they are these.
    """
    await connection.execute(delete(schema.dns_records))
    rows = [
        {
            "position": position,
            "name": record.name,
            "kind": record.kind,
            "value": record.value,
        }
        for position, record in enumerate(records)
    ]
    if rows:
        await connection.execute(insert(schema.dns_records), rows)
    await connection.execute(update(schema.mesh).values(records_version=version))
