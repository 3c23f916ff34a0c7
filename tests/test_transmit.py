"""Endpoints read as people write them, and tell apart what must not be mixed up."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.transmit import UDP, Endpoint, Source, Transmit

HOSTS = st.ip_addresses().map(str)
PORTS = st.integers(0, 65535)


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (Endpoint("192.0.2.1", 51820), "192.0.2.1:51820"),
        (Endpoint("2001:db8::1", 443), "[2001:db8::1]:443"),
        (Endpoint("fe80::1%eth0", 1), "[fe80::1%eth0]:1"),
        (Endpoint("192.0.2.1", 0), "192.0.2.1:0"),
    ],
)
def test_an_endpoint_is_written_as_in_a_url(endpoint: Endpoint, text: str) -> None:
    assert str(endpoint) == text


@given(HOSTS, PORTS)
def test_host_and_port_can_be_separated_in_the_text(host: str, port: int) -> None:
    before, _, after = str(Endpoint(host, port)).rpartition(":")

    assert ip_address(before.strip("[]")) == ip_address(host)
    assert (before[0] == "[") == isinstance(ip_address(host), IPv6Address)
    assert isinstance(ip_address(host), IPv4Address | IPv6Address)
    assert int(after) == port


def test_link_and_source_are_not_shown() -> None:
    pinned = Endpoint("192.0.2.1", 1, 7, Source("198.51.100.1", 3))

    assert str(pinned) == str(Endpoint("192.0.2.1", 1))


def test_one_address_on_two_links_is_two_endpoints() -> None:
    plain = Endpoint("192.0.2.1", 1)

    assert plain.link == UDP
    assert plain == Endpoint("192.0.2.1", 1, UDP)
    assert plain != plain._replace(link=1)
    assert plain != plain._replace(source=Source("198.51.100.1", 0))


def test_only_the_source_is_unpinned() -> None:
    pinned = Endpoint("192.0.2.1", 1, 7, Source("198.51.100.1", 3))

    assert pinned.unpinned() == Endpoint("192.0.2.1", 1, 7)
    assert pinned.source is not None


def test_an_endpoint_without_a_source_is_itself_when_unpinned() -> None:
    plain = Endpoint("192.0.2.1", 1)

    assert plain.unpinned() is plain


def test_datagrams_go_with_the_hop_limit_of_the_system_unless_told() -> None:
    assert Transmit(Endpoint("192.0.2.1", 1), [b"x"]).ttl is None
