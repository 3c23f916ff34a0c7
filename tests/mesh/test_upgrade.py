"""No packet is lost when data moves to a better path.

Two nodes send each other a packet every few milliseconds while their path becomes a
direct one, in networks whose wires lose nothing, but let datagrams overtake each other.
"""

from random import Random

import pytest

from tests.mesh.test_nat_pairs import ORACLE, PAIRS, add
from tests.sim import kinds
from tests.sim.host import Host
from tests.sim.realm import Packet
from tests.world.internet import address_outside, routers_of
from tests.world.node import SimNode
from tests.world.world import World

INTERVAL = 0.01
PATIENCE = 8.0
SETTLING = 2.0
STALL = 0.5
"""Seconds: what a machine with much other work lets a program wait."""

REQUEST = b"\x00\x01"
"""How a check begins, and nothing else that a node sends to a peer."""

MEETINGS = [
    pytest.param(a, b, id=f"{a.name} x {b.name}")
    for a, b in PAIRS
    if (a is b and ORACLE[a.name][b.name] == "D") or ORACLE[a.name][b.name] in "PB"
    if kinds.SYMMETRIC_TWO_ADDRESSES not in (a, b)
]
"""One pair that plain punching opens of each kind, and all that need more."""

BIRTHDAYS = [
    pytest.param(a, b, id=f"{a.name} x {b.name}")
    for a, b in (
        (kinds.SYMMETRIC_RANDOM, kinds.PORT_RESTRICTED),
        (kinds.PORT_RESTRICTED, kinds.SYMMETRIC_RANDOM),
        (kinds.SYMMETRIC_ADF, kinds.LINUX),
    )
]


@pytest.mark.parametrize(("a", "b"), MEETINGS)
def test_no_packet_is_lost_on_the_way_to_a_direct_path(
    a: kinds.Kind, b: kinds.Kind
) -> None:
    world, one, other = meeting(a, b, seed=2)
    roughen(world, Random(f"{a.name} {b.name}"))
    converse(world, one, other, PATIENCE)
    assert one.contact(other).is_direct
    assert missing(one, other) == 0


@pytest.mark.parametrize(("a", "b"), BIRTHDAYS)
def test_a_path_that_only_the_peer_has_proven_is_kept_open_for_it(
    a: kinds.Kind, b: kinds.Kind
) -> None:
    world, one, other = meeting(a, b, seed=3)
    fan = one if a in (kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_ADF) else other
    unheard = Unheard(world, fan)
    one.talk_to(other, INTERVAL)
    other.talk_to(one, INTERVAL)
    world.advance(PATIENCE)
    unheard.is_on = False
    converse(world, one, other, PATIENCE)
    assert unheard.dropped, "the peer heard no check of the fan's"
    assert missing(one, other) == 0


@pytest.mark.parametrize(("a", "b"), BIRTHDAYS)
def test_machines_that_have_other_work_lose_no_packet(
    a: kinds.Kind, b: kinds.Kind
) -> None:
    world, one, other = meeting(a, b, seed=4)
    for node in (one, other):
        stall_again(node.host, world.now + PATIENCE, Random(node.name))
    converse(world, one, other, PATIENCE)
    world.advance(PATIENCE)
    assert one.contact(other).is_direct
    assert missing(one, other) == 0


class Unheard:
    """Loses a node's checks on the internet, behind all mappings that they make.

    What it answers gets through, so the peer proves its paths, and the node does not.
    """

    def __init__(self, world: World, node: SimNode) -> None:
        self.is_on, self.dropped = True, 0
        self._source = address_outside(node.host)
        world.network.lose = self._loses

    def _loses(self, packet: Packet) -> bool:
        is_check = packet.payload.startswith(REQUEST)
        is_lost = self.is_on and is_check and self._is_to_peer(packet)
        self.dropped += is_lost
        return is_lost

    def _is_to_peer(self, packet: Packet) -> bool:
        to_servers = packet.destination[0].startswith("198.51.100.")
        return packet.source[0] == self._source and not to_servers


def meeting(a: kinds.Kind, b: kinds.Kind, seed: int) -> tuple[World, SimNode, SimNode]:
    world = World(seed=seed, latency=0.005)
    one, other = add(world, a), add(world, b)
    world.settle()
    return world, one, other


def roughen(world: World, random: Random) -> None:
    """Let all ways have different lengths, and datagrams overtake each other."""
    hosts: list[Host] = [world.relays[0].host]
    for node in world.nodes.values():
        hosts.append(node.host)
        for router in routers_of(node.host):
            router.uplink.jitter = random.choice((0.0, 0.005, 0.02))
    for host in hosts:
        for interface in host.interfaces:
            interface.uplink.delay = random.choice((0.001, 0.01, 0.05))
            interface.uplink.jitter = random.choice((0.0, 0.005, 0.02))


def stall_again(host: Host, until: float, random: Random) -> None:
    """Let a host's programs stop again and again, and run in between."""
    if host.network.now < until:
        length = random.random() * STALL
        host.stall(length)
        pause = length + random.random()
        host.network.after(pause, lambda: stall_again(host, until, random))


def converse(world: World, one: SimNode, other: SimNode, limit: float) -> None:
    """Let both talk until data goes directly both ways, and a little longer."""
    contacts = one.contact(other), other.contact(one)
    one.talk_to(other, INTERVAL)
    other.talk_to(one, INTERVAL)
    world.run(lambda: all(contact.is_direct for contact in contacts), limit)
    world.advance(SETTLING)
    one.hush(other)
    other.hush(one)
    world.advance(1.0)


def missing(one: SimNode, other: SimNode) -> int:
    """Return how many packets of either side did not arrive."""
    there, back = one.contact(other), other.contact(one)
    return there.sent - back.received + back.sent - there.received
