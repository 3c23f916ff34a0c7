"""Where a hub is reached from outside, and why not."""

import json
from dataclasses import replace

import pytest

from coordinator.mesh.endpoints import (
    Unreachable,
    endpoint_for,
    parse_endpoint,
    public_endpoint,
)
from tests.coordinator.mesh.hubs import BEHIND_NAT, PUBLIC, hub


def test_a_public_address_without_a_firewall_is_reached() -> None:
    assert public_endpoint(hub()) == "203.0.113.9:41641"


def test_a_firewall_that_nobody_has_looked_for_is_taken_not_to_be_there() -> None:
    nat = {**PUBLIC, "filtering": "unknown"}

    assert public_endpoint(hub(nat=nat)) == "203.0.113.9:41641"


def test_a_forwarded_port_is_reached() -> None:
    mapped = (("host", "192.168.1.2", 41641), ("port-mapped", "198.51.100.1", 4500))

    assert public_endpoint(hub(nat=BEHIND_NAT, candidates=mapped)) == (
        "198.51.100.1:4500"
    )


def test_a_nat_that_lets_everybody_in_is_no_obstacle() -> None:
    nat = {**BEHIND_NAT, "filtering": "endpoint-independent"}

    assert public_endpoint(hub(nat=nat)) == "203.0.113.9:41641"


def test_ipv6_serves_where_ipv4_does_not() -> None:
    six = {**PUBLIC, "public": "[2001:db8::9]:41641"}
    node = hub(nat=BEHIND_NAT)
    both = f'{{"ipv4": {json.dumps(BEHIND_NAT)}, "ipv6": {json.dumps(six)}}}'

    assert public_endpoint(replace(node, nat=both)) == "[2001:db8::9]:41641"


@pytest.mark.parametrize(
    ("nat", "why"),
    [
        (BEHIND_NAT, "behind a NAT"),
        ({**PUBLIC, "filtering": "address-dependent"}, "a firewall in front of it"),
        ({**PUBLIC, "public": "192.168.1.2:41641"}, "is a private one"),
        ({**PUBLIC, "public": "100.64.0.2:41641"}, "is a private one"),
        ({**PUBLIC, "public": "x:1"}, "is a private one"),
        ({}, "has not found out yet"),
    ],
    ids=["nat", "firewall", "private", "carrier", "nonsense", "nothing"],
)
def test_what_is_in_the_way_is_said(nat: dict[str, object], why: str) -> None:
    found = public_endpoint(hub(nat=nat))

    assert isinstance(found, Unreachable)
    assert why in str(found)
    assert "--endpoint HOST:PORT" in str(found)


def test_a_hub_that_has_said_nothing_is_not_reached() -> None:
    node = replace(hub(), nat="null", candidates="[]")

    assert isinstance(public_endpoint(node), Unreachable)
    assert isinstance(endpoint_for(node, "mesh.example.org"), Unreachable)
    assert endpoint_for(node, "mesh.example.org:7") == "mesh.example.org:7"


def test_an_administrator_is_believed() -> None:
    node = hub(nat=BEHIND_NAT)

    assert endpoint_for(node, "mesh.example.org") == "mesh.example.org:41641"
    assert endpoint_for(node, "2001:db8::1") == "[2001:db8::1]:41641"
    assert endpoint_for(node, "192.0.2.1:80") == "192.0.2.1:80"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mesh.example.org", ("mesh.example.org", None)),
        ("mesh.example.org:51820", ("mesh.example.org", 51820)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_endpoints_are_names_or_addresses(
    text: str, expected: tuple[str, int | None]
) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "a b", "host:0", "host:65536", "host:x", "-host", "a..b", "fe80::1%2"),
        *("a:b:c", "host\nPostUp = reboot", "h" * 300, "[::1", "host:1:"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"as mesh\.example\.org:51820"):
        parse_endpoint(text)
