"""A mesh in which everything happens to everybody, and that finds together again."""

from itertools import permutations

import pytest

from meshwg.control.client import ControlState
from tests.node.mesh import Mesh, MeshNode
from tests.sim.kinds import (
    DOUBLE_NAT_CONE,
    FULL_CONE,
    LINUX,
    PORT_RESTRICTED,
    PUBLIC,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
)

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
def test_everybody_finds_everybody_when_the_trouble_is_over(seed: int) -> None:
    mesh = Mesh(seed)
    nodes = [mesh.add(f"node-{n}", KINDS[n % len(KINDS)]) for n in range(NODES)]
    mesh.settle()
    random = mesh.network.random
    mesh.network.lose = lambda packet: random.random() < LOSS

    for number in range(TROUBLES):
        make_trouble(mesh, random.choice(nodes), number)
        one, other = random.sample(nodes, 2)
        one.keep_pinging(other, 1)

    mesh.coordinator.start()
    for node in nodes:
        node.lost_control = False
    mesh.network.advance(60)
    for node in nodes:
        assert node.client.state is ControlState.CONNECTED, node.client.error
        assert len(node.node.peers) == NODES - 1
    for one, other in permutations(nodes, 2):
        assert one.reaches(other), f"{one.name} does not reach {other.name}"


def make_trouble(mesh: Mesh, node: MeshNode, number: int) -> None:
    """Let something happen that a mesh has to bear."""
    random = mesh.network.random
    match random.randrange(7):
        case 0:
            node.start(node.die())
        case 1:
            node.move(random.choice(KINDS), 20 + number)
        case 2:
            mesh.coordinator.stop()
        case 3 if not mesh.coordinator.is_up:
            mesh.coordinator.start()
        case 4:
            node.lost_control = not node.lost_control
        case 5 if mesh.relays:
            mesh.relays[0].restart()
        case 6:
            node.leave()
            node.start(node.client.cache())
