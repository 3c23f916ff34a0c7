"""``meshwg-wg`` on one side of a tunnel, Debian's wireguard-go on the other."""

import random
import socket
import sys
import time
from collections import Counter
from functools import partial

import pytest

from meshwg.keys import format_key
from meshwg.nattypes import Mapping, PortAllocation
from meshwg.runtime.peersockets import CONNECT_AFTER
from netlab import links
from netlab.capture import Capture
from netlab.lab import Lab
from netlab.machine import Host, Request
from netlab.nat import Behaviour
from netlab.router import Router
from netlab.wireguard import MESHWG, MTU, WIREGUARD_GO
from tests import datapaths
from tests.interop.tunnels import (
    INTERFACE,
    IPV4_AND_ICMP,
    IPV6_AND_ICMP,
    PORT,
    Engines,
    Side,
    both_roles,
    counted,
    join,
    join_on_a_switch,
    ping,
    transfer,
)

pytestmark = pytest.mark.netns

MEGABYTE = 1 << 20
PAYLOAD = random.Random(1).randbytes(MEGABYTE)


FORGETFUL = Behaviour(
    Mapping.ADDRESS_AND_PORT_DEPENDENT, ports=PortAllocation.RANDOM, lifetime=4
)
HASTY = (
    sys.executable,
    "-c",
    """
from meshwg.cli.wg import main
from meshwg.wireguard import peer, session, timers
session.REKEY_AFTER_TIME, peer.REKEY_TIMEOUT = 0.2, 0.1
timers.KEEPALIVE_TIMEOUT, timers.REKEY_TIMEOUT = 0.5, 0.5
main()
""",
)
"""Our engine with shorter times than the protocol's: renewal, and silence."""

long_or_short = pytest.mark.parametrize(
    "before", [1, 3 * CONNECT_AFTER], ids=["a-word", "a-conversation"]
)
"""Pings before something happens: after some, our side has a socket for the peer."""


@datapaths.over_each
@both_roles
def test_a_first_ping_makes_a_session_and_none_is_lost(
    lab: Lab, engines: Engines
) -> None:
    begin = int(time.time())
    initiator, responder = join_on_a_switch(lab, engines)
    for ip in responder.ips:
        ping(initiator, ip, count=50)
    for ip in initiator.ips:
        ping(responder, ip, count=50)
    for side in (initiator, responder):
        assert begin <= side.last_handshake <= time.time()
    assert responder.peer_endpoint() == initiator.endpoint()


@datapaths.over_each
@both_roles
@pytest.mark.parametrize("version", [4, 6])
def test_a_megabyte_arrives_each_way_over_both_families(
    lab: Lab, engines: Engines, version: int
) -> None:
    initiator, responder = join_on_a_switch(lab, engines, version=version)
    for ip in responder.ips:
        transfer(initiator, responder, ip, PAYLOAD)
    for ip in initiator.ips:
        transfer(responder, initiator, ip, PAYLOAD)


@datapaths.over_each
@both_roles
@pytest.mark.parametrize("version", [4, 6])
def test_the_largest_packets_need_no_fragments(
    lab: Lab, engines: Engines, version: int
) -> None:
    initiator, responder = join_on_a_switch(lab, engines, version=version)
    for sender, receiver in ((initiator, responder), (responder, initiator)):
        ping(sender, receiver.ip, count=20, size=MTU - IPV4_AND_ICMP)
        ping(sender, receiver.ip6, count=20, size=MTU - IPV6_AND_ICMP)
        assert counted(sender.host, "*FragCreates") == 0


@datapaths.over_each
@both_roles
def test_long_transfers_use_segmentation_offloads_on_our_side(
    lab: Lab, engines: Engines
) -> None:
    sides = join_on_a_switch(lab, engines)
    ping(sides[0], sides[1].ip)
    ours, theirs = in_order(sides, engines)
    outside = ours.host.capture(filter=f"udp and src {ours.host.address()}")
    inside = ours.host.capture(ours.interface, filter=f"tcp and dst {ours.ip}")
    transfer(ours, theirs, theirs.ip, PAYLOAD * 4)
    transfer(theirs, ours, ours.ip, PAYLOAD * 4)
    # One call sent several datagrams, and several packets were written as one.
    assert max(map(len, outside.packets())) > 2 * MTU
    assert max(map(len, inside.packets())) > 2 * MTU


