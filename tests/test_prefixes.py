"""Which networks a node can announce."""

from ipaddress import ip_address, ip_network

import pytest

from meshwg import prefixes

MESH = (ip_network("100.70.0.0/16"), ip_network("fd77::/48"))


def test_a_network_that_is_read_again_is_the_same() -> None:
    assert prefixes.network("10.1.0.0/16") is prefixes.network("10.1.0.0/16")
    with pytest.raises(ValueError, match="host bits"):
        prefixes.network("10.1.0.1/16")


@pytest.mark.parametrize(
    "text",
    ["10.1.0.0/16", "192.0.2.5/32", "8.0.0.0/8", "2001:db8::/32", "fd78::/48"],
)
def test_a_network_of_its_own_can_be_behind_a_node(text: str) -> None:
    assert prefixes.refusal(ip_network(text), MESH) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0/0", "too much"),
        ("0.0.0.0/1", "too much"),
        ("128.0.0.0/1", "too much"),
        ("64.0.0.0/3", "too much"),
        ("::/0", "too much"),
        ("2000::/3", "too much"),
        ("100.64.0.0/10", "the mesh"),
        ("100.70.0.0/16", "the mesh"),
        ("100.70.3.4/32", "the mesh"),
        ("fd77::/20", "the mesh"),
        ("fd77::5/128", "the mesh"),
        ("127.0.0.0/8", "itself"),
        ("169.254.169.254/32", "its own link"),
        ("224.0.0.0/8", "itself"),
        ("255.255.255.255/32", "itself"),
        ("fe80::/64", "its own link"),
        ("ff02::/16", "itself"),
        ("::1/128", "itself"),
    ],
)
def test_what_is_everybodys_cannot_be_behind_a_node(text: str, why: str) -> None:
    assert why in (prefixes.refusal(ip_network(text), MESH) or "")


def test_a_zone_is_no_part_of_a_network() -> None:
    with pytest.raises(ValueError, match="zone"):
        prefixes.canonical("2001:db8:77::%1/64")


def test_one_that_cannot_be_read_does_not_stop_the_others() -> None:
    strange = ["", "2001:db8:77::%1/64", "10.0.0.1/8", "x" * 1000, "10.0.0.0/33"]

    assert prefixes.readable(["10.1.0.0/16", *strange, "2001:DB8::/32"]) == (
        "10.1.0.0/16",
        "2001:db8::/32",
    )


def test_only_what_older_nodes_take_for_a_network_is_left_out() -> None:
    assert prefixes.without_zones(["::%1/64", "10.1.0.0/16"]) == ("10.1.0.0/16",)
    with pytest.raises(ValueError, match="host bits"):
        prefixes.without_zones(["10.0.0.1/8"])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8.0.0.0/8", 1 << 24),
        ("10.0.0.0/8", 0),
        ("192.168.7.0/24", 0),
        ("fd00::/16", 0),
        ("2000::/16", 1 << 112),
    ],
)
def test_private_networks_are_nothing_of_the_internet(text: str, size: int) -> None:
    assert prefixes.public_size(text) == size


def test_the_internet_is_what_is_nobodys_own() -> None:
    inside = prefixes.internet(*MESH)
    for text in ("8.8.8.8", "203.0.113.9", "100.63.0.1", "2001:db8::1", "2606:4700::1"):
        assert covering(inside, text) == 1
    for text in (
        *("10.1.2.3", "172.31.0.1", "192.168.1.1", "100.70.0.9", "127.0.0.1"),
        *("169.254.169.254", "224.0.0.251", "255.255.255.255", "0.0.0.1"),
        *("fd77::1", "fc00::1", "fe80::1", "ff02::1", "::1", "2002:a00:1::1"),
        *("::ffff:10.0.0.1", "64:ff9b::a00:1"),
    ):
        assert covering(inside, text) == 0, text


def test_what_a_machine_is_in_is_left_out_of_the_internet() -> None:
    inside = prefixes.internet(
        ip_network("203.0.113.0/24"), ip_network("2001:db8:7::/64")
    )
    assert covering(inside, "203.0.113.9") == covering(inside, "2001:db8:7::9") == 0
    assert covering(inside, "203.0.112.255") == covering(inside, "2001:db8:8::9") == 1
    assert prefixes.internet(ip_network("0.0.0.0/0"), ip_network("::/0")) == ()


def covering(networks: tuple[prefixes.IPNetwork, ...], text: str) -> int:
    return sum(ip_address(text) in network for network in networks)
