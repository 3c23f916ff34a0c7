"""Networks change under a tunnel: it keeps running, and finds its way again."""

from itertools import pairwise

import pytest

from meshwg.path.candidate import CandidateKind
from meshwg.path.events import AttemptResult
from tests.sim import kinds
from tests.sim.nat import Nat
from tests.world.contact import Contact
from tests.world.internet import address_outside
from tests.world.node import SimNode
from tests.world.world import World


def test_a_direct_path_does_not_need_the_relay() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    world.relays[0].is_dead = True
    world.advance(60.0)
    assert longest_silence(b.contact(a), 5.0, world) < 0.3
    assert a.contact(b).is_direct


def test_a_relayed_pair_whose_relay_dies_moves_to_another() -> None:
    world, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, relays=2)
    world.advance(20.0)
    homes = {remote_host(a, b), remote_host(b, a)}
    for relay in world.relays:
        relay.is_dead = relay.address in homes
    world.advance(5.0)
    heard = b.contact(a).received
    world.advance(2.0)
    assert b.contact(a).received > heard
    assert remote_host(a, b) not in homes


@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_a_relay_that_dies_with_the_coordinator_is_replaced(loss: float) -> None:
    world, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, relays=2)
    world.relays[1].host.interfaces[0].uplink.delay = 0.05
    world.loss = loss
    world.advance(200.0)
    dead = world.relays[0]
    assert {remote_host(a, b), remote_host(b, a)} == {dead.address}
    world.coordinator.stop()
    world.stun.stop()
    dead.is_dead = True
    at = world.now
    world.advance(15.0)
    for node, peer in ((a, b), (b, a)):
        assert resumed(node.contact(peer), at) < 5.0
        assert remote_host(node, peer) == world.relays[1].address


def test_a_relay_that_one_side_alone_cannot_reach_is_left_by_that_side() -> None:
    world, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, relays=2)
    world.relays[1].host.interfaces[0].uplink.delay = 0.05
    world.advance(200.0)
    near = world.relays[0].address
    outside = address_outside(a.host)
    world.coordinator.stop()
    world.network.lose = lambda packet: (
        {near, outside} == {packet.source[0], packet.destination[0]}
    )
    at = world.now
    world.advance(15.0)
    for node, peer in ((a, b), (b, a)):
        assert resumed(node.contact(peer), at) < 5.0
        assert node.contact(peer).kind is CandidateKind.RELAYED


def test_nodes_that_are_direct_keep_one_allocation() -> None:
    world, a, b = pair(kinds.LINUX, kinds.LINUX, relays=2)
    world.advance(120.0)
    assert a.contact(b).is_direct
    assert [len(each.entry.candidates) for each in (a.peer(b), b.peer(a))] == [3, 3]


def test_nodes_that_are_no_longer_relayed_give_the_second_allocation_back() -> None:
    world, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, relays=2)
    world.advance(60.0)
    assert [len(each.entry.candidates) for each in (a.peer(b), b.peer(a))] == [4, 4]
    silence(a, b)
    world.advance(600.0)
    assert [len(each.entry.candidates) for each in (a.peer(b), b.peer(a))] == [3, 3]


def test_a_peer_that_is_gone_is_said_to_be_gone() -> None:
    world, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM)
    world.advance(20.0)
    b.host.stop()
    world.advance(20.0)
    assert a.status(b).reason == "The peer does not answer, not even through the relay."


@pytest.mark.parametrize("far", [kinds.PUBLIC, kinds.LINUX, kinds.FULL_CONE], ids=str)
def test_a_nat_that_reboots_costs_seconds_and_not_the_tunnel(far: kinds.Kind) -> None:
    world, a, b = direct_pair(kinds.LINUX, far)
    a.router.reboot()
    at = world.now
    world.advance(30.0)
    assert resumed(b.contact(a), at) < 8.0
    assert resumed(a.contact(b), at) < 8.0
    for contact in (a.contact(b), b.contact(a)):
        assert contact.is_direct
        assert settled(contact) - at < 15.0


def test_a_nat_that_reboots_behind_a_birthday_path_is_punched_again() -> None:
    world, a, b = direct_pair(kinds.SYMMETRIC_RANDOM, kinds.LINUX)
    a.router.reboot()
    at = world.now
    world.advance(70.0)
    assert resumed(a.contact(b), at) < 8.0
    assert a.contact(b).kind is CandidateKind.BIRTHDAY
    assert len(a.host.sockets) == 2, "the socket of the lost path is closed"


def test_a_nat_that_gets_another_address_is_found_again() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    a.router.change_addresses("203.0.99.1")
    at = world.now
    world.advance(30.0)
    assert resumed(b.contact(a), at) < 8.0
    assert remote_host(b, a) == "203.0.99.1"


def test_a_check_every_25_seconds_keeps_an_idle_mapping_open() -> None:
    patient = kinds.Kind("30 s", kinds.LINUX.behaviour, (Nat(lifetime=30.0),))
    world, a, b = direct_pair(patient, patient)
    silence(a, b)
    world.advance(300.0)
    assert a.contact(b).is_direct
    assert all(one is AttemptResult.OK for one in attempts(a, b))


@pytest.mark.parametrize("lifetime", [5.0, 10.0, 20.0])
def test_a_mapping_that_expired_costs_no_packet(lifetime: float) -> None:
    hasty = kinds.Kind("hasty", kinds.LINUX.behaviour, (Nat(lifetime=lifetime),))
    world, a, b = direct_pair(hasty, hasty)
    silence(a, b)
    world.advance(123.0)
    heard = b.contact(a).received
    a.talk_to(b, 0.1)
    world.advance(0.2)
    assert b.contact(a).received >= heard + 2, "the relay is used until a check passes"
    assert world.run(lambda: a.contact(b).is_direct, 5.0)


