"""Direct paths over TCP between whole nodes, and what strangers do to their port."""

from collections import Counter

import pytest

from meshwg.node.lookout import HOLD
from meshwg.node.streams import SILENCE, StreamDrop
from meshwg.path.candidate import CandidateKind
from meshwg.path.check import CheckDrop
from meshwg.path.streams import PROOF_TIMEOUT
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from meshwg.wire.channeldata import PEER_CHANNEL, wrap_stream
from tests.sim.host import Host
from tests.sim.kinds import (
    LINUX,
    PUBLIC,
    SYMMETRIC_ALSO_TCP,
    SYMMETRIC_RANDOM,
    UDP_BLOCKED,
    UDP_BLOCKED_SYMMETRIC_TCP,
    Kind,
)
from tests.sim.tcp import Connection, State
from tests.world.internet import NODE_PORT
from tests.world.node import SimNode
from tests.world.world import World

TRANSPORTS = ("udp", "tcp")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (UDP_BLOCKED, PUBLIC),
        (UDP_BLOCKED, LINUX),
        (UDP_BLOCKED, UDP_BLOCKED),
        (SYMMETRIC_RANDOM, SYMMETRIC_RANDOM),
        (UDP_BLOCKED_SYMMETRIC_TCP, PUBLIC),
    ],
    ids=lambda kind: kind.name,
)
def test_without_datagrams_the_path_is_a_stream(one: Kind, other: Kind) -> None:
    world, alice, bob = talking(one, other)

    assert alice.keep_pinging(bob, 5) == 0
    world.advance(HOLD)

    for node, peer in ((alice, bob), (bob, alice)):
        path = node.peer(peer).path_json(node.now, node.now)
        assert (path["kind"], path["method"]) == ("direct", "tcp")
        assert path["remote"].count(":") == 1
        assert "a TCP connection carries the data" in node.status(peer).reason
    assert open_streams(alice) == open_streams(bob) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (UDP_BLOCKED_SYMMETRIC_TCP, LINUX),
        (UDP_BLOCKED_SYMMETRIC_TCP, UDP_BLOCKED),
        (SYMMETRIC_ALSO_TCP, SYMMETRIC_RANDOM),
        (SYMMETRIC_ALSO_TCP, SYMMETRIC_ALSO_TCP),
    ],
    ids=lambda kind: kind.name,
)
def test_where_tcp_is_mapped_anew_too_the_relay_carries(one: Kind, other: Kind) -> None:
    _, alice, bob = talking(one, other)

    assert alice.keep_pinging(bob, 15) == 0

    for node, peer in ((alice, bob), (bob, alice)):
        assert node.path(peer) == "relay"
        reason = node.status(peer).reason
        assert "a NAT maps it to another port for each destination, too" in reason
        assert reason.endswith("so no direct path can be opened.")


def test_a_forwarded_port_is_reached_from_behind_any_nat() -> None:
    world = World(transports=TRANSPORTS)
    alice = world.add("alice", UDP_BLOCKED_SYMMETRIC_TCP)
    bob = world.add("bob", LINUX)
    world.settle()
    outside = bob.router.addresses[0], 40_001
    assert bob.router.tcp is not None
    bob.router.tcp.map_port(outside, (bob.host.addresses[0], NODE_PORT))
    bob.node.streaming.set_mapped(Endpoint(*outside))

    assert alice.reaches(bob)
    assert alice.keep_pinging(bob, 3) == 0

    assert alice.status(bob).method == bob.status(alice).method == "tcp"
    remote = alice.status(bob).remote
    assert remote is not None
    assert remote[:2] == outside


def test_a_stream_that_breaks_is_left_for_the_relay_at_once() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    alice.keep_pinging(bob, 3)

    stream_of(bob).abort()
    world.advance(0.05)

    assert alice.path(bob) == "relay"
    assert alice.keep_pinging(bob, 4) <= 1
    assert alice.path(bob) == "direct", "a new round has opened another one"
    assert any(each.result.value == "lost" for each in alice.status(bob).attempts)


def test_a_router_that_forgets_the_stream_costs_a_second() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    alice.keep_pinging(bob, 3)

    alice.router.reboot()

    assert alice.keep_pinging(bob, 10) <= 2
    assert alice.status(bob).method == bob.status(alice).method == "tcp"
    world.advance(HOLD)
    assert open_streams(alice) == open_streams(bob) == 1


def test_a_datagram_path_that_appears_later_wins() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    alice.keep_pinging(bob, 3)
    assert alice.status(bob).method == "tcp"

    alice.router.block_udp = False
    alice.node.background.look_again(world.now)
    alice.host.drain()
    assert alice.keep_pinging(bob, 90) == 0

    assert alice.status(bob).method != "tcp"
    assert alice.path(bob) == "direct"
    alice.hush(bob)
    world.advance(150)
    assert open_streams(alice) == 0


def test_nodes_that_are_told_not_to_open_no_streams() -> None:
    world = World(transports=TRANSPORTS, tcp=False)
    alice, bob = world.add("alice", UDP_BLOCKED), world.add("bob", PUBLIC)
    world.settle()

    assert alice.keep_pinging(bob, 10) == 0

    assert alice.path(bob) == "relay"
    assert "over TCP: it is switched off on this node" in alice.status(bob).reason
    assert not bob.host.tcp.connections


