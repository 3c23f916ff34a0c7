"""Local addresses in control messages, and endpoints as addresses of the system."""

import socket

import pytest

from meshwg.runtime.pktinfo import (
    address_of,
    ask_for_pktinfo,
    hop_limit,
    host_of,
    parse_pktinfo,
    pktinfo,
)
from meshwg.transmit import Endpoint, Source

IP_RECVTTL = 12
LOOPBACK_INDEX = socket.if_nametoindex("lo")


@pytest.mark.parametrize(
    "source", [Source("192.0.2.7", 3), Source("2001:db8::7", 4)], ids=["ipv4", "ipv6"]
)
def test_what_pins_a_source_is_what_tells_of_one(source: Source) -> None:
    ((_, _, data),) = pktinfo(source)

    assert parse_pktinfo(data) == source


def test_no_source_needs_no_control_message() -> None:
    assert pktinfo(None) == []


@pytest.mark.parametrize("size", [0, 1, 11, 13, 19, 21])
def test_a_control_message_of_another_size_names_no_source(size: int) -> None:
    assert parse_pktinfo(bytes(size)) is None


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
    ids=["ipv4", "ipv6"],
)
def test_the_kernel_tells_where_a_datagram_arrived(
    family: socket.AddressFamily, host: str
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        ask_for_pktinfo(sock)
        sock.bind((host, 0))
        sock.sendto(b"x", sock.getsockname())
        _, ((_, _, data),), _, _ = sock.recvmsg(1, 128)

    assert parse_pktinfo(data) == Source(host, LOOPBACK_INDEX)


@pytest.mark.parametrize(
    ("family", "host", "asked", "level", "kind"),
    [
        (socket.AF_INET, "127.0.0.1", IP_RECVTTL, socket.IPPROTO_IP, "ipv4"),
        (
            socket.AF_INET6,
            "::1",
            socket.IPV6_RECVHOPLIMIT,
            socket.IPPROTO_IPV6,
            "ipv6",
        ),
    ],
    ids=["ipv4", "ipv6"],
)
def test_a_hop_limit_holds_for_one_call(
    family: socket.AddressFamily, host: str, asked: int, level: int, kind: str
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(level, asked, 1)
        sock.bind((host, 0))
        limit = hop_limit(3, is_ipv4=kind == "ipv4")
        for messages in [limit], []:
            sock.sendmsg([b"x"], messages, 0, sock.getsockname())
        heard = [sock.recvmsg(1, 128)[1] for _ in range(2)]

    limits = [int.from_bytes(data, "little") for ((_, _, data),) in heard]
    assert limits[0] == 3
    assert limits[1] != 3


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (Endpoint("192.0.2.1", 7), ("192.0.2.1", 7)),
        (Endpoint("2001:db8::1", 7), ("2001:db8::1", 7, 0, 0)),
        (Endpoint("fe80::1%lo", 7), ("fe80::1", 7, 0, LOOPBACK_INDEX)),
        (Endpoint("fe80::1%12", 7), ("fe80::1", 7, 0, 12)),
        (Endpoint("fe80::1%nowhere", 7), ("fe80::1", 7, 0, 0)),
    ],
)
def test_an_endpoint_has_an_address(
    endpoint: Endpoint, address: tuple[str, int]
) -> None:
    assert address_of(endpoint, is_ipv4=":" not in endpoint.host) == address


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("192.0.2.1", 7), "192.0.2.1"),
        (("2001:db8::1", 7, 0, 0), "2001:db8::1"),
        (("fe80::1", 7, 0, LOOPBACK_INDEX), f"fe80::1%{LOOPBACK_INDEX}"),
        (("fe80::1", 7, 0, 999_999), "fe80::1%999999"),
    ],
)
def test_a_link_local_address_keeps_its_zone(
    address: tuple[str, int], host: str
) -> None:
    assert host_of(address) == host
