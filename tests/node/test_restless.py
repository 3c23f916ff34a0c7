"""A mesh in which every node is disrupted, and which recovers."""

from itertools import permutations

import pytest

from meshwg.control.client import ControlState
from tests.sim.kinds import (
    DOUBLE_NAT_CONE,
    FULL_CONE,
    LINUX,
    PORT_RESTRICTED,
    PUBLIC,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
)
from tests.world.node import SimNode
from tests.world.world import World

KINDS = (
    PUBLIC,
    FULL_CONE,
    PORT_RESTRICTED,
    LINUX,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    DOUBLE_NAT_CONE,
)
NODES, TROUBLES = 6, 25
LOSS = 0.02


@pytest.mark.parametrize("seed", range(3))
def test_all_nodes_find_each_other_when_the_disruption_is_over(seed: int) -> None:
    world = World(seed)
    nodes = [world.add(f"node-{n}", KINDS[n % len(KINDS)]) for n in range(NODES)]
    world.settle()
    random = world.network.random
    world.network.lose = lambda packet: random.random() < LOSS

    for number in range(TROUBLES):
        make_trouble(world, random.choice(nodes), number)
        one, other = random.sample(nodes, 2)
        one.keep_pinging(other, 1)

    world.coordinator.start()
    for node in nodes:
        node.carrier.silent = False
    world.advance(60)
    for node in nodes:
        assert node.client.state is ControlState.CONNECTED, node.client.error
        assert len(node.node.peers) == NODES - 1
    for one, other in permutations(nodes, 2):
        assert one.reaches(other), f"{one.name} does not reach {other.name}"


def make_trouble(world: World, node: SimNode, number: int) -> None:
    """Let something happen that a mesh has to bear."""
    random = world.network.random
    match random.randrange(7):
        case 0:
            node.restart()
        case 1:
            node.move_to(random.choice(KINDS), 20 + number)
        case 2:
            world.coordinator.stop()
        case 3 if not world.coordinator.is_up:
            world.coordinator.start()
        case 4:
            node.carrier.silent = not node.carrier.silent
        case 5 if world.relays:
            world.relays[0].restart()
        case 6:
            node.leave()
            node.start(node.client.cache())