def test_a_stranger_gets_nothing_from_a_nodes_port() -> None:
    world, _, bob = talking(UDP_BLOCKED, PUBLIC)
    stranger = Stranger(world, bob)
    stranger.stream.write(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12))
    world.advance(SILENCE + 1)

    assert stranger.stream.received == b""
    assert stranger.stream.state is State.CLOSED
    assert bob.node.drops[StreamDrop.SILENT] == 1


def test_a_flood_of_strangers_leaves_the_path_alone() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    alice.keep_pinging(bob, 3)
    for number in range(200):
        Stranger(world, bob, f"198.18.{number // 20}.{number % 20 + 1}")

    assert alice.keep_pinging(bob, SILENCE + 1) == 0

    assert alice.status(bob).method == "tcp"
    assert open_streams(bob) == 1
    assert bob.node.drops[StreamDrop.CROWDED] > 50


def test_a_recorded_check_proves_nothing_about_who_plays_it() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    alice.keep_pinging(bob, 3)
    remote = bob.status(alice).remote
    check = check_of(alice, bob)

    first, second = Stranger(world, bob), Stranger(world, bob, "198.18.0.2")
    first.stream.write(check)
    world.advance(0.1)
    second.stream.write(check)
    world.advance(PROOF_TIMEOUT + 1)

    assert first.stream.received, "whoever has a fresh check is answered, once"
    assert second.stream.received == b""
    assert bob.agent(alice).drops[CheckDrop.REPLAYED] == 1
    assert first.stream.state is second.stream.state is State.CLOSED
    assert bob.status(alice).remote == remote
    assert alice.keep_pinging(bob, 1) == 0


def test_forged_checks_are_not_answered_and_do_not_keep_a_stream_open() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    stranger = Stranger(world, bob)
    for _ in range(20):
        check = stun.parse(check_of(alice, bob))
        stranger.stream.write(stun.encode(check, b"guessed", fingerprint=True))
        world.advance(0.5)

    assert stranger.stream.received == b""
    assert stranger.stream.state is State.CLOSED
    assert bob.node.drops[StreamDrop.SILENT] == 1
    assert bob.agent(alice).drops[CheckDrop.FORGED] > 0


def test_a_nodes_own_check_sent_back_to_it_does_nothing() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    stranger = Stranger(world, bob)
    before = drops(bob)

    stranger.stream.write(check_of(bob, alice))
    world.advance(SILENCE + 1)

    assert stranger.stream.received == b""
    assert stranger.stream.state is State.CLOSED
    assert drops(bob) > before


def test_a_check_of_one_peer_on_another_ones_stream_does_nothing() -> None:
    world, alice, bob = talking(UDP_BLOCKED, PUBLIC)
    carol = world.add("carol")
    world.settle()
    assert carol.reaches(bob)
    alice.keep_pinging(bob, 3)

    stream_of(alice).write(check_of(carol, bob))
    world.advance(1)

    assert bob.node.drops[StreamDrop.FOREIGN] == 1
    assert bob.status(carol).method != "tcp"
    assert alice.keep_pinging(bob, 2) == 0


def test_data_before_a_check_ends_the_stream() -> None:
    world, _, bob = talking(UDP_BLOCKED, PUBLIC)
    stranger = Stranger(world, bob)

    stranger.stream.write(wrap_stream(PEER_CHANNEL, [b"\1\0\0\0" + bytes(144)]))
    world.advance(0.5)

    assert stranger.stream.state is State.CLOSED
    assert bob.node.drops[StreamDrop.UNPROVEN] == 1


class Stranger:
    """A host that has connected to a node's port."""

    def __init__(
        self, world: World, node: SimNode, address: str = "198.18.0.1"
    ) -> None:
        self.host: Host = world.network.add_host(f"stranger-{address}", address)
        stream = self.host.tcp.connect(5000, (node.host.addresses[0], NODE_PORT))
        assert stream is not None
        self.stream: Connection = stream
        world.advance(0.05)


def talking(one: Kind, other: Kind) -> tuple[World, SimNode, SimNode]:
    """Return two nodes that reach each other, over a relay or better."""
    world = World(transports=TRANSPORTS)
    alice, bob = world.add("alice", one), world.add("bob", other)
    world.settle()
    assert alice.reaches(bob)
    return world, alice, bob


def check_of(asker: SimNode, answerer: SimNode) -> bytes:
    """Return a check that somebody on the way has recorded."""
    somewhere = Endpoint("203.0.113.77", 7)
    checks = asker.agent(answerer).checks
    return checks.ask(somewhere, CandidateKind.TCP, asker.now)


def drops(node: SimNode) -> int:
    """Return how many messages a node has ignored."""
    agents = (peer.agent for peer in node.node.peers.values())
    counted: Counter[str] = Counter()
    for agent in agents:
        counted.update(agent.drops if agent is not None else {})
    return (counted + node.node.drops).total()


def stream_of(node: SimNode) -> Connection:
    """Return the one stream to a peer's port, or at a node's own."""
    (found,) = (
        each
        for each in node.host.tcp.connections.values()
        if NODE_PORT in (each.local[1], each.remote[1])
        and each.state is State.ESTABLISHED
    )
    return found


def open_streams(node: SimNode) -> int:
    """Return how many streams to peers a node has."""
    return sum(link < 0 for link in node.host.streams)