@both_roles
def test_a_preshared_key_on_both_sides_is_mixed_in(lab: Lab, engines: Engines) -> None:
    initiator, responder = join_on_a_switch(lab, engines, psks=(psk(1), psk(1)))
    ping(initiator, responder.ip)
    ping(responder, initiator.ip)


@both_roles
def test_different_preshared_keys_make_no_session(lab: Lab, engines: Engines) -> None:
    initiator, responder = join_on_a_switch(lab, engines, psks=(psk(1), psk(2)))
    expect_no_session(initiator, responder)


def test_a_preshared_key_on_one_side_makes_no_session(lab: Lab) -> None:
    sides = join_on_a_switch(lab, (MESHWG, WIREGUARD_GO), psks=("", psk(1)))
    expect_no_session(*sides)


@both_roles
def test_a_new_private_key_is_a_new_session(lab: Lab, engines: Engines) -> None:
    initiator, responder = join_on_a_switch(lab, engines)
    ping(initiator, responder.ip)
    initiator.change_private_key(responder)
    ping(initiator, responder.ip)
    ping(responder, initiator.ip)
    responder.change_private_key(initiator)
    # This time the one that kept its key speaks first.
    ping(initiator, responder.ip)
    ping(responder, initiator.ip)


@datapaths.over_each
def test_sessions_are_renewed_under_traffic_and_nothing_is_lost(lab: Lab) -> None:
    initiator, responder = join_on_a_switch(lab, (HASTY, WIREGUARD_GO))
    wire = initiator.host.capture(filter="udp")
    ping(initiator, responder.ip, count=900)
    assert message_types(wire)[1] > 3


def test_a_side_that_lost_its_state_is_found_again(lab: Lab) -> None:
    initiator, responder = join_on_a_switch(lab, (HASTY, WIREGUARD_GO))
    ping(initiator, responder.ip)
    responder.restart()
    initiator.host.ping(responder.ip)
    ping(responder, initiator.ip)


@datapaths.over_each
@both_roles
def test_either_side_can_be_restarted(lab: Lab, engines: Engines) -> None:
    initiator, responder = join_on_a_switch(lab, engines)
    ping(initiator, responder.ip)
    initiator.restart()
    ping(initiator, responder.ip)
    ping(responder, initiator.ip)
    assert responder.peer_endpoint() == initiator.endpoint()
    responder.restart()
    responder.set_peer("endpoint", initiator.endpoint())
    ping(responder, initiator.ip)
    ping(initiator, responder.ip)


@both_roles
@long_or_short
@pytest.mark.parametrize("version", [4, 6])
def test_our_side_roams_to_another_network_and_is_followed(
    lab: Lab, engines: Engines, version: int, before: int
) -> None:
    one, two = (lab.add_host(name, lab.internet) for name in ("one", "two"))
    sides = join(one, two, engines, version=version)
    ping(sides[0], sides[1].ip, count=before)
    ours, theirs = in_order(sides, engines)
    ours.host.move_to(lab.internet, Request(("203.0.113.77", "2001:db8::77")))
    expect_followed(ours, theirs, version)


@datapaths.over_each
@both_roles
@long_or_short
@pytest.mark.parametrize(
    ("who", "version"),
    [
        ("ours", 4),
        ("ours", 6),
        # Over IPv4 this wireguard-go keeps to a source address that is gone.
        ("theirs", 6),
    ],
)
def test_a_side_that_gets_another_address_is_followed(
    lab: Lab, engines: Engines, who: str, version: int, before: int
) -> None:
    sides = join_on_a_switch(lab, engines, version=version)
    ping(sides[0], sides[1].ip, count=before)
    ours, theirs = in_order(sides, engines)
    roaming, other = (ours, theirs) if who == "ours" else (theirs, ours)
    renumber(roaming.host, version)
    expect_followed(roaming, other, version)


