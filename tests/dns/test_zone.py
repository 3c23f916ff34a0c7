"""What the zone says, read by dnspython."""

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from meshwg.dns.message import ResponseCode, read_query, respond
from meshwg.dns.name import to_wire
from meshwg.dns.zone import NEGATIVE_TTL, TTL, NamedHost, Zone
from tests.dns.zones import DB, LAPTOP, record, zone

REVERSE = "2.0.77.100.in-addr.arpa"


def look_up(where: Zone, name: str, kind: str = "A") -> dns.message.Message:
    """Ask a zone, and have its answer read by others."""
    query = read_query(dns.message.make_query(name, kind).to_wire())
    assert query is not None
    assert query.question is not None
    found = where.look_up(query.question.name.lower(), query.question.type)
    return dns.message.from_wire(
        respond(query, found.code, found.answers, found.authority)
    )


def values(where: Zone, name: str, kind: str = "A") -> list[str]:
    return [
        str(each) for section in look_up(where, name, kind).answer for each in section
    ]


def test_a_node_has_its_addresses() -> None:
    assert values(zone(), "db.mesh.internal") == ["100.77.0.2"]
    assert values(zone(), "DB.Mesh.Internal", "AAAA") == ["fd12::2"]
    answer = look_up(zone(), "db.mesh.internal")
    assert answer.answer[0].ttl == TTL
    assert answer.authority == []


def test_an_address_has_its_node() -> None:
    assert values(zone(), REVERSE, "PTR") == ["db.mesh.internal."]
    six = dns.message.from_wire(
        dns.message.make_query("2" + ".0" * 27 + ".2.1.d.f.ip6.arpa", "PTR").to_wire()
    )
    assert values(zone(), str(six.question[0].name), "PTR") == ["db.mesh.internal."]


def test_what_nobody_has_does_not_exist() -> None:
    for name in ("web.mesh.internal", "a.db.mesh.internal", "9.0.77.100.in-addr.arpa"):
        answer = look_up(zone(), name)

        assert answer.rcode() == dns.rcode.NXDOMAIN
        assert answer.answer == []
        (soa,) = answer.authority[0]
        assert answer.authority[0].ttl == soa.minimum == NEGATIVE_TTL
        assert soa.serial == 7


def test_what_has_nothing_of_a_type_exists_all_the_same() -> None:
    for name, kind in (
        ("db.mesh.internal", "MX"),
        ("mesh.internal", "A"),
        (REVERSE, "A"),
        ("0.77.100.in-addr.arpa", "PTR"),
        ("77.100.in-addr.arpa", "PTR"),
    ):
        answer = look_up(zone(), name, kind)

        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.answer == []
        assert answer.authority[0].rdtype == dns.rdatatype.SOA


def test_the_zone_says_what_it_is() -> None:
    (soa,) = look_up(zone(), "mesh.internal", "SOA").answer[0]
    assert soa.mname.to_text() == "laptop.mesh.internal."
    assert soa.rname.to_text() == "hostmaster.mesh.internal."
    assert values(zone(), "mesh.internal", "NS") == ["laptop.mesh.internal."]
    assert values(zone(), "77.100.in-addr.arpa", "NS") == ["laptop.mesh.internal."]
    (soa,) = look_up(zone(), "77.100.in-addr.arpa", "SOA").answer[0]
    assert soa.minimum == NEGATIVE_TTL


def test_it_covers_its_names_and_addresses_and_no_others() -> None:
    where = zone()

    for name in ("mesh.internal", "x.y.mesh.internal", REVERSE, "77.100.in-addr.arpa"):
        assert where.covers(to_wire(name)), name
    for name in ("internal", "smesh.internal", "example.org", "100.in-addr.arpa", "."):
        assert not where.covers(to_wire(name)), name
    assert where.reverse_zones[0] == "77.100.in-addr.arpa"
    assert len(where.reverse_zones) == 2


