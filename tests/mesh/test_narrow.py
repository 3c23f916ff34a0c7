"""A path carries less than its ends know, drops fragments, and nobody says so."""

import pytest

from meshwg.packet.toobig import ICMP, UNREACHABLE
from meshwg.path.mtu import AGAIN, ROUNDS, STEP, TRIES, WAIT
from tests.sim import kinds
from tests.sim.realm import Packet
from tests.world.internet import address_outside
from tests.world.node import SimNode
from tests.world.packets import udp_packet
from tests.world.world import World

FOUND_WITHIN = 1.0 + (TRIES + ROUNDS) * WAIT
DONT_FRAGMENT = 0x40
PASSES = 1372
"""Bytes of a datagram on a path of 1,400 bytes."""
PAIRS = [
    (kinds.LINUX, kinds.PUBLIC),
    (kinds.PORT_RESTRICTED, kinds.FULL_CONE),
    (kinds.PUBLIC, kinds.PUBLIC),
]

pairs = pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.name)


@pairs
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_senders_are_told_within_seconds_and_shorter_packets_pass(
    one: kinds.Kind, other: kinds.Kind, loss: float
) -> None:
    _, a, b = narrow_pair(one, other, loss)
    for node, peer in ((a, b), (b, a)):
        longest = told(node, long_packet(node, peer, 1400))
        assert longest is not None
        assert PASSES - 32 - 2 * STEP <= longest <= PASSES - 32
        assert told(node, long_packet(node, peer, longest)) is None
        assert node.status(peer).kind == "direct"
        assert node.status(peer).loss < 0.3


def test_a_path_that_is_wide_again_is_found_so_and_its_senders_left_alone() -> None:
    world, a, b = narrow_pair(kinds.LINUX, kinds.PUBLIC)
    assert told(a, long_packet(a, b, 1400)) is not None
    world.network.lose = lambda packet: False
    world.advance(AGAIN + FOUND_WITHIN)
    assert told(a, long_packet(a, b, 1400)) is None


def test_the_relay_is_not_blamed_for_a_narrow_direct_path() -> None:
    world, a, b = narrow_pair(kinds.LINUX, kinds.PUBLIC)
    ends = ends_of(a, b)
    world.network.lose = lambda packet: is_between(packet, ends)
    assert world.run(lambda: a.status(b).kind == "relay", 30.0)
    world.advance(30.0)
    assert told(a, long_packet(a, b, 1400)) is None


def test_packets_that_permit_it_are_fragmented() -> None:
    world, a, b = narrow_pair(kinds.LINUX, kinds.PUBLIC)
    before = world.network.drops.copy()
    packet = bytearray(long_packet(a, b, 1400))
    packet[6] = 0
    assert told(a, bytes(packet)) is None
    assert world.network.drops == before


def test_a_wide_path_costs_one_padded_check_in_ten_minutes() -> None:
    world, a, b = talking_pair(kinds.LINUX, kinds.PUBLIC)
    padded: set[bytes] = set()

    def watch(packet: Packet) -> bool:
        if len(packet.payload) > 1000:
            padded.add(packet.payload)
        return False

    world.network.lose = watch
    world.advance(AGAIN)
    assert len(padded) == 2, "one each way"
    a.hush(b)
    b.hush(a)
    padded.clear()
    world.advance(2 * AGAIN)
    assert padded == set()


def narrow_pair(
    one: kinds.Kind, other: kinds.Kind, loss: float = 0.0
) -> tuple[World, SimNode, SimNode]:
    """Return two nodes with a narrow path in use, which was found to be so."""
    world = World(seed=3, loss=loss)
    a, b = world.add("a", one), world.add("b", other)
    world.settle()
    narrow(world, a, b)
    talk(world, a, b)
    world.advance(FOUND_WITHIN)
    return world, a, b


def talking_pair(one: kinds.Kind, other: kinds.Kind) -> tuple[World, SimNode, SimNode]:
    """Return two nodes that have talked for a while by a wide path."""
    world = World(seed=3)
    a, b = world.add("a", one), world.add("b", other)
    world.settle()
    talk(world, a, b)
    world.advance(20.0)
    return world, a, b


def talk(world: World, a: SimNode, b: SimNode) -> None:
    """Let two nodes talk, until both use a direct path."""
    a.talk_to(b, 1.0)
    b.talk_to(a, 1.0)
    assert world.run(lambda: a.status(b).kind == b.status(a).kind == "direct", 20.0)


def narrow(world: World, a: SimNode, b: SimNode, passes: int = PASSES) -> None:
    """Lose what is long between two nodes from now on."""
    ends = ends_of(a, b)
    world.network.lose = lambda packet: (
        len(packet.payload) > passes and is_between(packet, ends)
    )


def ends_of(a: SimNode, b: SimNode) -> set[str]:
    return {address_outside(a.host), address_outside(b.host)}


def is_between(packet: Packet, ends: set[str]) -> bool:
    return packet.source[0] in ends and packet.destination[0] in ends


def told(node: SimNode, packet: bytes) -> int | None:
    """Send a packet; return what length its sender is told to keep to, if any."""
    before = len(node.packets)
    node.write(packet)
    for answer in node.packets[before:]:
        if answer[9] == ICMP and answer[20] == UNREACHABLE:
            return int.from_bytes(answer[26:28])
    return None


def long_packet(sender: SimNode, receiver: SimNode, length: int) -> bytes:
    """Return a packet that may not be fragmented."""
    packet = bytearray(udp_packet(sender.address, receiver.address, bytes(length - 20)))
    packet[6] = DONT_FRAGMENT
    return bytes(packet)
