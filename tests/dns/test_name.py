"""Domain names, with dnspython as the oracle."""

from ipaddress import ip_network

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.dns.name import (
    ROOT,
    is_within,
    labels,
    reverse_name,
    reverse_prefix,
    reverse_zones,
    suffixes,
    to_text,
    to_wire,
)


def test_a_name_is_written_as_others_write_it() -> None:
    for text in ("db.mesh.internal", "_pg._tcp.db.mesh.internal.", "X", "a.b-c.d_e"):
        expected = dns.name.from_text(text).canonicalize().to_wire()

        assert to_wire(text) == expected
        assert to_text(to_wire(text)) == text.lower().removesuffix(".")


def test_the_root_is_a_name() -> None:
    assert to_wire(".") == to_wire("") == ROOT
    assert to_text(ROOT) == "."
    assert is_within(to_wire("a.b"), ROOT)


@pytest.mark.parametrize("text", ["a..b", ".a", "x" * 64, "ä.de", "a." * 127 + "a"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"has|written"):
        to_wire(text)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8))
def test_what_is_shown_of_any_name_can_be_read_again(parts: list[bytes]) -> None:
    wire = b"".join(bytes([len(each)]) + each for each in parts) + ROOT

    shown = to_text(wire)

    assert shown.isprintable()
    assert shown.isascii()
    assert to_wire(shown) == wire.lower()
    assert list(labels(wire)) == parts


def test_a_name_is_within_itself_and_what_is_above_it() -> None:
    db, apex = to_wire("db.mesh.internal"), to_wire("mesh.internal")

    assert is_within(db, apex)
    assert is_within(apex, apex)
    assert not is_within(apex, db)
    assert not is_within(to_wire("db.smesh.internal"), apex)
    # A label that only ends with the bytes of the apex.
    assert not is_within(b"\x0f" + b"xx" + to_wire("mesh.intern")[:-1] + ROOT, apex)
    assert [to_text(each) for each in suffixes(db)] == [
        "db.mesh.internal",
        "mesh.internal",
        "internal",
    ]


@pytest.mark.parametrize("address", ["100.64.0.1", "10.0.0.255", "fd00::1", "2001::"])
def test_an_address_has_the_name_that_others_give_it(address: str) -> None:
    name = reverse_name(address)

    assert name == dns.reversename.from_address(address).to_wire()
    found = reverse_prefix(name)
    assert found is not None
    assert str(found.network_address) == address
    assert found.prefixlen == found.max_prefixlen


def test_a_part_of_a_reverse_name_is_a_network() -> None:
    assert reverse_prefix(to_wire("64.100.in-addr.arpa")) == ip_network("100.64.0.0/16")
    assert reverse_prefix(to_wire("0.d.f.ip6.arpa")) == ip_network("fd00::/12")
    assert reverse_prefix(to_wire("in-addr.arpa")) == ip_network("0.0.0.0/0")


@pytest.mark.parametrize(
    "text",
    [
        *("256.in-addr.arpa", "01.in-addr.arpa", "a.in-addr.arpa", "x.ip6.arpa"),
        *("1.2.3.4.5.in-addr.arpa", "10.ip6.arpa", "mesh.internal", "arpa"),
        f"{'0.' * 33}ip6.arpa",
    ],
)
def test_other_names_stand_for_no_network(text: str) -> None:
    assert reverse_prefix(to_wire(text)) is None


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("100.77.0.0/16", ["77.100.in-addr.arpa"]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.4.0.0/15", ["4.10.in-addr.arpa", "5.10.in-addr.arpa"]),
        ("192.0.2.8/32", ["8.2.0.192.in-addr.arpa"]),
        ("fd12:3456::/32", ["6.5.4.3.2.1.d.f.ip6.arpa"]),
        ("fd12:3456::/31", ["6.5.4.3.2.1.d.f.ip6.arpa", "7.5.4.3.2.1.d.f.ip6.arpa"]),
    ],
)
def test_a_network_has_reverse_zones(network: str, zones: list[str]) -> None:
    assert [to_text(each) for each in reverse_zones(ip_network(network))] == zones


def test_a_network_has_not_too_many_zones() -> None:
    assert len(reverse_zones(ip_network("100.0.0.0/9"))) == 128
