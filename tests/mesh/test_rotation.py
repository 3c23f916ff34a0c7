"""A coordinator that gets another key, and nodes that hear of it, or do not."""

import random

from meshwg.control.client import ControlState
from meshwg.keys import PrivateKey
from meshwg.node import CoordinatorKeyChanged
from tests.world.node import SimNode
from tests.world.world import World

NEW = PrivateKey.generate(random.Random(7).randbytes)
NEWER = PrivateKey.generate(random.Random(8).randbytes)


def test_nodes_move_to_the_new_key_and_forget_the_old_one() -> None:
    world, alice, bob = mesh()
    old = world.key.public_bytes
    world.coordinator.use_keys(NEW, world.key)
    world.advance(35.0)

    new = NEW.public_bytes
    for node in (alice, bob):
        assert node.authority == (new, None)
        told = [(each.key, each.former) for each in node.found(CoordinatorKeyChanged)]
        assert told == [(new, old), (new, None)]
        assert node.client.state is ControlState.CONNECTED
    assert alice.keep_pinging(bob, 2.0) == 0

    world.coordinator.use_keys(NEW, None)
    world.coordinator.start()
    alice.restart()
    world.settle(60.0)
    assert alice.reaches(bob)


def test_peers_notice_nothing_of_it() -> None:
    world, alice, bob = mesh()
    bob.talk_to(alice, 0.1)
    world.advance(1.0)
    world.coordinator.use_keys(NEW, world.key)
    world.advance(35.0)
    assert alice.authority == (NEW.public_bytes, None)
    assert bob.contact(alice).sent - alice.contact(bob).received <= 1


def test_who_steals_the_old_key_later_gains_no_node_that_has_moved() -> None:
    world, alice, _ = mesh()
    old = world.key
    world.coordinator.use_keys(NEW, old)
    world.advance(35.0)
    world.coordinator.use_keys(old, None)
    world.coordinator.start()
    world.advance(120.0)
    assert alice.client.state is not ControlState.CONNECTED
    assert alice.authority == (NEW.public_bytes, None)


def test_a_node_that_was_away_learns_it_when_it_is_back() -> None:
    world, alice, bob = mesh()
    cache = alice.die()
    world.coordinator.use_keys(NEW, world.key)
    world.advance(86400.0)
    alice.start(cache)
    world.advance(35.0)
    assert alice.authority == (NEW.public_bytes, None)
    assert alice.reaches(bob)


def test_a_node_that_was_away_for_too_long_needs_the_user() -> None:
    world, alice, bob = mesh()
    cache = alice.die()
    world.coordinator.use_keys(NEW, world.key)
    world.advance(35.0)
    world.coordinator.use_keys(NEW, None)
    alice.start(cache)
    world.advance(60.0)
    assert alice.client.state is not ControlState.CONNECTED
    assert alice.node.members.find(bob.key) is not None

    alice.node.background.join(world.auth_key, NEW.public_bytes, alice.now)
    alice.host.drain()
    world.settle(5.0)
    assert alice.reaches(bob)


def test_where_another_coordinator_has_only_the_old_key_that_still_does() -> None:
    world, alice, _ = mesh()
    old = world.key
    world.coordinator.use_keys(NEW, old)
    world.network.run(lambda: alice.authority[1] is not None, 35.0)
    assert alice.authority == (NEW.public_bytes, old.public_bytes)
    # Before it has connected anew, it gets to a process that was not told.
    world.coordinator.use_keys(old, None)
    world.coordinator.start()
    world.advance(90.0)
    assert alice.client.state is ControlState.CONNECTED
    assert alice.authority[1] == old.public_bytes

    cache = alice.die()
    world.coordinator.use_keys(NEW, old)
    alice.start(cache)
    world.advance(60.0)
    assert alice.authority[1] is None


def test_it_may_be_rotated_again() -> None:
    world, alice, _ = mesh()
    world.coordinator.use_keys(NEW, world.key)
    world.advance(120.0)
    world.coordinator.use_keys(NEWER, NEW)
    world.advance(35.0)
    assert alice.authority == (NEWER.public_bytes, None)


def test_a_key_that_nobody_can_use_is_not_believed() -> None:
    world, alice, _ = mesh()
    world.coordinator.server._carriers._keys = (low_order(), world.key)
    world.coordinator.server._members.key_changed(world.now)
    world.coordinator.drain()
    world.advance(35.0)
    assert alice.authority == (world.key.public_bytes, None)
    assert alice.client.state is ControlState.CONNECTED


def mesh() -> tuple[World, SimNode, SimNode]:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    world.settle()
    assert alice.reaches(bob)
    return world, alice, bob


def low_order() -> PrivateKey:
    """Return what shows a public key of low order."""
    return PrivateKey(bytes(32), bytes(32), NEW._key)
