"""Networks change under a tunnel: it keeps running, and finds its way again."""

from itertools import pairwise

import pytest

from meshwg.path.candidate import CandidateKind
from meshwg.path.events import AttemptResult
from tests.mesh.meshnet import Contact, Mesh, MeshNode
from tests.sim import kinds
from tests.sim.nat import Nat


def test_a_direct_path_does_not_need_the_relay() -> None:
    mesh, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    mesh.relay.is_up = False
    mesh.advance(60.0)
    assert longest_silence(b.contact(a), 5.0, mesh) < 0.3
    assert a.contact(b).is_direct


def test_a_relayed_pair_whose_relay_dies_moves_to_another() -> None:
    mesh, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM)
    mesh.advance(20.0)
    mesh.relay.is_up = False
    mesh.advance(5.0)
    heard = b.contact(a).received
    mesh.relay.is_up = True
    for node, peer in ((a, b), (b, a)):
        other = mesh.relay.endpoint(peer.name)._replace(host="198.51.100.8")
        node.contact(peer).agent.set_relay(other, mesh.network.now)
        node.host.drain()
    mesh.advance(2.0)
    assert b.contact(a).received > heard
    status = a.contact(b).agent.status(mesh.network.now)
    assert status.remote is not None
    assert status.remote.host == "198.51.100.8"


def test_a_peer_that_is_gone_is_said_to_be_gone() -> None:
    mesh, a, b = pair(kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM)
    mesh.advance(20.0)
    b.host.stop()
    mesh.relay.is_up = False
    mesh.advance(20.0)
    reason = a.contact(b).agent.status(mesh.network.now).reason
    assert reason == "The peer does not answer, not even through the relay."


@pytest.mark.parametrize("far", [kinds.PUBLIC, kinds.LINUX, kinds.FULL_CONE], ids=str)
def test_a_nat_that_reboots_costs_seconds_and_not_the_tunnel(far: kinds.Kind) -> None:
    mesh, a, b = direct_pair(kinds.LINUX, far)
    reboot(a)
    at = mesh.network.now
    mesh.advance(30.0)
    assert resumed(b.contact(a), at) < 8.0
    assert resumed(a.contact(b), at) < 8.0
    for contact in (a.contact(b), b.contact(a)):
        assert contact.is_direct
        assert settled(contact) - at < 15.0


def test_a_nat_that_reboots_behind_a_birthday_path_is_punched_again() -> None:
    mesh, a, b = direct_pair(kinds.SYMMETRIC_RANDOM, kinds.LINUX)
    reboot(a)
    at = mesh.network.now
    mesh.advance(70.0)
    assert resumed(a.contact(b), at) < 8.0
    assert a.contact(b).kind is CandidateKind.BIRTHDAY
    assert len(a.host.sockets) == 2, "the socket of the lost path is closed"


def test_a_nat_that_gets_another_address_is_found_again() -> None:
    mesh, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    router = a.host.interfaces[0].realm.gateway
    assert router is not None
    router.change_addresses("203.0.99.1")
    at = mesh.network.now
    mesh.advance(30.0)
    assert resumed(b.contact(a), at) < 8.0
    endpoint = b.contact(a).agent.endpoint
    assert endpoint is not None
    assert endpoint.host == "203.0.99.1"


def test_a_check_every_25_seconds_keeps_an_idle_mapping_open() -> None:
    patient = kinds.Kind("30 s", kinds.LINUX.behaviour, (Nat(lifetime=30.0),))
    mesh, a, b = direct_pair(patient, patient)
    silence(a, b)
    mesh.advance(300.0)
    assert a.contact(b).is_direct
    assert all(one is AttemptResult.OK for one in attempts(a, b))


@pytest.mark.parametrize("lifetime", [5.0, 10.0, 20.0])
def test_a_mapping_that_expired_costs_no_packet(lifetime: float) -> None:
    hasty = kinds.Kind("hasty", kinds.LINUX.behaviour, (Nat(lifetime=lifetime),))
    mesh, a, b = direct_pair(hasty, hasty)
    silence(a, b)
    mesh.advance(123.0)
    heard = b.contact(a).received
    a.ping(b, 0.1)
    mesh.advance(0.2)
    assert b.contact(a).received >= heard + 2, "the relay is used until a check passes"
    assert mesh.run(lambda: a.contact(b).is_direct, 5.0)


def test_an_active_path_keeps_a_short_mapping_open() -> None:
    hasty = kinds.Kind("10 s", kinds.LINUX.behaviour, (Nat(lifetime=10.0),))
    mesh, a, b = direct_pair(hasty, hasty)
    mesh.advance(120.0)
    assert all(one is AttemptResult.OK for one in attempts(a, b))


