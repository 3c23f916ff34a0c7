"""Tunnels over paths that carry less than their ends know, and do not say so."""

import socket
from contextlib import closing

import pytest

from netlab import links
from netlab.lab import Lab
from netlab.machine import FORWARDING, Host
from netlab.wireguard import MESHWG, MTU
from tests.interop.meshes import Coordinator, Member
from tests.interop.tunnels import (
    IPV4_AND_ICMP,
    PATIENCE,
    join,
    ping,
    transfer,
)

pytestmark = pytest.mark.netns

PATH_MTU = 1400
SILENT = """\
table inet silent {
    chain output {
        type filter hook output priority 0;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""
"""Rules of a router that does not tell what is too long for it."""


FRAGMENTS = """\
table inet fragments {
    chain before_they_are_joined {
        type filter hook prerouting priority -450;
        ip frag-off & 0x3fff != 0 drop
    }
}
"""
"""Rules of a router that drops fragments."""


def test_every_packet_passes_a_narrow_path_of_which_no_router_tells(lab: Lab) -> None:
    one, other = join(*across_a_narrow_link(lab), (MESHWG, MESHWG))
    for count in 1, 20:
        # The later ones go through a socket that is connected to the peer.
        for size in 1300, 1340, 1372, MTU:
            ping(one, other.ip, count=count, size=size - IPV4_AND_ICMP)
    for sender, receiver in (one, other), (other, one):
        for length in range(1300, 2601, 100):
            converse(sender.host, receiver.host, receiver.ip, length)
        transfer(sender, receiver, receiver.ip, bytes(1 << 20))


LONGEST = {False: 1328, True: 1312}
"""Bytes of the longest inner packet in a datagram of PATH_MTU, by whether that is IPv6:
with 8 bytes of UDP and 32 of WireGuard, padded to 16."""


def test_nodes_find_what_a_path_that_drops_fragments_carries(lab: Lab) -> None:
    hosts = across_a_narrow_link(lab, FRAGMENTS)
    coordinator = Coordinator(hosts[0])
    coordinator.start()
    token = coordinator.token(reusable=True)
    one, other = (Member(host).join(token) for host in hosts)
    one.wait_until_sees(other.name)
    address = other.addresses[0]
    one.host.run(["ping", "-q", "-c", "30", "-i", "0.1", "-W", "10", address])
    one.wait_until(
        lambda status: status["peers"][0]["path"]["kind"] == "direct", "it is direct"
    )

    def is_told() -> bool:
        """Return whether the kernel was told what is too long for the path in use."""
        command = ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1372", address]
        one.host.run(command, check=False)
        is_ipv6 = "[" in one.status()["peers"][0]["path"]["remote"]
        told = one.host.run(["ip", "route", "get", address]).stdout
        return f"mtu {LONGEST[is_ipv6]}" in told

    one.host.wait_until(is_told, "the length that passes was found")
    for length in range(1300, 2601, 100):
        converse(one.host, other.host, address, length)
        converse(other.host, one.host, one.addresses[0], length)


def across_a_narrow_link(lab: Lab, rules: str = "") -> tuple[Host, Host]:
    """Return two hosts; between their networks is a link of :data:`PATH_MTU`.

    :param rules: for the routers at its ends, of nftables.
    """
    left = lab.add_switch("left", "192.0.2.0/24", "2001:db8:2::/64")
    right = lab.add_switch("right", "198.51.100.0/24", "2001:db8:3::/64")
    link = lab.add_switch("link", "198.18.0.0/24", "2001:db8:18::/64")
    one, other = lab.add_host("one", left), lab.add_host("other", right)
    near, far = lab.add_host("near", left), lab.add_host("far", right)
    for router in near, far:
        router.attach(link, "eth1")
        router.namespace.set_sysctl(FORWARDING)
        links.ip(router.namespace, f"link set eth1 mtu {PATH_MTU}")
        router.run(["nft", "-f", "-"], stdin=SILENT + rules)
    for host, to, via in (
        (one, other, near.attachments["eth0"]),
        (near, other, far.attachments["eth1"]),
        (far, one, near.attachments["eth1"]),
        (other, one, far.attachments["eth0"]),
    ):
        addresses = zip(to.attachments["eth0"].addresses, via.addresses, strict=True)
        routes = (f"route add {target} via {gateway}" for target, gateway in addresses)
        links.ip(host.namespace, *routes)
    return one, other


def converse(client: Host, server: Host, ip: str, length: int) -> None:
    """Ask by TCP for some answers of a length, and wait for each."""
    with server.call(lambda: socket.create_server((ip, 0))) as listener:
        address = listener.getsockname()
        near = client.call(lambda: socket.create_connection(address, PATIENCE))
        listener.settimeout(PATIENCE)
        far, _ = listener.accept()
    with closing(near), closing(far):
        for _ in range(3):
            near.sendall(b"?")
            assert far.recv(1) == b"?"
            far.sendall(bytes(length))
            left = length
            while left:
                received = len(near.recv(left))
                assert received, "the connection ended early"
                left -= received
