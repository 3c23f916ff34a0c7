"""The mesh's zone: what is known by which name, and what an address is called.

A zone is made of what a node knows and is never changed: after a change of the netmap
there is another one. Who is not in the node's netmap has no name here, and a record
that leads to such a node does not exist either: the answer is NXDOMAIN, as for a name
that nobody has. Names of nodes, which are pinned to keys, go before records.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from meshwg.dns.message import RecordType, ResourceRecord, ResponseCode
from meshwg.dns.name import (
    IPNetwork,
    is_within,
    reverse_prefix,
    reverse_zones,
    suffixes,
    to_text,
    to_wire,
)
from meshwg.wire.dnsrecords import (
    DnsRecord,
    canonical_path,
    canonical_value,
    target_of,
)

TTL = 60
"""Seconds for which an answer may be kept."""
NEGATIVE_TTL = 5
"""Seconds for which it may be kept that there is none: nodes join any moment."""
MAX_CHAIN = 8
"""Names that lead to one another."""
REFRESH, RETRY, EXPIRE = 3600, 600, 86400
"""Seconds, for secondary servers; there are none."""


@dataclass(frozen=True, slots=True)
class NamedHost:
    """A node by its name."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ZoneAnswer:
    """What a zone says to a question."""

    code: ResponseCode
    answers: tuple[ResourceRecord, ...] = ()
    authority: tuple[ResourceRecord, ...] = ()


