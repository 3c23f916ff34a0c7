"""What an administrator may name beside the nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.wire.dnsrecords import (
    DnsRecord,
    canonical_domain,
    canonical_path,
    canonical_value,
    read_record,
    target_of,
)

DOMAIN = "mesh.internal"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Mesh.Internal.", "mesh.internal"),
        ("mesh.example.org", "mesh.example.org"),
        ("x1.y-2", "x1.y-2"),
    ],
)
def test_a_domain_is_written_in_one_way(text: str, domain: str) -> None:
    assert canonical_domain(text) == domain


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "org", "a..b", "-a.b", "a-.b", "a b.c", "ä.de", "77.in-addr.arpa"),
        "x." * 60 + "org",
    ],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a domain has"):
        canonical_domain(text)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (("API", "a", "10.0.0.5"), ("api", "A", "10.0.0.5")),
        (
            ("api.mesh.internal.", "AAAA", "2001:DB8:0::5"),
            ("api", "AAAA", "2001:db8::5"),
        ),
        (("www", "cname", "db.mesh.internal"), ("www", "CNAME", "db")),
        (("_pg._tcp", "SRV", "10  5 05432 db"), ("_pg._tcp", "SRV", "10 5 5432 db")),
        (
            ("_pg._tcp.db", "SRV", "0 0 1 Db.Mesh.Internal."),
            ("_pg._tcp.db", "SRV", "0 0 1 db"),
        ),
        (("db", "TXT", " v=1; x "), ("db", "TXT", "v=1; x")),
    ],
)
def test_a_record_is_written_in_one_way(
    written: tuple[str, str, str], expected: tuple[str, str, str]
) -> None:
    name, kind, value = expected

    assert read_record(*written, DOMAIN) == DnsRecord(name=name, kind=kind, value=value)


@pytest.mark.parametrize(
    ("name", "kind", "value", "why"),
    [
        ("api", "A", "fd00::1", "IPv6|unexpected|Expected|permitted"),
        ("api", "A", "10.0.0.256", "permitted"),
        ("api", "AAAA", "fe80::1%1", "zone"),
        ("api", "MX", "10 db", "one of A, AAAA"),
        ("a_b c", "A", "10.0.0.1", "a name has"),
        ("", "A", "10.0.0.1", "a name has"),
        ("*", "A", "10.0.0.1", "a name has"),
        ("a" * 64, "A", "10.0.0.1", "a name has"),
        ("www", "CNAME", "\x1b[31m", "a name has"),
        ("_x", "SRV", "1 2 db", "priority"),
        ("_x", "SRV", "1 2 65536 db", "priority"),
        ("_x", "SRV", "-1 2 3 db", "priority"),
        ("_x", "SRV", "", "priority"),
        ("db", "TXT", "a\x1bb", "printed"),
        ("db", "TXT", "ä" * 128, "printed"),
    ],
)
def test_what_is_no_record_is_refused(
    name: str, kind: str, value: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        read_record(name, kind, value, DOMAIN)


def test_a_record_tells_where_it_leads() -> None:
    assert target_of(read_record("www", "CNAME", "db")) == "db"
    assert target_of(read_record("_x", "SRV", "1 2 3 db")) == "db"
    assert target_of(read_record("api", "A", "10.0.0.5")) is None


@given(st.text(max_size=30), st.sampled_from(["A", "AAAA", "CNAME", "SRV", "TXT"]))
def test_what_is_canonical_stays_as_it_is(text: str, kind: str) -> None:
    try:
        value = canonical_value(kind, text)
        path = canonical_path(text)
    except ValueError:
        return
    assert canonical_value(kind, value) == value
    assert canonical_path(path) == path
