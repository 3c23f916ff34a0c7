"""Allowed IPs: longest prefix, moves and removals, against the kernel and a model."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.wireguard.allowedips import AllowedIPs

# Linux, drivers/net/wireguard/selftest/allowedips.c
KERNEL_INSERTS = """
a 192.168.4.0/24    b 192.168.4.4/32   c 192.168.0.0/16   d 192.95.5.64/27
c 192.95.5.65/27    d 2607:5300:6000:6b00::c05f:543/128
c 2607:5300:6000:6b00::/64             e 0.0.0.0/0        e ::/0
f ::/0              g 2404:6800::/32   h 2404:6800:4004:800:dead:beef:dead:beef/64
a 2404:6800:4004:800:dead:beef:dead:beef/128
c 2444:6800:40e4:800:deae:beef:def:beef/128
b 2444:6800:f0e4:800:eeae:beef::/98
g 64.15.112.0/20    h 64.15.123.211/25 a 10.0.0.0/25      b 10.0.0.128/25
a 10.1.0.0/30       b 10.1.0.4/30      c 10.1.0.8/29      d 10.1.0.16/29
"""
KERNEL_LOOKUPS = """
a 192.168.4.20      a 192.168.4.0      b 192.168.4.4      c 192.168.200.182
c 192.95.5.68       e 192.95.5.96      d 2607:5300:6000:6b00::c05f:543
c 2607:5300:6000:6b00::c02e:1ee        f 2607:5300:6000:6b01::
g 2404:6800:4004:806::1006             g 2404:6800:4004:806:0:1234:0:5678
f 2404:67ff:4004:806:0:1234:0:5678     f 2404:6801:4004:806:0:1234:0:5678
h 2404:6800:4004:800:0:1234:0:5678     h 2404:6800:4004:800::
h 2404:6800:4004:800:1010:1010:1010:1010
a 2404:6800:4004:800:dead:beef:dead:beef
g 64.15.116.26      g 64.15.127.3      g 64.15.123.1      h 64.15.123.128
h 64.15.123.129     a 10.0.0.52        b 10.0.0.220       a 10.1.0.2
b 10.1.0.6          c 10.1.0.10        d 10.1.0.20
"""


def test_the_kernels_own_test_cases_hold() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    for peer, prefix in pairs(KERNEL_INSERTS):
        table.insert(ip_network(prefix, strict=False), peer)
    for peer, address in pairs(KERNEL_LOOKUPS):
        assert lookup(table, address) == peer, address


def test_a_prefix_given_to_another_peer_moves() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    table.insert(ip_network("10.0.0.0/8"), "a")
    table.insert(ip_network("10.0.0.0/8"), "b")
    assert lookup(table, "10.1.2.3") == "b"
    assert table.of("a") == []
    assert table.of("b") == [ip_network("10.0.0.0/8")]


def test_the_same_prefix_twice_is_one() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    table.insert(ip_network("10.0.0.0/8"), "a")
    table.insert(ip_network("10.0.0.0/8"), "a")
    assert table.of("a") == [ip_network("10.0.0.0/8")]
    table.remove(ip_network("10.0.0.0/8"), "a")
    assert lookup(table, "10.1.2.3") is None


def test_a_removed_prefix_uncovers_the_shorter_one_at_once() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    table.insert(ip_network("10.0.0.0/8"), "a")
    table.insert(ip_network("10.0.0.0/24"), "b")
    assert lookup(table, "10.0.0.7") == "b"
    table.remove(ip_network("10.0.0.0/24"), "b")
    assert lookup(table, "10.0.0.7") == "a"


def test_removing_what_a_peer_does_not_have_changes_nothing() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    table.insert(ip_network("10.0.0.0/24"), "a")
    table.remove(ip_network("10.0.0.0/24"), "b")
    table.remove(ip_network("10.9.0.0/24"), "a")
    table.clear("b")
    assert lookup(table, "10.0.0.7") == "a"


def test_a_cleared_peer_has_nothing_left() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    for prefix in ("192.168.0.0/16", "192.168.0.0/24", "fd00::/8"):
        table.insert(ip_network(prefix), "a")
    table.clear("a")
    assert lookup(table, "192.168.0.1") is None
    assert lookup(table, "fd00::1") is None
    assert table.of("a") == []


@pytest.mark.parametrize("address", [b"", b"\x0a", bytes(5), bytes(15), bytes(17)])
def test_an_invalid_address_belongs_to_no_peer(address: bytes) -> None:
    table: AllowedIPs[str] = AllowedIPs()
    table.insert(ip_network("0.0.0.0/0"), "a")
    table.insert(ip_network("::/0"), "a")
    assert table.lookup(address) is None


def test_the_cache_of_answers_is_bounded() -> None:
    table: AllowedIPs[str] = AllowedIPs()
    table.insert(ip_network("10.0.0.0/8"), "a")
    for number in range(20_000):
        assert table.lookup(IPv4Address(0x0A000000 + number).packed) == "a"
    assert len(table._cache) <= 8192


networks = st.builds(
    lambda address, length: ip_network((address, length), strict=False),
    st.integers(0, 0xFFFF).map(lambda low: 0x0A000000 | low),
    st.integers(8, 32),
)


@given(
    st.lists(st.tuples(networks, st.sampled_from("abc"), st.booleans()), max_size=40),
    st.lists(st.integers(0x0A000000, 0x0A00FFFF), min_size=1, max_size=20),
)
def test_any_history_gives_what_a_linear_search_gives(
    changes: list[tuple[IPv4Network, str, bool]], addresses: list[int]
) -> None:
    table: AllowedIPs[str] = AllowedIPs()
    model: dict[IPv4Network | IPv6Network, str] = {}
    for network, peer, is_insert in changes:
        if is_insert:
            table.insert(network, peer)
            model[network] = peer
        else:
            table.remove(network, peer)
            if model.get(network) == peer:
                del model[network]
        for number in addresses:
            address = IPv4Address(number)
            matching = [n for n in model if address in n]
            longest = max(matching, key=lambda n: n.prefixlen, default=None)
            expected = model[longest] if longest is not None else None
            assert table.lookup(address.packed) == expected


def pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def lookup(table: AllowedIPs[str], address: str) -> str | None:
    return table.lookup(ip_address(address).packed)
