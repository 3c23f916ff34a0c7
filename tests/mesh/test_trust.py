"""A coordinator that lies about whose key is whose, and what the mesh is."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.mesh.operations import Remove, Rename
from meshwg.errors import MeshError
from meshwg.node import InterfaceChanged, PeerHeld
from meshwg.status import all_drops, status
from meshwg.wire.control import Delta
from tests.world.node import SimNode
from tests.world.world import World


def remove_first(world: World, bob: SimNode, mallory: SimNode) -> None:
    world.coordinator.perform(Remove(bob.key))
    world.advance(60.0)
    world.coordinator.perform(Rename(mallory.key, "bob"))


def rename_first(world: World, bob: SimNode, mallory: SimNode) -> None:
    world.coordinator.perform(Rename(bob.key, "old-bob"))
    world.coordinator.perform(Rename(mallory.key, "bob"))


def after_a_restart(world: World, bob: SimNode, mallory: SimNode) -> None:
    alice = world.nodes["alice"]
    cache = alice.die()
    rename_first(world, bob, mallory)
    alice.start(cache)


def after_the_netmap_was_lost(world: World, bob: SimNode, mallory: SimNode) -> None:
    alice = world.nodes["alice"]
    alice.die()
    remove_first(world, bob, mallory)
    alice.start()


SWAPS = (remove_first, rename_first, after_a_restart, after_the_netmap_was_lost)


@pytest.mark.parametrize("swap", SWAPS)
def test_another_key_under_a_known_name_gets_no_session_and_no_routes(
    swap: Callable[[World, SimNode, SimNode], None],
) -> None:
    world, alice, bob, mallory = mesh()
    stolen = mallory.address
    swap(world, bob, mallory)
    world.advance(5.0)

    assert alice.node.members.find(mallory.key) is None
    assert reported(alice, "bob")["reason"].startswith("Held")
    assert [each.code for each in alice.node.health] == ["peer-held"]
    assert [each.name for each in alice.found(PeerHeld)] == ["bob"]
    change = alice.found(InterfaceChanged)[-1]
    assert "10.66.0.0/16" not in change.routes
    assert stolen in change.unreachable
    assert not mallory.reaches(alice, limit=10.0)
    assert all_drops(alice.node)["offer-of-stranger"] > 0

    alice.accept("bob", mallory.key)
    assert alice.reaches(mallory)
    assert list(alice.node.health) == []
    assert "10.66.0.0/16" in alice.found(InterfaceChanged)[-1].routes


def test_a_node_that_joined_anew_with_another_key_waits_for_the_user() -> None:
    world, alice, bob, mallory = mesh()
    remove_first(world, bob, mallory)
    world.advance(5.0)
    with pytest.raises(MeshError, match="does not have the key"):
        alice.accept("bob", bob.key)
    alice.accept("bob")
    alice.restart()
    world.advance(5.0)
    assert alice.reaches(mallory)


def test_a_node_that_changes_its_name_is_still_itself() -> None:
    world, alice, bob, _ = mesh()
    world.coordinator.perform(Rename(bob.key, "robert"))
    world.advance(1.0)
    assert list(alice.node.health) == []
    assert alice.keep_pinging(bob, 2.0) == 0
    alice.restart()
    world.advance(5.0)
    assert alice.reaches(bob)


def test_names_that_two_nodes_exchange_hold_both_until_they_are_accepted() -> None:
    world, alice, bob, mallory = mesh()
    for key, name in ((bob.key, "x"), (mallory.key, "bob"), (bob.key, "mallory")):
        world.coordinator.perform(Rename(key, name))
    world.advance(1.0)
    assert {held.entry.name for held in alice.node.members.held.values()} == {
        "bob",
        "mallory",
    }
    for name in ("bob", "mallory"):
        alice.accept(name)
    assert list(alice.node.health) == []
    assert alice.reaches(bob)
    assert alice.reaches(mallory)


def test_a_restored_mesh_is_made_of_the_same_keys() -> None:
    world, alice, bob, mallory = mesh()
    world.ledger.epoch = "restored"
    world.coordinator.start()
    world.settle(60.0)
    assert list(alice.node.health) == []
    assert alice.reaches(bob)

    rename_first(world, bob, mallory)
    world.advance(1.0)
    assert [each.code for each in alice.node.health] == ["peer-held"]


def test_a_node_that_was_removed_may_come_back_with_its_key() -> None:
    world, alice, bob, _ = mesh()
    world.coordinator.perform(Remove(bob.key))
    world.advance(5.0)
    bob.start()
    world.settle(10.0)
    assert list(alice.node.health) == []
    assert alice.reaches(bob)


def test_each_run_of_an_ephemeral_node_may_have_another_key() -> None:
    world, alice, _, _ = mesh()
    world.auth_key = world.ledger.add_auth_key(ephemeral=True)
    first = world.add("runner")
    world.advance(5.0)
    first.leave()
    world.advance(5.0)
    second = world.add("runner-again")
    world.advance(5.0)
    world.coordinator.perform(Rename(second.key, "runner"))
    world.advance(1.0)
    assert list(alice.node.health) == []
    assert alice.reaches(second)


def test_an_address_of_a_peer_goes_to_nobody_else() -> None:
    _, alice, bob, mallory = mesh()
    liar = replace(alice.peer(mallory).entry, addresses=alice.peer(bob).entry.addresses)
    alice.node.members.change([liar], (), alice.now)
    assert alice.node.members.find(mallory.key) is None
    assert alice.keep_pinging(bob, 2.0) == 0
    assert bob.address not in alice.found(InterfaceChanged)[-1].unreachable


def test_accepting_a_peer_holds_those_whose_name_and_address_it_has() -> None:
    world, alice, bob, mallory = mesh()
    carol = world.add("carol")
    world.settle()
    stolen = alice.peer(mallory).entry.addresses
    liar = replace(alice.peer(carol).entry, name="bob", addresses=stolen)
    peers = alice.client.peers
    peers.update(
        Delta(base=peers.version, version=peers.version, digest="", changed=(liar,))
    )
    alice.node.members.change([liar], (), alice.now)
    assert set(alice.node.members.held) == {carol.key}

    alice.accept("bob", carol.key)
    assert set(alice.node.members.held) == {bob.key, mallory.key}
    assert alice.node.members.find(stolen[0]) is alice.peer(carol)


def test_what_is_called_the_mesh_does_not_grow_to_everything() -> None:
    world, alice, bob, mallory = mesh()
    before = alice.found(InterfaceChanged)[-1].networks
    known = alice.client.registered
    assert known is not None
    networks = ("0.0.0.0/1", "128.0.0.0/1", "8.0.0.0/8")
    alice.node.members.set_mesh(replace(known, networks=networks))
    liar = replace(alice.peer(mallory).entry, addresses=(mallory.address, "8.8.8.8"))
    alice.node.members.change([liar], (), alice.now)
    world.advance(1.0)

    assert alice.found(InterfaceChanged)[-1].networks == before
    assert [each.code for each in alice.node.health] == ["mesh-refused"]
    assert alice.node.members.find("8.8.8.8") is None
    assert alice.keep_pinging(bob, 2.0) == 0


def mesh() -> tuple[World, SimNode, SimNode, SimNode]:
    """Return alice, who has talked to bob, and mallory, of whom she has only heard."""
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    mallory = world.add("mallory", routes=["10.66.0.0/16"])
    world.settle()
    assert alice.reaches(bob)
    return world, alice, bob, mallory


def reported(node: SimNode, name: str) -> dict[str, str]:
    """Return what the status says of a peer."""
    report = status(
        node.node,
        name=node.name,
        interface="meshwg0",
        mtu=1400,
        coordinator_url="http://192.0.2.9",
        now=node.now,
        unix_time=node.network.unix_time,
    )
    found: dict[str, str] = next(p for p in report["peers"] if p["name"] == name)
    return found