def test_an_active_path_keeps_a_short_mapping_open() -> None:
    hasty = kinds.Kind("10 s", kinds.LINUX.behaviour, (Nat(lifetime=10.0),))
    world, a, b = direct_pair(hasty, hasty)
    world.advance(120.0)
    assert all(one is AttemptResult.OK for one in attempts(a, b))


def test_a_laptop_that_moves_keeps_its_tunnel() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    cafe = world.network.add_router("cafe", "203.0.77.1", nat=Nat())
    a.move("10.1.1.7", behind=cafe)
    at = world.now
    world.advance(10.0)
    assert resumed(b.contact(a), at) < 1.0
    assert resumed(a.contact(b), at) < 1.0
    assert a.contact(b).is_direct
    assert remote_host(b, a) == "203.0.77.1"


def test_a_laptop_that_comes_back_names_the_relayed_address_it_has_there() -> None:
    world = World(seed=3, transports=("udp", "tcp"))
    a, b = world.add("a", kinds.LINUX), world.add("b", kinds.UDP_BLOCKED)
    world.settle()
    a.talk_to(b, 0.1)
    b.talk_to(a, 0.1)
    world.advance(20.0)
    relayed = [a.node.relays.relayed]
    (interface,) = a.host.interfaces
    home = interface.realm.gateway
    cafe = world.network.add_router("cafe", "203.0.77.1", nat=Nat())
    for address, router in (("10.1.1.7", cafe), (interface.address, home)):
        a.move(address, behind=router)
        at = world.now
        world.advance(10.0)
        for node, peer in ((a, b), (b, a)):
            assert resumed(node.contact(peer), at) < 1.5
        relayed.append(a.node.relays.relayed)
    assert relayed[0] == relayed[2] != relayed[1]


def test_two_laptops_that_move_at_once_meet_again() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.PORT_RESTRICTED)
    for number, node in ((77, a), (78, b)):
        router = world.network.add_router(f"r{number}", f"203.0.{number}.1", nat=Nat())
        node.move(f"10.1.{number}.7", behind=router)
    at = world.now
    world.advance(15.0)
    for node, peer in ((a, b), (b, a)):
        assert resumed(node.contact(peer), at) < 1.0
        assert node.contact(peer).is_direct
        assert settled(node.contact(peer)) - at < 3.0


def test_a_direct_path_survives_a_dead_coordinator_and_a_roaming_peer_is_relayed() -> (
    None
):
    world, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    world.coordinator.stop()
    world.advance(60.0)
    assert a.contact(b).is_direct
    cafe = world.network.add_router("cafe", "203.0.77.1", nat=Nat())
    a.move("10.1.1.7", behind=cafe)
    at = world.now
    world.advance(20.0)
    assert resumed(b.contact(a), at) < 8.0
    world.coordinator.start()
    assert world.run(lambda: a.contact(b).is_direct and b.contact(a).is_direct, 200.0)


def test_a_dead_coordinator_does_not_stop_checks_of_known_addresses() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.PUBLIC)
    world.coordinator.stop()
    a.router.reboot()
    at = world.now
    world.advance(30.0)
    assert a.contact(b).is_direct
    assert b.contact(a).is_direct
    assert resumed(a.contact(b), at) < 8.0


def test_an_agent_without_traffic_sends_nothing() -> None:
    world, a, b = pair(kinds.LINUX, kinds.LINUX, talking=False)
    world.advance(1000.0)
    assert a.log.by_host()[address_outside(b.host)] == 0
    assert world.coordinator.offers == 0
    assert a.sleeps(b)


def test_an_agent_that_was_used_goes_dormant_and_wakes_up() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    silence(a, b)
    world.advance(700.0)
    assert a.sleeps(b)
    assert a.contact(b).kind is CandidateKind.RELAYED
    a.talk_to(b, 0.1)
    assert world.run(lambda: a.contact(b).is_direct, 5.0)


def pair(
    one: kinds.Kind, other: kinds.Kind, *, talking: bool = True, relays: int = 1
) -> tuple[World, SimNode, SimNode]:
    world = World(seed=3, relays=relays)
    a, b = world.add("a", one), world.add("b", other)
    world.settle()
    if talking:
        a.talk_to(b, 0.1)
        b.talk_to(a, 0.1)
    return world, a, b


def direct_pair(one: kinds.Kind, other: kinds.Kind) -> tuple[World, SimNode, SimNode]:
    world, a, b = pair(one, other)
    assert world.run(lambda: a.contact(b).is_direct and b.contact(a).is_direct)
    world.advance(10.0)
    return world, a, b


def silence(a: SimNode, b: SimNode) -> None:
    a.hush(b)
    b.hush(a)


def remote_host(node: SimNode, peer: SimNode) -> str:
    remote = node.status(peer).remote
    assert remote is not None
    return remote.host


def attempts(node: SimNode, peer: SimNode) -> list[AttemptResult]:
    return [one.result for one in node.status(peer).attempts]


def resumed(contact: Contact, at: float) -> float:
    """Return the longest time without a packet after a moment."""
    times = [at, *(time for time in contact.heard if time > at)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return max(gaps, default=float("inf"))


def longest_silence(contact: Contact, within: float, world: World) -> float:
    return resumed(contact, world.now - within)


def settled(contact: Contact) -> float:
    """Return when the path changed for the last time."""
    return contact.changes[-1][0]
