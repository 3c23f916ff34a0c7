"""Links, addresses, routes and rules, held against what ``ip`` sets and shows."""

import json
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_interface, ip_network

import pytest

from meshwg.routing import MAIN_TABLE, PROTOCOL, Action, Route, RoutingRule, table_of
from meshwg.runtime import rtnetlink
from meshwg.runtime.rtnetlink import (
    IFA_F_DEPRECATED,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
    IFF_LOOPBACK,
    IFF_UP,
    KernelLink,
    Snapshot,
    take_snapshot,
)
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host(
        "host", lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    )


def test_links_are_as_ip_shows_them(host: Host) -> None:
    host.run(["ip", "tuntap", "add", "tun7", "mode", "tun"])
    host.run(["ip", "link", "set", "eth0", "mtu", "1400"])
    found = {link.name: link for link in look(host).links}
    assert found["lo"].flags & IFF_LOOPBACK
    assert found["eth0"] == KernelLink(
        number(host, "eth0"), "eth0", found["eth0"].flags, 1400, "veth"
    )
    assert found["eth0"].flags & IFF_UP
    assert not found["tun7"].flags & IFF_UP
    assert found["tun7"].kind == "tun"


def test_addresses_have_their_networks(host: Host) -> None:
    host.run(["ip", "address", "add", "10.0.0.1", "peer", "10.0.0.2", "dev", "eth0"])
    found = {str(each.interface) for each in look(host).addresses}
    assert {f"{host.address(4)}/24", f"{host.address(6)}/64", "10.0.0.1/32"} <= found


def test_routes_of_all_tables_are_found(host: Host) -> None:
    host.run(["ip", "route", "add", "default", "via", "192.0.2.254", "metric", "9"])
    host.run(["ip", "route", "add", "throw", "10.0.0.0/8", "table", "7000"])
    host.run(["ip", "-6", "route", "add", "fd00::/48", "dev", "eth0"])
    hops = ["nexthop", "via", "192.0.2.7", "nexthop", "via", "192.0.2.8"]
    host.run(["ip", "route", "add", "10.1.0.0/16", *hops])
    found = {(r.table, str(r.prefix)): r for r in look(host).routes}

    default = found[MAIN_TABLE, "0.0.0.0/0"]
    assert (default.gateway, default.metric) == ("192.0.2.254", 9)
    assert default.link == found[MAIN_TABLE, "fd00::/48"].link == number(host, "eth0")
    assert found[7000, "10.0.0.0/8"].action == Action.THROW
    assert found[MAIN_TABLE, "10.1.0.0/16"].gateway == "192.0.2.7"


@pytest.mark.parametrize(
    ("text", "catches", "is_for_all"),
    [
        ("table 7000", True, True),
        ("not fwmark 0x99 table 7000", True, True),
        ("table main suppress_prefixlength 0", False, True),
        ("fwmark 0x99 table 7000", False, False),
        ("from 192.0.2.0/24 table 7000", False, False),
        ("to 192.0.2.0/24 table 7000", False, False),
        ("iif eth0 table 7000", False, False),
        ("not iif lo table 7000", False, False),
        ("oif eth0 table 7000", False, False),
        ("ipproto udp dport 53 table 7000", False, False),
        ("uidrange 0-99 table 7000", False, False),
        ("unreachable", False, True),
    ],
)
def test_rules_for_everything_are_told_from_others(
    host: Host, text: str, catches: bool, is_for_all: bool
) -> None:
    host.run(["ip", "rule", "add", "priority", "99", *text.split()])
    (rule,) = [rule for rule in look(host).rules[4] if rule.priority == 99]
    assert (rule.catches, rule.is_for_all) == (catches, is_for_all)
    assert not rule.is_ours


def test_an_address_brings_no_route_with_it(host: Host) -> None:
    link = number(host, "eth0")
    for text in ("100.64.0.1/16", "fd00::1/48"):
        host.call(partial(rtnetlink.add_address, link, ip_interface(text)))
    found = look(host)
    flags = {str(each.interface): each.flags for each in found.addresses}
    assert flags["100.64.0.1/16"] & IFA_F_NOPREFIXROUTE
    assert flags["fd00::1/48"] & IFA_F_NODAD
    networks = {str(each.prefix) for each in found.routes if each.table == MAIN_TABLE}
    assert not networks & {"100.64.0.0/16", "fd00::/48"}

    host.call(lambda: rtnetlink.remove_address(link, ip_interface("fd00::1/48")))
    assert "fd00::1/48" not in {str(each.interface) for each in look(host).addresses}


