"""A small zone, and questions as other people's programs ask them."""

from collections.abc import Iterable

from meshwg.dns.zone import NamedHost, Zone
from meshwg.wire.dnsrecords import DnsRecord

DOMAIN = "mesh.internal"
NETWORKS = ("100.77.0.0/16", "fd12::/48")
LAPTOP = NamedHost("laptop", ("100.77.0.1", "fd12::1"))
DB = NamedHost("db", ("100.77.0.2", "fd12::2"))


def record(name: str, kind: str, value: str) -> DnsRecord:
    return DnsRecord(name=name, kind=kind, value=value)


def zone(
    *records: DnsRecord, hosts: Iterable[NamedHost] = (LAPTOP, DB), domain: str = DOMAIN
) -> Zone:
    return Zone(domain, "laptop", hosts, NETWORKS, records, serial=7)
