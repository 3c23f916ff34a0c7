"""Wall clocks that are set while a mesh runs: of a node, of all, of the coordinator."""

import pytest

from coordinator.control.absences import GRACE as AWAY
from coordinator.credentials import LIFETIME
from meshwg.transmit import Endpoint
from tests.sim.kinds import PORT_RESTRICTED
from tests.world.node import SimNode
from tests.world.world import World, pair

HOUR = 3600.0
ONE_SESSION = 150.0
"""Seconds after which two nodes that speak have a new session."""
ONE_ALLOCATION = 900.0
"""Seconds after which an allocation at a relay has been refreshed, or is gone."""


@pytest.mark.parametrize("errors", [(HOUR, 0.0), (-HOUR, HOUR, -HOUR)])
def test_nodes_speak_on_while_the_clock_of_one_is_set(
    errors: tuple[float, ...],
) -> None:
    world, alice, bob = pair(PORT_RESTRICTED, PORT_RESTRICTED)
    for error in errors:
        alice.clock_error = error
        speaks_on(world, alice, bob, ONE_SESSION)
        # Who was ahead of time, and has lost its sessions, begins the next one.
        alice.restart()
        assert bob.reaches(alice)


def test_nodes_whose_clocks_are_all_set_meet_again_after_restarts() -> None:
    world, alice, bob = pair(PORT_RESTRICTED, PORT_RESTRICTED)
    for error in (HOUR, -HOUR, 0.0):
        alice.clock_error = bob.clock_error = error
        speaks_on(world, alice, bob, ONE_SESSION)
        alice.restart()
        assert bob.reaches(alice)


def test_relays_go_on_when_the_coordinators_clock_is_set() -> None:
    world, alice, bob = pair(PORT_RESTRICTED, PORT_RESTRICTED)
    before = [relay_of(each) for each in (alice, bob)]
    assert None not in before
    # All credentials have ended by it.
    world.network.clock_error = HOUR + LIFETIME
    speaks_on(world, alice, bob, ONE_ALLOCATION, every=60.0)
    assert [relay_of(each) for each in (alice, bob)] == before


@pytest.mark.parametrize("error", [HOUR, -HOUR])
def test_who_is_away_for_a_moment_stays_when_the_coordinators_clock_is_set(
    error: float,
) -> None:
    world = World()
    alice = world.add("alice")
    world.auth_key = world.ledger.add_auth_key(ephemeral=True)
    runner = world.add("runner")
    world.settle()
    runner.die()
    world.settle(30.0)
    world.network.clock_error = error
    world.settle(AWAY - 120.0)
    assert alice.node.members.find("runner") is not None
    world.settle(240.0)
    assert alice.node.members.find("runner") is None


def speaks_on(
    world: World, one: SimNode, other: SimNode, seconds: float, every: float = 10.0
) -> None:
    """Ping now and then; each time an answer comes at once."""
    assert one.reaches(other)
    for _ in range(int(seconds / every)):
        world.settle(every)
        assert one.reaches(other, 1.0)


def relay_of(node: SimNode) -> Endpoint | None:
    """Return a node's address at its relay."""
    return node.node.relays.status.address
