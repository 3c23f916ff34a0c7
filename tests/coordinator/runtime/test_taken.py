"""What a new mesh avoids on the coordinator's machine."""

from ipaddress import IPv4Network

import pytest

from coordinator.runtime.taken import taken_networks
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

SHARED_SPACE = IPv4Network("100.64.0.0/10")
TAILSCALE = """
table ip filter {
  chain ts-input { iifname != "tailscale0" ip saddr 100.64.0.0/10 counter drop; }
  chain INPUT { type filter hook input priority filter; policy accept; jump ts-input; }
}
"""


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))


def test_addresses_and_routes_are_taken(host: Host) -> None:
    host.run(["ip", "link", "add", "docker0", "type", "bridge"])
    host.run(["ip", "address", "add", "172.17.0.1/16", "dev", "docker0"])
    host.run(["ip", "route", "add", "100.80.0.0/16", "dev", "eth0", "table", "52"])

    taken = host.call(taken_networks)

    for each in ("192.0.2.0/24", "172.17.0.0/16", "100.80.0.0/16"):
        assert IPv4Network(each) in taken
    assert SHARED_SPACE not in taken


def test_beside_tailscale_all_of_its_space_is_taken(host: Host) -> None:
    host.run(["ip", "link", "add", "tailscale0", "type", "bridge"])
    assert SHARED_SPACE in host.call(taken_networks)


def test_so_it_is_where_only_its_firewall_is_left(host: Host) -> None:
    host.run(["nft", "-f", "-"], stdin=TAILSCALE)
    assert SHARED_SPACE in host.call(taken_networks)
