"""Our small subset of netlink, against ``ip`` and against garbage."""

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.runtime import netlink
from netlab.lab import Lab


def test_messages_are_told_apart() -> None:
    data = message(20, b"abcd") + message(21, b"efghi") + message(3, b"")
    assert list(netlink.parse_messages(data)) == [
        (20, b"abcd"),
        (21, b"efghi"),
        (3, b""),
    ]


def test_attributes_are_told_apart() -> None:
    data = attribute(1, b"a") + attribute(2, b"bbbb") + attribute(7, b"")
    assert netlink.parse_attributes(data) == {1: b"a", 2: b"bbbb", 7: b""}


@given(st.binary(max_size=100))
def test_garbage_ends_the_parsing(data: bytes) -> None:
    list(netlink.parse_messages(data))
    netlink.parse_attributes(data)


@pytest.mark.netns
def test_the_addresses_are_those_of_the_namespace(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("cable", "10.0.0.0/24", "fd00::/64"))
    host.run(["ip", "address", "add", "10.9.0.1", "peer", "10.9.0.2", "dev", "eth0"])
    addresses = {str(ip_address(each)) for each in host.call(netlink.local_addresses)}
    link_local = {each for each in addresses if each.startswith("fe80::")}
    expected = {"127.0.0.1", "::1", host.address(4), host.address(6), "10.9.0.1"}
    assert addresses - link_local == expected


@pytest.mark.netns
def test_a_subscription_wakes_for_each_change(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("cable", "10.0.0.0/24"))
    groups = netlink.RTMGRP_LINK | netlink.RTMGRP_IPV4_IFADDR
    with host.call(lambda: netlink.subscribe(groups)) as changes:
        for change in ("link set eth0 mtu 1400", "address add 10.0.0.99/24 dev eth0"):
            netlink.drain(changes)
            host.run(["ip", *change.split()])
            assert changes.recv(1 << 16)


@pytest.mark.netns
def test_a_flood_of_changes_is_survived(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("cable", "10.0.0.0/24"))
    with host.call(lambda: netlink.subscribe(netlink.RTMGRP_LINK)) as changes:
        changes.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for mtu in range(1300, 1310):
            host.run(["ip", "link", "set", "eth0", "mtu", str(mtu)])
        netlink.drain(changes)
        host.run(["ip", "link", "set", "eth0", "mtu", "1400"])
        assert changes.recv(1 << 16)


def message(kind: int, body: bytes) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body
    return data + bytes(-len(data) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data + bytes(-len(data) % 4)
