"""The virtual world itself: its weather, and that it is the same every time."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from meshwg.control.client import ControlState
from meshwg.control.events import Disconnected
from tests.sim.kinds import LINUX, PORT_RESTRICTED, SYMMETRIC_RANDOM
from tests.world.control import ControlWorld
from tests.world.sendlog import Sent
from tests.world.story import story
from tests.world.world import World, pair, strangers

ROOT = Path(__file__).parent.parent.parent

# The wires


def test_a_datagram_that_is_lost_is_lost() -> None:
    world, alice, bob = pair()
    world.loss = 1.0
    assert alice.keep_pinging(bob, 1) == 10
    world.loss = 0.0
    assert alice.reaches(bob, limit=10)


def test_loss_is_the_share_of_datagrams_that_are_lost_at_each_wire() -> None:
    world, alice, bob = pair()
    before = world.network.drops["lost"]
    world.loss = 0.05
    alice.talk_to(bob, 0.01)
    world.advance(50)
    contact = alice.contact(bob)
    assert contact.sent == pytest.approx(5000, abs=1)
    lost = contact.sent - bob.contact(alice).received
    assert 400 < lost < 575
    assert world.network.drops["lost"] - before >= lost


def test_a_wire_takes_as_long_as_the_world_says() -> None:
    world = World(latency=0.2)
    alice, bob = world.add("alice"), world.add("bob")
    world.settle()
    assert alice.reaches(bob)
    world.advance(10)
    alice.ping(bob, 1)
    assert world.took(lambda: 1 in alice.answers()) == pytest.approx(0.8, abs=0.01)


def test_a_host_that_moves_keeps_the_quality_of_its_link() -> None:
    world = World(loss=0.05)
    alice = world.add("alice")
    alice.move_to(LINUX, 99)
    (interface,) = alice.host.interfaces
    assert interface.uplink.loss == 0.05


# Routers


def test_a_nat_that_reboots_forgets() -> None:
    world, alice, _ = pair(PORT_RESTRICTED, PORT_RESTRICTED)
    translation = alice.router.translation
    assert translation is not None
    assert translation.mappings(world.now) > 0
    alice.router.reboot()
    assert translation.mappings(world.now) == 0


def test_a_node_that_moves_is_behind_another_nat() -> None:
    world, alice, bob = pair(LINUX, PORT_RESTRICTED)
    before = alice.router
    alice.move_to(SYMMETRIC_RANDOM, 99)
    assert alice.router is not before
    assert alice.reaches(bob)
    world.advance(10)
    assert alice.node.whereabouts.report.is_hard


# The coordinator


def test_a_coordinator_that_is_stopped_closes_its_carriers() -> None:
    world, alice, bob = pair()
    world.coordinator.stop()
    assert world.coordinator.carriers == {}
    for node in (alice, bob):
        assert node.client.state is ControlState.OFFLINE
    world.coordinator.start()
    world.settle()


def test_a_coordinator_starts_with_what_its_database_knows() -> None:
    world, alice, _ = pair()
    world.coordinator.stop()
    world.coordinator.start()
    assert alice.key in world.coordinator.registry.nodes


def test_a_silent_carrier_sends_nothing() -> None:
    world = ControlWorld()
    world.add_coordinator()
    member = world.add_member()
    world.advance(1)
    member.silent = True
    member.client.stop(world.now)
    world.advance(1)
    assert world.coordinator.server.connections == 1
    assert world.coordinator.registry.nodes[member.key].online
    assert not member.found(Disconnected)


# Nodes


def test_a_node_that_restarts_has_the_netmap_from_its_disk() -> None:
    world, alice, bob = pair()
    world.coordinator.stop()
    alice.restart()
    assert alice.client.state is not ControlState.CONNECTED
    assert alice.peer(bob).entry.name == "bob"


def test_a_node_that_leaves_is_offline_for_the_others() -> None:
    _, alice, bob = pair()
    bob.leave()
    assert not alice.peer(bob).entry.online


def test_a_conversation_ends_when_it_should() -> None:
    world, alice, bob = pair()
    alice.talk_to(bob, 0.1)
    world.advance(1)
    alice.hush(bob)
    sent = alice.contact(bob).sent
    world.advance(1)
    assert alice.contact(bob).sent == bob.contact(alice).received == sent


def test_what_a_node_sends_is_logged_by_kind_whatever_it_is_wrapped_in() -> None:
    world, alice, bob = strangers(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)
    start = world.now
    alice.talk_to(bob, 0.1)
    world.advance(5)
    kinds = alice.log.by_kind(start)
    assert alice.path(bob) == "relay"
    assert kinds[Sent.INITIATION] == 1
    assert kinds[Sent.DATA] >= alice.contact(bob).sent
    assert bob.log.by_kind(start)[Sent.RESPONSE] == 1
    assert alice.log.by_host(start)["198.51.100.9"] >= kinds[Sent.DATA]


# Chance


def test_two_worlds_with_the_same_seed_behave_the_same() -> None:
    assert story(5) == told_once(5)


def test_another_seed_makes_another_world() -> None:
    assert story(6) != told_once(5)


def test_the_order_of_sets_and_hashes_decides_nothing() -> None:
    one, other = (told_with(hash_seed) for hash_seed in (1, 2))
    for number, (line, same) in enumerate(zip(one, other, strict=False)):
        assert line == same, f"datagram {number} differs"
    assert len(one) == len(other)


told_once = cache(story)


def told_with(hash_seed: int) -> list[str]:
    """Return the story as another process tells it."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.world.story", "5"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
    )
    return told.stdout.splitlines()