def test_records_of_administrators_are_there() -> None:
    where = zone(
        record("api", "A", "10.0.0.5"),
        record("api", "A", "10.0.0.6"),
        record("api", "AAAA", "2001:db8::5"),
        record("www", "CNAME", "db"),
        record("_pg._tcp.db", "SRV", "10 5 5432 db"),
        record("db", "TXT", 'owner="sre"'),
        record("mail.x", "A", "192.0.2.1"),
    )

    assert values(where, "api.mesh.internal") == ["10.0.0.5", "10.0.0.6"]
    assert values(where, "api.mesh.internal", "AAAA") == ["2001:db8::5"]
    assert values(where, "www.mesh.internal") == ["db.mesh.internal.", "100.77.0.2"]
    assert values(where, "www.mesh.internal", "CNAME") == ["db.mesh.internal."]
    assert values(where, "_pg._tcp.db.mesh.internal", "SRV") == [
        "10 5 5432 db.mesh.internal."
    ]
    assert values(where, "db.mesh.internal", "TXT") == ['"owner=\\"sre\\""']
    for between in ("x.mesh.internal", "_tcp.db.mesh.internal"):
        assert look_up(where, between).rcode() == dns.rcode.NOERROR
        assert values(where, between) == []


def test_a_name_without_the_wanted_type_at_its_end_shows_where_it_leads() -> None:
    where = zone(record("www", "CNAME", "db"))

    answer = look_up(where, "www.mesh.internal", "MX")

    assert answer.rcode() == dns.rcode.NOERROR
    assert [each.rdtype for each in answer.answer] == [dns.rdatatype.CNAME]


def test_records_of_nodes_that_may_not_be_seen_do_not_exist() -> None:
    records = (
        record("primary", "A", "100.77.0.2"),
        record("primary", "AAAA", "fd12::2"),
        record("www", "CNAME", "db"),
        record("web", "CNAME", "www"),
        record("_pg._tcp", "SRV", "10 5 5432 primary"),
    )
    names = ("primary", "www", "web", "_pg._tcp")

    seen, unseen = zone(*records), zone(*records, hosts=(LAPTOP,))

    for name in names:
        kind = "SRV" if name.startswith("_") else "A"
        assert values(seen, f"{name}.mesh.internal", kind), name
        code = look_up(unseen, f"{name}.mesh.internal", kind).rcode()
        assert code == dns.rcode.NXDOMAIN, name


def test_no_record_speaks_for_a_node() -> None:
    where = zone(
        record("db", "A", "192.0.2.66"),
        record("db", "CNAME", "laptop"),
    )

    assert values(where, "db.mesh.internal") == ["100.77.0.2"]


def test_an_alias_stands_alone() -> None:
    where = zone(record("www", "A", "192.0.2.66"), record("www", "CNAME", "db"))

    assert values(where, "www.mesh.internal") == ["db.mesh.internal.", "100.77.0.2"]


def test_names_that_lead_in_a_circle_do_not_exist() -> None:
    where = zone(record("a", "CNAME", "b"), record("b", "CNAME", "a"))

    assert look_up(where, "a.mesh.internal").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("kind", "value"),
    [("A", "nonsense"), ("AAAA", "10.0.0.1"), ("SRV", "1 2 db"), ("MX", "10 db")],
)
def test_what_a_newer_coordinator_says_is_passed_over(kind: str, value: str) -> None:
    where = zone(record("x", kind, value))

    assert look_up(where, "x.mesh.internal").rcode() == dns.rcode.NXDOMAIN


def test_nodes_with_names_that_cannot_be_are_not_in_it() -> None:
    where = zone(hosts=(NamedHost("a.b", ("100.77.0.9",)), NamedHost("x" * 64, ()), DB))

    assert look_up(where, "a.b.mesh.internal").rcode() == dns.rcode.NXDOMAIN
    assert values(where, "db.mesh.internal") == ["100.77.0.2"]


def test_a_node_of_ipv4_alone_has_no_other_address() -> None:
    where = zone(hosts=(NamedHost("old", ("100.77.0.9",)),))

    answer = look_up(where, "old.mesh.internal", "AAAA")

    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.answer == []


def test_a_zone_of_nobody_can_be_asked() -> None:
    where = Zone("mesh.internal", "", (), ())

    found = where.look_up(to_wire("mesh.internal"), dns.rdatatype.NS)

    assert found.code is ResponseCode.NOERROR
