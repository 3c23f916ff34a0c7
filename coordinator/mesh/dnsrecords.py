"""The records of the mesh's zone, beside the names of its nodes."""

from collections.abc import Collection, Container
from dataclasses import dataclass

from coordinator.mesh.operations import (
    Accepted,
    AddRecord,
    Refused,
    RemoveRecord,
    Result,
)
from meshwg.wire.control import ErrorCode
from meshwg.wire.dnsrecords import MAX_RECORDS, DnsRecord

SPEAKS_FOR_ITS_NAME = ("A", "AAAA", "CNAME")
"""Kinds that say where a name is, which is for a node to say if it is a node's."""


@dataclass(frozen=True, slots=True)
class RecordSet:
    """All records, as of the mesh's version that changed any of them last."""

    records: tuple[DnsRecord, ...] = ()
    version: int = 0


class DraftedRecords:
    """The records as a transaction is about to leave them.

    :param names: those of nodes, as they were before it.
    """

    def __init__(self, before: RecordSet, names: Container[str]) -> None:
        self._before = before
        self._names = names
        self._records = dict.fromkeys(before.records)

    @property
    def changed(self) -> tuple[DnsRecord, ...] | None:
        """All records as they are now, ``None`` if none was changed."""
        now = tuple(self._records)
        return None if now == self._before.records else now

    def of(self, name: str) -> tuple[DnsRecord, ...]:
        """Return the records of a name, as they are now."""
        return tuple(record for record in self._records if record.name == name)

    def add(self, add: AddRecord) -> Result:
        """Add a record; one that is there already stays."""
        record = add.record
        if record in self._records:
            return Accepted(records=(record,))
        why = self._objection(record)
        if why is not None:
            return Refused(ErrorCode.MALFORMED, why)
        self._records[record] = None
        return Accepted(records=(record,))

    def remove(self, remove: RemoveRecord) -> Result:
        """Remove the records of a name, or some of them."""
        gone = tuple(
            record
            for record in self._records
            if record.name == remove.name
            and remove.kind in (None, record.kind)
            and remove.value in (None, record.value)
        )
        if not gone:
            return Refused(
                ErrorCode.UNKNOWN_PEER,
                f"There is no such record at {remove.name}; 'meshwg-coordinator dns "
                "list' shows all",
            )
        for record in gone:
            del self._records[record]
        return Accepted(records=gone)

    def _objection(self, record: DnsRecord) -> str | None:
        """Return why a record cannot stand beside what there is."""
        if record.name in self._names and record.kind in SPEAKS_FOR_ITS_NAME:
            return (
                f"The name {record.name} belongs to a node, which has its own "
                "addresses; choose another one"
            )
        if len(self._records) >= MAX_RECORDS:
            return f"There are {MAX_RECORDS} records, as many as can be; remove some"
        same = [each for each in self._records if each.name == record.name]
        if any("CNAME" in (record.kind, each.kind) for each in same):
            return (
                f"A name that leads to another one has no other records; remove those "
                f"of {record.name} first"
            )
        return None


def difference(
    before: Collection[DnsRecord], after: Collection[DnsRecord]
) -> tuple[tuple[DnsRecord, ...], tuple[DnsRecord, ...]]:
    """Return the records that came, and those that went, in order."""
    had, have = dict.fromkeys(before), dict.fromkeys(after)
    return (
        tuple(each for each in have if each not in had),
        tuple(each for each in had if each not in have),
    )