@pytest.mark.parametrize("text", ["10.60.0.10/32", "fd60::10/128"])
def test_the_kernel_removes_an_address_whose_time_is_over(
    host: Host, text: str
) -> None:
    link = number(host, "lo")
    host.call(partial(rtnetlink.add_address, link, ip_interface(text), seconds=3600))
    (made,) = [each for each in look(host).addresses if str(each.interface) == text]
    assert made.flags & IFA_F_DEPRECATED
    assert not made.flags & IFA_F_PERMANENT

    # What is set anew takes the place of what was there.
    host.call(partial(rtnetlink.add_address, link, ip_interface(text), seconds=1))

    eventually(lambda: text not in {str(a.interface) for a in look(host).addresses})


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fd00::/48"])
def test_a_route_is_added_replaced_and_removed(host: Host, network: str) -> None:
    link, table = number(host, "eth0"), table_of(7)
    source = host.address(6 if ":" in network else 4)
    way = Route(ip_network(network), source=source)
    exception = Route(ip_network(network), Action.THROW)

    host.call(lambda: rtnetlink.add_route(table, link, way))
    (made,) = [each for each in look(host).routes if each.table == table]
    assert (made.prefix, made.link, made.source) == (way.prefix, link, source)
    assert (made.action, made.protocol) == (Action.UNICAST, PROTOCOL)
    with pytest.raises(FileExistsError):
        host.call(lambda: rtnetlink.add_route(table, link, exception, replace=False))

    host.call(lambda: rtnetlink.add_route(table, link, exception))
    (made,) = [each for each in look(host).routes if each.table == table]
    assert made.action == Action.THROW
    host.call(lambda: rtnetlink.remove_route(table, 0, exception))
    assert not [each for each in look(host).routes if each.table == table]


@pytest.mark.parametrize(
    "rule",
    [
        RoutingRule(4, 5100, table_of(7), is_forwarded=True, is_ours=True),
        RoutingRule(6, 5100, table_of(7), is_forwarded=True, is_ours=True),
        RoutingRule(
            4,
            5099,
            table_of(7),
            ip_network("0.0.0.0/32"),
            unmarked=1 << 24,
            is_local=True,
            is_ours=True,
        ),
        RoutingRule(
            6,
            5099,
            table_of(7),
            ip_network("fd00::1/128"),
            unmarked=1 << 30,
            is_local=True,
            finds_source=True,
            is_ours=True,
        ),
    ],
)
def test_a_rule_is_read_as_it_was_made(host: Host, rule: RoutingRule) -> None:
    host.call(lambda: rtnetlink.add_rule(rule))
    assert rule in look(host).rules[rule.version]
    with pytest.raises(FileExistsError):
        host.call(lambda: rtnetlink.add_rule(rule))
    host.call(lambda: rtnetlink.remove_rule(rule))
    assert rule not in look(host).rules[rule.version]


def test_a_link_is_brought_up_with_its_mtu(host: Host) -> None:
    host.run(["ip", "tuntap", "add", "tun7", "mode", "tun"])
    link = number(host, "tun7")
    host.call(lambda: rtnetlink.set_link(link, mtu=1300))
    (made,) = [each for each in look(host).links if each.number == link]
    assert made.flags & IFF_UP
    assert made.mtu == 1300


def test_what_the_kernel_refuses_has_its_number(host: Host) -> None:
    with pytest.raises(OSError, match="No such device"):
        host.call(lambda: rtnetlink.set_link(9999))


def look(host: Host) -> Snapshot:
    return host.call(take_snapshot)


def number(host: Host, interface: str) -> int:
    shown = host.run(["ip", "-json", "link", "show", "dev", interface]).stdout
    return int(json.loads(shown)[0]["ifindex"])


def eventually(holds: Callable[[], bool], limit: float = 30.0) -> None:
    """Wait until something holds; the limit is for a machine that is busy."""
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
