"""The records of the mesh's zone, as a node holds them."""

from meshwg.wire.control import Records
from meshwg.wire.dnsrecords import MAX_RECORDS, DnsRecord


class RecordTable:
    """What administrators have named beside the nodes, as of which version."""

    def __init__(self) -> None:
        self._records: dict[DnsRecord, None] = {}
        self.version = 0

    @property
    def records(self) -> tuple[DnsRecord, ...]:
        """All records, the oldest first."""
        return tuple(self._records)

    def load(self, records: Records | None) -> None:
        """Start from what was on disk."""
        if records is not None and records.base is None:
            self.update(records)

    def cache(self) -> Records | None:
        """Return what to keep on disk."""
        if not self.version:
            return None
        return Records(version=self.version, added=self.records)

    def update(self, news: Records) -> bool | None:
        """Take news; return whether they changed anything, ``None`` if they begin at
        another version than this one."""
        if news.base is not None and news.base != self.version:
            return False if news.version <= self.version else None
        before = self.records
        if news.base is None:
            self._records.clear()
        for record in news.removed:
            self._records.pop(record, None)
        for record in news.added:
            if len(self._records) < MAX_RECORDS:
                self._records[record] = None
        self.version = news.version
        return self.records != before

    def clear(self) -> bool:
        """Forget everything; return whether there was anything."""
        had_any = bool(self._records)
        self._records.clear()
        self.version = 0
        return had_any
