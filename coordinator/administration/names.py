"""Records of the mesh's zone, beside the names of nodes."""

from collections.abc import Iterable

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import NewRecord, PageQuery, RecordQuery
from coordinator.administration.pages import page
from coordinator.administration.problems import malformed
from coordinator.mesh.operations import AddRecord, RemoveRecord
from coordinator.mesh.records import dns_record
from meshwg.wire.dnsrecords import (
    DnsRecord,
    canonical_path,
    path_inside,
    read_record,
)


async def list_records(asked: Asked) -> Answer:
    """List all records that were added, in the order in which name servers have them.

    Nodes have their names without them.
    """
    registry, wanted = await asked.mesh.registry(), asked.asking(PageQuery)
    numbered = list(enumerate(registry.records.records))
    shown, more = page(numbered, lambda each: (each[0],), wanted.limit, wanted.cursor)
    return _told((record for _, record in shown), registry.domain, more)


async def add_record(asked: Asked) -> Answer:
    """Name something in the mesh's zone."""
    wanted, domain = asked.sent(NewRecord), (await asked.mesh.registry()).domain
    try:
        record = read_record(wanted.name, wanted.type, wanted.value, domain)
    except ValueError as error:
        raise malformed(f"There is no such record: {error}") from None
    done = await asked.perform(AddRecord(record))
    return _told(done.records, domain)


async def remove_records(asked: Asked) -> Answer:
    """Remove the records of a name: all, or those of a type, or the one of a value."""
    wanted, domain = asked.asking(RecordQuery), (await asked.mesh.registry()).domain
    try:
        name = canonical_path(path_inside(asked.path["name"], domain))
    except ValueError as error:
        raise malformed(f"There is no such record: {error}") from None
    kind = None if wanted.type is None else wanted.type.upper()
    done = await asked.perform(RemoveRecord(name, kind, wanted.value))
    return _told(done.records, domain)


def _told(
    records: Iterable[DnsRecord], domain: str, more: dict[str, object] | None = None
) -> Answer:
    listed = [dns_record(each, domain) for each in records]
    return Answer({"domain": domain, "records": listed, **(more or {})})
