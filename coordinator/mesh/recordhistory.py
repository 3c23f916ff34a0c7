"""What some nodes may know of the zone's records, and what changed since they did.

Each message is made once, for all who hold the same version. Of changes the last few
are kept; who holds something older gets everything, which is little.
"""

from collections import deque

from coordinator.mesh.dnsrecords import RecordSet, difference
from meshwg.wire.control import Records, encode
from meshwg.wire.dnsrecords import DnsRecord

REMEMBERED = 64
"""Changes from before which everything is sent."""


class RecordHistory:
    """The records, and those before the last changes."""

    def __init__(self, present: RecordSet) -> None:
        self._present = present
        self._former: deque[RecordSet] = deque(maxlen=REMEMBERED)
        self._payloads: dict[int, list[bytes]] = {}

    @property
    def version(self) -> int:
        """The mesh's version that last changed any record."""
        return self._present.version

    def put(self, records: tuple[DnsRecord, ...], version: int) -> bool:
        """Take the records as of a version; return whether nodes see a difference."""
        if records == self._present.records or version <= self.version:
            return False
        self._former.append(self._present)
        self._present = RecordSet(records, version)
        self._payloads.clear()
        return True

    def since(self, version: int) -> list[bytes]:
        """Return the payloads that lead from a version to the present one.

        :param version: 0 for a node that holds none, less for one that holds nobody
            knows what.
        """
        if version == self.version or (version == 0 and not self._present.records):
            return []
        payloads = self._payloads.get(version)
        if payloads is None:
            payloads = self._payloads[version] = [encode(self._message(version))]
        return payloads

    def _message(self, version: int) -> Records:
        present = self._present
        known = next((each for each in self._former if each.version == version), None)
        if known is None:
            return Records(version=present.version, added=present.records)
        added, removed = difference(known.records, present.records)
        return Records(
            version=present.version, base=version, added=added, removed=removed
        )