@both_roles
def test_a_link_local_endpoint_is_reached_and_shown(lab: Lab, engines: Engines) -> None:
    initiator, responder = join_on_a_switch(lab, engines)
    host = initiator.host
    index = host.call(lambda: socket.if_nametoindex("eth0"))
    address, port = link_local(responder.host), responder.config.listen_port
    for scope in "eth0", index:
        initiator.set_peer("endpoint", f"[{address}%{scope}]:{port}")
        ping(initiator, responder.ip)
    ours, theirs = in_order((initiator, responder), engines)
    shown = ours.host.run(["wg", "show", INTERFACE, "endpoints"]).stdout
    assert f"[{link_local(theirs.host)}%eth0]:" in shown
    # In another namespace wg(8) knows no interface of this name.
    elsewhere = ["unshare", "--net", "wg", "show", INTERFACE, "dump"]
    assert link_local(theirs.host) in ours.host.run(elsewhere).stdout


@long_or_short
@pytest.mark.parametrize("version", [4, 6])
def test_a_better_route_is_followed_there_and_back(
    lab: Lab, version: int, before: int
) -> None:
    switches = [
        lab.add_switch("left", "192.0.2.0/24", "2001:db8:2::/64"),
        lab.add_switch("right", "198.51.100.0/24", "2001:db8:3::/64"),
    ]
    one, two = (lab.add_host(name, switches[0]) for name in ("one", "two"))
    for host in one, two:
        host.attach(switches[1], "eth1")
    far = {4: "203.0.113.9", 6: "2001:db8:9::9"}[version]
    two.run(["ip", "address", "add", far, "dev", "lo"])
    ours, theirs = join(one, two, (MESHWG, WIREGUARD_GO), version=version)
    gateways = [each.addresses[version == 6] for each in two.attachments.values()]
    one.run(f"ip route add {far} via {gateways[0]} metric 100".split())
    ours.set_peer("endpoint", f"[{far}]:{PORT}" if version == 6 else f"{far}:{PORT}")
    ping(ours, theirs.ip, count=before)
    for verb, interface in ("add", "eth1"), ("delete", "eth0"):
        one.run(f"ip route {verb} {far} via {gateways[1]} metric 10".split())
        one.wait_until(partial(leaves_by, ours, theirs.ip, interface), interface)
        ping(ours, theirs.ip, count=before)
        ping(theirs, ours.ip)


def test_a_keepalive_holds_the_mapping_of_a_forgetful_nat(lab: Lab) -> None:
    """Both roles at once, and one pair that falls silent, to save the waiting."""
    router = lab.add_router("router", FORGETFUL)
    kept = [
        behind(router, lab, "ours", (MESHWG, WIREGUARD_GO), keepalive=1),
        behind(router, lab, "theirs", (WIREGUARD_GO, MESHWG), keepalive=1),
    ]
    lost = behind(router, lab, "silent", (MESHWG, WIREGUARD_GO))
    for laptop, server in [*kept, lost]:
        ping(laptop, server.ip)
    before = [server.peer_endpoint() for _, server in kept]
    time.sleep(FORGETFUL.lifetime * 1.5)
    for laptop, server in kept:
        ping(server, laptop.ip)
    assert [server.peer_endpoint() for _, server in kept] == before

    laptop, server = lost
    assert not answers(server, laptop.ip, within=0.5)
    was = server.peer_endpoint()
    ping(laptop, server.ip)
    assert server.peer_endpoint() != was
    ping(server, laptop.ip)


@both_roles
@long_or_short
def test_a_router_that_reboots_or_redials_cuts_no_node_off(
    lab: Lab, engines: Engines, before: int
) -> None:
    router = lab.add_router("router", FORGETFUL)
    laptop, server = behind(router, lab, "laptop", engines, keepalive=1)
    ping(laptop, server.ip, count=before)
    for disturb in (router.reboot_nat, router.renumber):
        disturb()
        server.host.ping(laptop.ip)
        assert server.peer_endpoint().startswith(f"{router.address()}:")


@datapaths.over_each
@long_or_short
def test_both_interfaces_can_move_away_from_their_sockets(
    lab: Lab, before: int
) -> None:
    """Each loses its index to another interface outside, which must be heard."""
    sides = join_on_a_switch(lab, (MESHWG, MESHWG))
    ping(sides[0], sides[1].ip, count=before)
    inside = [move_inside(lab, side) for side in sides]
    for sender, receiver in zip(inside, reversed(sides), strict=True):
        sender.run(["ping", "-q", "-c", "1", "-W", "1", receiver.ip])


