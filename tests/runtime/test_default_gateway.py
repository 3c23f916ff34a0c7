"""Default gateways, from the kernel's own tables."""

import socket

import pytest

from meshwg.runtime.default_gateway import (
    Gateway,
    find_gateway,
    parse_routes4,
    parse_routes6,
)
from netlab.lab import Lab

HEADER4 = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"
ZEROS = "0" * 32
ROUTER = "fe80" + "0" * 27 + "1"


def test_the_default_route_names_the_gateway() -> None:
    assert parse_routes4(table4(("00000000", "0101A8C0", "0003", 100))) == "192.168.1.1"


def test_the_lowest_metric_counts() -> None:
    table = table4(
        ("00000000", "0101A8C0", "0003", 600),
        ("00000000", "0100000A", "0003", 100),
        ("00000000", "0200000A", "0003", 200),
    )
    assert parse_routes4(table) == "10.0.0.1"


@pytest.mark.parametrize(
    "route",
    [
        ("00000000", "00000000", "0001", 0),  # into a tunnel, without a gateway
        ("00000000", "0101A8C0", "0002", 0),  # down
        ("0001A8C0", "0101A8C0", "0003", 0),  # to another network
    ],
)
def test_routes_that_lead_to_no_gateway_are_skipped(
    route: tuple[str, str, str, int],
) -> None:
    assert parse_routes4(table4(route)) is None


def test_half_of_the_internet_is_not_a_default_route() -> None:
    line = "tun0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0"
    assert parse_routes4(f"{HEADER4}\n{line}\n") is None


def test_an_empty_table_names_no_gateway() -> None:
    assert parse_routes4("") is None
    assert parse_routes4(HEADER4) is None
    assert parse_routes6("") is None


def test_a_link_local_gateway_carries_its_zone() -> None:
    assert parse_routes6(route6()) == "fe80::1%eth0"


def test_a_global_gateway_carries_none() -> None:
    assert parse_routes6(route6(via="20010db8" + "0" * 23 + "1")) == "2001:db8::1"


def test_the_lowest_metric_counts_for_ipv6_too() -> None:
    table = route6(metric="00000400") + route6(metric="00000064", interface="wlan0")
    assert parse_routes6(table) == "fe80::1%wlan0"


@pytest.mark.parametrize(
    "line",
    [
        {"flags": "00200200", "interface": "lo"},  # the kernel's "unreachable"
        {"flags": "00000001"},  # into a tunnel
        {"to": "20010db8" + "0" * 24, "length": "20"},
        {"length": "01"},
    ],
)
def test_other_ipv6_routes_are_skipped(line: dict[str, str]) -> None:
    assert parse_routes6(route6(**line)) is None


@pytest.mark.netns
def test_the_gateway_of_a_real_host_is_found_with_the_address_towards_it(
    lab: Lab,
) -> None:
    host = lab.add_host("host", lab.internet)
    gateway = host.call(lambda: find_gateway(socket.AF_INET))
    assert gateway is not None
    assert gateway.local == host.address(4)
    assert gateway.address.rpartition(".")[0] == gateway.local.rpartition(".")[0]
    assert host.call(lambda: find_gateway(socket.AF_INET6)) == Gateway(
        "fe80::1%eth0", host.address(6)
    )


@pytest.mark.netns
def test_a_host_without_a_default_route_has_no_gateway(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("cable", "10.0.0.0/24"))
    assert host.call(lambda: find_gateway(socket.AF_INET)) is None
    assert host.call(lambda: find_gateway(socket.AF_INET6)) is None


def table4(*routes: tuple[str, str, str, int]) -> str:
    """Return /proc/net/route; the mask is the default route's or a /24."""
    lines = [HEADER4]
    for destination, gateway, flags, metric in routes:
        mask = "00000000" if destination == "00000000" else "00FFFFFF"
        fields = ("eth0", destination, gateway, flags, 0, 0, metric, mask, 0, 0, 0)
        lines.append("\t".join(map(str, fields)))
    return "\n".join(lines) + "\n"


def route6(
    *,
    to: str = ZEROS,
    length: str = "00",
    via: str = ROUTER,
    metric: str = "00000400",
    flags: str = "00000003",
    interface: str = "eth0",
) -> str:
    return (
        f"{to} {length} {ZEROS} 00 {via} {metric} 00000001 00000000 {flags} "
        f"{interface:>8}\n"
    )
