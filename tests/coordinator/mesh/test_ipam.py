"""Mesh addresses: chosen at random, given to one node each."""

import random
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from coordinator.mesh.ipam import Networks, allocate, choose_networks
from meshwg.errors import ConfigError

RANDOM = random.Random(1).randbytes


def test_networks_are_random_and_private() -> None:
    chosen = [choose_networks(RANDOM) for _ in range(50)]
    assert len({networks.prefixes for networks in chosen}) > 40
    for networks in chosen:
        assert networks.v4.subnet_of(IPv4Network("100.64.0.0/10"))
        assert networks.v4.prefixlen == 16
        assert networks.v6.subnet_of(IPv6Network("fd00::/8"))
        assert networks.v6.prefixlen == 48


def test_configured_networks_are_taken_as_they_are() -> None:
    networks = choose_networks(RANDOM, "10.9.0.0/24", "fd12::/64")
    assert networks.prefixes == ("10.9.0.0/24", "fd12::/64")
    assert networks.addresses(7) == ("10.9.0.7", "fd12::7")


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        ("10.0.0.1/24", "fd12::/64"),
        ("x", "fd12::/64"),
        ("10.0.0.0/31", "fd12::/64"),
        ("0.0.0.0/1", "fd12::/64"),
        ("10.0.0.0/8", "2000::/3"),
    ],
)
def test_networks_that_do_not_work_are_refused(v4: str, v6: str) -> None:
    with pytest.raises(ConfigError, match="mesh network"):
        choose_networks(RANDOM, v4, v6)


def test_every_address_of_a_small_network_is_given_once() -> None:
    networks = Networks.parse("10.0.0.0/29", "fd00::/64")
    taken: set[int] = set()
    while (number := allocate(networks, taken, RANDOM)) is not None:
        assert number not in taken
        taken.add(number)
    hosts = {networks.addresses(number)[0] for number in taken}
    assert hosts == {str(host) for host in ip_network("10.0.0.0/29").hosts()}


def test_the_address_of_a_removed_node_is_not_reused_next() -> None:
    networks = Networks.parse("10.0.0.0/16", "fd00::/48")
    numbers = {allocate(networks, (), RANDOM) for _ in range(20)}
    assert len(numbers) == 20


def test_a_new_mesh_avoids_what_is_taken() -> None:
    taken = [IPv4Network("100.64.0.0/11"), IPv4Network("100.101.102.103/32")]
    chosen = [choose_networks(RANDOM, taken=taken).v4 for _ in range(50)]
    assert all(each.subnet_of(IPv4Network("100.96.0.0/11")) for each in chosen)
    assert IPv4Network("100.101.0.0/16") not in chosen


def test_where_the_shared_space_is_taken_it_is_a_private_one() -> None:
    taken = [IPv4Network("100.64.0.0/10"), IPv4Network("10.0.0.0/9")]
    chosen = [choose_networks(RANDOM, taken=taken).v4 for _ in range(50)]
    assert all(each.subnet_of(IPv4Network("10.128.0.0/9")) for each in chosen)


def test_where_everything_is_taken_there_is_a_mesh_all_the_same() -> None:
    everything = [IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")]
    assert choose_networks(RANDOM, taken=everything).v4.prefixlen == 16