def test_a_laptop_that_moves_takes_its_tunnel_along() -> None:
    mesh, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    cafe = mesh.network.add_router("cafe", "203.0.77.1", nat=Nat())
    a.move("10.1.1.7", behind=cafe)
    at = mesh.network.now
    mesh.advance(10.0)
    assert resumed(b.contact(a), at) < 0.5
    assert resumed(a.contact(b), at) < 0.5
    assert a.contact(b).is_direct
    assert b.contact(a).agent.status(mesh.network.now).remote is not None
    assert b.contact(a).agent.endpoint[0] == "203.0.77.1"  # type: ignore[index]


def test_two_laptops_that_move_at_once_meet_again() -> None:
    mesh, a, b = direct_pair(kinds.LINUX, kinds.PORT_RESTRICTED)
    for number, node in ((77, a), (78, b)):
        router = mesh.network.add_router(f"r{number}", f"203.0.{number}.1", nat=Nat())
        node.move(f"10.1.{number}.7", behind=router)
    at = mesh.network.now
    mesh.advance(15.0)
    for node, peer in ((a, b), (b, a)):
        assert resumed(node.contact(peer), at) < 0.5
        assert node.contact(peer).is_direct
        assert settled(node.contact(peer)) - at < 3.0


def test_a_direct_path_survives_a_dead_coordinator_and_a_roaming_peer_is_relayed() -> (
    None
):
    mesh, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    mesh.coordinator.is_up = False
    mesh.advance(60.0)
    assert a.contact(b).is_direct
    cafe = mesh.network.add_router("cafe", "203.0.77.1", nat=Nat())
    a.move("10.1.1.7", behind=cafe)
    at = mesh.network.now
    mesh.advance(20.0)
    assert resumed(b.contact(a), at) < 8.0
    mesh.coordinator.is_up = True
    assert mesh.run(lambda: a.contact(b).is_direct and b.contact(a).is_direct, 200.0)


def test_a_dead_coordinator_does_not_stop_checks_of_known_addresses() -> None:
    mesh, a, b = direct_pair(kinds.LINUX, kinds.PUBLIC)
    mesh.coordinator.is_up = False
    reboot(a)
    at = mesh.network.now
    mesh.advance(30.0)
    assert a.contact(b).is_direct
    assert b.contact(a).is_direct
    assert resumed(a.contact(b), at) < 8.0


def test_an_agent_without_traffic_sends_nothing() -> None:
    mesh, a, b = pair(kinds.LINUX, kinds.LINUX, pinging=False)
    mesh.advance(1000.0)
    assert a.sent[public_host(b)] == 0
    assert mesh.coordinator.carried.total() == 0
    assert a.contact(b).agent.get_timer() is None


def test_an_agent_that_was_used_falls_asleep_and_wakes_up() -> None:
    mesh, a, b = direct_pair(kinds.LINUX, kinds.LINUX)
    silence(a, b)
    mesh.advance(700.0)
    assert a.contact(b).agent.get_timer() is None
    assert a.contact(b).kind is CandidateKind.RELAYED
    a.ping(b, 0.1)
    assert mesh.run(lambda: a.contact(b).is_direct, 5.0)


def pair(
    one: kinds.Kind, other: kinds.Kind, *, pinging: bool = True
) -> tuple[Mesh, MeshNode, MeshNode]:
    mesh = Mesh(seed=3)
    a, b = mesh.add_kind(one, 1), mesh.add_kind(other, 2)
    mesh.advance(2.0)
    mesh.introduce(a, b)
    if pinging:
        a.ping(b, 0.1)
        b.ping(a, 0.1)
    return mesh, a, b


def direct_pair(one: kinds.Kind, other: kinds.Kind) -> tuple[Mesh, MeshNode, MeshNode]:
    mesh, a, b = pair(one, other)
    assert mesh.run(lambda: a.contact(b).is_direct and b.contact(a).is_direct)
    mesh.advance(10.0)
    return mesh, a, b


def silence(a: MeshNode, b: MeshNode) -> None:
    a.ping(b, None)
    b.ping(a, None)


def reboot(node: MeshNode) -> None:
    router = node.host.interfaces[0].realm.gateway
    assert router is not None
    router.reboot()


def public_host(node: MeshNode) -> str:
    return node.public_hosts()[0]


def attempts(node: MeshNode, peer: MeshNode) -> list[AttemptResult]:
    status = node.contact(peer).agent.status(node.mesh.network.now)
    return [one.result for one in status.attempts]


def resumed(contact: Contact, at: float) -> float:
    """Return the longest time without a packet after a moment."""
    times = [at, *(time for time in contact.heard if time > at)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return max(gaps, default=float("inf"))


def longest_silence(contact: Contact, within: float, mesh: Mesh) -> float:
    return resumed(contact, mesh.network.now - within)


def settled(contact: Contact) -> float:
    """Return when the path changed for the last time."""
    return contact.changes[-1][0]