@datapaths.over_each
def test_a_new_mark_applies_to_a_conversation_in_progress(lab: Lab) -> None:
    ours, theirs = join_on_a_switch(lab, (MESHWG, WIREGUARD_GO))
    ours.host.run(["ip", "rule", "add", "fwmark", "77", "unreachable"])
    ping(ours, theirs.ip, count=3 * CONNECT_AFTER)
    ours.set("fwmark", 77)
    assert not answers(ours, theirs.ip, within=0.5)
    ours.set("fwmark", "off")
    ours.host.ping(theirs.ip)
    ping(ours, theirs.ip, count=3 * CONNECT_AFTER)


def behind(
    router: Router, lab: Lab, name: str, engines: Engines, keepalive: int = 0
) -> tuple[Side, Side]:
    """Return the ends of a tunnel between a host behind a router and a server."""
    laptop = lab.add_host(name, router)
    server = lab.add_host(f"{name}-server", lab.internet)
    return join(laptop, server, engines, keepalive=keepalive)


def move_inside(lab: Lab, side: Side) -> Host:
    """Return a new host that has nothing but the tunnel's interface."""
    name = f"inside-{side.host.name}"
    inside = lab.add_host(name, lab.add_switch(f"{name}-switch"))
    # By a process in there: a lab's hosts do not see each other's names.
    resident = inside.popen(["sleep", "60"])
    host, interface = side.host, side.interface
    index = host.call(lambda: socket.if_nametoindex(interface))
    host.run(["ip", "link", "set", interface, "netns", str(resident.pid)])
    host.run(f"ip link add {interface} index {index} type veth".split())
    address = links.add_address(f"{side.ip}/24", interface)
    links.ip(inside.namespace, address, f"link set {interface} up")
    return inside


def answers(side: Side, ip: str, within: float) -> bool:
    command = ["ping", "-c", "1", "-W", str(within), ip]
    return side.host.run(command, check=False).returncode == 0


def message_types(wire: Capture) -> Counter[int]:
    return Counter(datagram.payload[0] for datagram in wire.datagrams())


def in_order(sides: tuple[Side, Side], engines: Engines) -> tuple[Side, Side]:
    """Return our side first."""
    return sides if engines[0] is MESHWG else sides[::-1]


def leaves_by(side: Side, ip: str, interface: str) -> bool:
    """Return whether pings leave the host by an interface."""
    path = f"/sys/class/net/{interface}/statistics/tx_packets"
    before = int(side.host.run(["cat", path]).stdout)
    ping(side, ip, count=5)
    return int(side.host.run(["cat", path]).stdout) >= before + 5


def link_local(host: Host) -> str:
    """Return the link-local address of a host's first interface."""
    show = ["ip", "-6", "-brief", "address", "show", "dev", host.first_interface]
    shown = host.run([*show, "scope", "link"]).stdout
    return shown.split()[2].partition("/")[0]


def renumber(host: Host, version: int) -> None:
    """Give another address to a host's interface."""
    old, new, length = {
        4: (host.address(4), "192.0.2.77", 24),
        6: (host.address(6), "2001:db8:2::77", 64),
    }[version]
    links.ip(
        host.namespace,
        f"address delete {old}/{length} dev {host.first_interface}",
        links.add_address(f"{new}/{length}", host.first_interface),
    )
    host.attachments[host.first_interface].addresses = [new]


def expect_no_session(initiator: Side, responder: Side) -> None:
    """Check that a response is known to be wrong, and so answered by nothing."""
    wire = initiator.host.capture(filter="udp")
    assert not answers(initiator, responder.ip, within=0.5)
    assert message_types(wire) == {1: 1, 2: 1}
    assert initiator.last_handshake == responder.last_handshake == 0


def expect_followed(roaming: Side, other: Side, version: int) -> None:
    """Check that one packet is enough for the other side to know where this one is."""
    ping(roaming, other.ip)
    assert other.peer_endpoint() == roaming.endpoint(version)
    ping(other, roaming.ip)


def psk(number: int) -> str:
    """Return a preshared key."""
    return format_key(bytes([number]) * 32)