class Zone:
    """Names and addresses of a mesh, as one node may see them.

    :param domain: the zone's name, such as ``mesh.internal``.
    :param own: this node's own name.
    :param hosts: this node and its peers.
    :param networks: of the mesh, for names of addresses.
    :param records: beside the nodes' names.
    :param serial: the version of all this.
    """

    def __init__(
        self,
        domain: str,
        own: str,
        hosts: Iterable[NamedHost],
        networks: Iterable[str],
        records: Iterable[DnsRecord] = (),
        serial: int = 0,
    ) -> None:
        self.domain = domain
        self.apex = to_wire(domain)
        self._networks = [ip_network(each) for each in networks]
        self._reverse: dict[bytes, IPNetwork] = {
            name: network
            for network in self._networks
            for name in reverse_zones(network)
        }
        self._serial = serial
        # Little is done for each of them: packets wait while a zone is made.
        # A label may hold any byte, but a name with a dot in it is none.
        known = (each for each in hosts if "." not in each.name)
        self._hosts = {each.name.lower(): each for each in known}
        self._owners = {
            address: name
            for name, host in self._hosts.items()
            for address in host.addresses
        }
        self._added: dict[bytes, dict[int, list[bytes]]] = {}
        """What records say, by name and type."""
        self._between: set[bytes] = set()
        """Names that exist because there is something below them."""
        self._add_records(records)
        self._own = self._absolute(own) or self.apex

    @property
    def reverse_zones(self) -> list[str]:
        """The names of the zones for addresses."""
        return [to_text(name) for name in self._reverse]

    def covers(self, name: bytes) -> bool:
        """Tell whether a name is this zone's to answer.

        :param name: in canonical form.
        """
        if is_within(name, self.apex):
            return True
        return self._reverse_apex(name) is not None

    def look_up(self, name: bytes, type_: int) -> ZoneAnswer:
        """Return what there is at a name that the zone covers.

        :param name: in canonical form.
        """
        if not is_within(name, self.apex):
            return self._look_up_address(name, type_)
        if name == self.apex:
            return self._found_at(name, type_, self._of_apex(type_), self.apex)
        answers: list[ResourceRecord] = []
        for _ in range(MAX_CHAIN):
            present = self._at(name)
            if not present:
                break
            aliases = present.get(RecordType.CNAME, [])
            if not aliases or type_ == RecordType.CNAME:
                answers += _records(name, type_, present.get(type_, []))
                break
            answers += _records(name, RecordType.CNAME, aliases)
            name = aliases[0]
        exists = bool(self._at(name)) or self._exists(name)
        code = ResponseCode.NOERROR if exists else ResponseCode.NXDOMAIN
        if answers:
            return ZoneAnswer(code, tuple(answers))
        return ZoneAnswer(code, (), (self._soa(self.apex),))

    # What it is made of.

    def _absolute(self, path: str) -> bytes | None:
        """Return the whole name of what stands inside, ``None`` if it cannot be one."""
        try:
            return to_wire(f"{path}.{self.domain}")
        except ValueError:
            return None

    def _add_records(self, records: Iterable[DnsRecord]) -> None:
        """Add those that lead to something which this node may see."""
        by_name: dict[str, list[DnsRecord]] = defaultdict(list)
        for record in records:
            by_name[record.name].append(record)
        usable = {name: self._usable(name, given) for name, given in by_name.items()}
        for name in sorted(usable):
            for record in usable[name]:
                if self._leads_somewhere(record, usable, MAX_CHAIN):
                    self._add_record(record)

    def _usable(self, name: str, given: Sequence[DnsRecord]) -> list[DnsRecord]:
        """Return which records of a name may stand there beside each other."""
        valid = [record for record in given if self._is_valid(record)]
        if name in self._hosts:
            return [record for record in valid if record.kind in ("SRV", "TXT")]
        aliases = [record for record in valid if record.kind == "CNAME"]
        return aliases[:1] or valid

    def _is_valid(self, record: DnsRecord) -> bool:
        try:
            canonical_path(record.name)
            value = canonical_value(record.kind, record.value)
        except ValueError:
            return False
        return record.kind not in ("A", "AAAA") or self._may_be_seen(value)

    def _may_be_seen(self, address: str) -> bool:
        """Tell whether an address is outside of the mesh, or a node's that is known."""
        parsed = ip_address(address)
        if not any(parsed in network for network in self._networks):
            return True
        return address in self._owners

    def _leads_somewhere(
        self, record: DnsRecord, usable: dict[str, list[DnsRecord]], patience: int
    ) -> bool:
        target = target_of(record)
        if target is None or target in self._hosts:
            return True
        return patience > 0 and any(
            self._leads_somewhere(each, usable, patience - 1)
            for each in usable.get(target, ())
            if each.kind in ("A", "AAAA", "CNAME")
        )

    def _add_record(self, record: DnsRecord) -> None:
        name = self._absolute(record.name)
        data = self._data_of(record)
        if name is None or data is None:
            return
        type_ = RecordType[record.kind]
        values = self._added.setdefault(name, {}).setdefault(type_, [])
        if data not in values:
            values.append(data)
        self._between.update(each for each in suffixes(name) if each != name)

    def _data_of(self, record: DnsRecord) -> bytes | None:
        value = canonical_value(record.kind, record.value)
        if record.kind in ("A", "AAAA"):
            return ip_address(value).packed
        if record.kind == "TXT":
            text = value.encode()
            return bytes([len(text)]) + text
        if record.kind == "CNAME":
            return self._absolute(value)
        numbers = [int(each) for each in value.split()[:3]]
        target = self._absolute(value.split()[3])
        return None if target is None else struct.pack("!3H", *numbers) + target

    # What it answers.

    def _host_at(self, name: bytes) -> NamedHost | None:
        """Return the node of a name inside the zone."""
        label = name[1 : 1 + name[0]]
        if name[1 + name[0] :] != self.apex or not label.isascii():
            return None
        return self._hosts.get(label.decode())

    def _exists(self, name: bytes) -> bool:
        return name in self._between or self._host_at(name) is not None

    def _at(self, name: bytes) -> dict[int, list[bytes]]:
        """Return what there is at a name, by type."""
        added, host = self._added.get(name, {}), self._host_at(name)
        if host is None:
            return added
        present = dict(added)
        for address in map(ip_address, host.addresses):
            type_ = RecordType.A if address.version == 4 else RecordType.AAAA
            present.setdefault(type_, []).append(address.packed)
        return present

    def _of_apex(self, type_: int) -> list[ResourceRecord]:
        if type_ == RecordType.SOA:
            return [self._soa(self.apex)]
        if type_ == RecordType.NS:
            return [ResourceRecord(self.apex, RecordType.NS, TTL, self._own)]
        return []

    def _reverse_apex(self, name: bytes) -> bytes | None:
        return next((each for each in suffixes(name) if each in self._reverse), None)

    def _look_up_address(self, name: bytes, type_: int) -> ZoneAnswer:
        apex = self._reverse_apex(name)
        assert apex is not None
        prefix = reverse_prefix(name)
        network = self._reverse[apex]
        is_whole = prefix is not None and prefix.prefixlen == prefix.max_prefixlen
        owner = self._owner(prefix) if is_whole else None
        if not _overlap(prefix, network) or (is_whole and owner is None):
            return ZoneAnswer(ResponseCode.NXDOMAIN, (), (self._soa(apex),))
        answers: list[ResourceRecord] = []
        if name == apex and type_ == RecordType.SOA:
            answers = [self._soa(apex)]
        elif name == apex and type_ == RecordType.NS:
            answers = [ResourceRecord(apex, RecordType.NS, TTL, self._own)]
        elif type_ == RecordType.PTR and owner is not None:
            answers = _records(name, RecordType.PTR, [owner])
        return self._found_at(name, type_, answers, apex)

    def _owner(self, prefix: IPNetwork | None) -> bytes | None:
        """Return the name of the node that has an address."""
        name = None if prefix is None else self._owners.get(str(prefix.network_address))
        return None if name is None else self._absolute(name)

    def _found_at(
        self, name: bytes, type_: int, answers: list[ResourceRecord], apex: bytes
    ) -> ZoneAnswer:
        authority = () if answers else (self._soa(apex),)
        return ZoneAnswer(ResponseCode.NOERROR, tuple(answers), authority)

    def _soa(self, apex: bytes) -> ResourceRecord:
        """Return the record whose last number is for how long "no" may be kept."""
        data = self._own + b"\x0ahostmaster" + self.apex
        data += struct.pack(
            "!5I", self._serial & 0xFFFFFFFF, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL
        )
        return ResourceRecord(apex, RecordType.SOA, NEGATIVE_TTL, data)


def _records(name: bytes, type_: int, values: Iterable[bytes]) -> list[ResourceRecord]:
    return [ResourceRecord(name, type_, TTL, data) for data in values]


def _overlap(prefix: IPNetwork | None, network: IPNetwork) -> bool:
    return prefix is not None and (
        prefix.version == network.version and prefix.overlaps(network)
    )
