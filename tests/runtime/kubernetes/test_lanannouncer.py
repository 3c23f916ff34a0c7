"""Announcements on a real link, as its other machines take them."""

import json
import time
from functools import partial

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.floatingaddress import parse_addresses
from meshwg.runtime.kubernetes.kerneladdresses import KernelAddresses
from meshwg.runtime.kubernetes.lanannouncer import LanAnnouncer
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

BOTH = parse_addresses(("192.0.2.100", "2001:db8::100"))


@pytest.fixture
def hosts(lab: Lab) -> tuple[Host, Host, Host]:
    switch = lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    first, second, client = (lab.add_host(n, switch) for n in ("a", "b", "client"))
    return first, second, client


def test_neighbours_go_to_where_the_addresses_are_now(
    hosts: tuple[Host, Host, Host],
) -> None:
    first, second, client = hosts
    old = have(first)
    ping(client)
    assert neighbours(client) == {mac_of(first)}

    first.call(old.remove)
    have(second)

    end = time.monotonic() + 30
    while neighbours(client) != {mac_of(second)}:
        assert time.monotonic() < end
        time.sleep(0.05)
    ping(client)


@pytest.mark.parametrize("interface", ["lo", "eth9"])
def test_where_nobody_hears_it_nothing_is_announced(
    hosts: tuple[Host, Host, Host], interface: str
) -> None:
    with pytest.raises(ConfigError):
        hosts[0].call(partial(LanAnnouncer, interface, BOTH))


def have(host: Host) -> KernelAddresses:
    """Put the addresses on a machine, and tell its neighbours."""
    addresses = host.call(partial(KernelAddresses, "eth0", BOTH))
    host.call(partial(addresses.have, 600))
    announcer = host.call(partial(LanAnnouncer, "eth0", BOTH))
    host.call(announcer.announce)
    announcer.close()
    return addresses


def ping(client: Host) -> None:
    for each in BOTH:
        client.run(["ping", "-c", "1", "-W", "10", str(each)])


def mac_of(host: Host) -> str:
    (link,) = json.loads(host.run(["ip", "-json", "link", "show", "eth0"]).stdout)
    return str(link["address"])


def neighbours(client: Host) -> set[str]:
    """Return where a machine believes the addresses to be."""
    found = json.loads(client.run(["ip", "-json", "neigh", "show"]).stdout)
    wanted = set(map(str, BOTH))
    return {each.get("lladdr", "") for each in found if each["dst"] in wanted}
