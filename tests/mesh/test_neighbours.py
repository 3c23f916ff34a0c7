"""Several nodes behind one NAT: they find each other inside, and do not collide."""

import pytest

from meshwg.path.candidate import CandidateKind
from meshwg.path.traits import NatTraits
from tests.mesh.meshnet import Mesh, MeshNode
from tests.path.test_traits import traits_of
from tests.sim import kinds
from tests.sim.host import Host
from tests.sim.nat import Nat
from tests.sim.router import Router

LINUX = traits_of(kinds.LINUX)
SYMMETRIC = traits_of(kinds.SYMMETRIC_RANDOM)


@pytest.mark.parametrize("hairpin", [False, True], ids=["no hairpin", "hairpin"])
@pytest.mark.parametrize("nat", [LINUX, SYMMETRIC], ids=["cone", "symmetric"])
def test_two_nodes_on_one_lan_use_it(nat: NatTraits, hairpin: bool) -> None:
    mesh = Mesh(seed=1)
    kind = kinds.LINUX if nat is LINUX else kinds.SYMMETRIC_RANDOM
    policy = kind.routers[0]
    assert isinstance(policy, Nat)
    home = mesh.network.add_router(
        "home", "203.0.113.1", nat=Nat(policy.mapping, hairpin=hairpin)
    )
    a, b = (mesh.add(host, nat) for host in lan(mesh, home, 2))
    talk(mesh, a, b)
    assert both_direct(mesh, a, b)
    mesh.advance(5.0)
    assert a.contact(b).kind is b.contact(a).kind is CandidateKind.HOST
    status = a.contact(b).agent.status(mesh.network.now)
    assert status.reason == "The peer's own address can be reached."


@pytest.mark.parametrize("hairpin", [False, True], ids=["no hairpin", "hairpin"])
def test_neighbours_behind_a_carrier_nat_need_its_hairpinning(hairpin: bool) -> None:
    mesh = Mesh(seed=1)
    carrier = mesh.network.add_router("cgn", "203.0.113.1", nat=Nat(hairpin=hairpin))
    homes = [
        mesh.network.add_router(f"home-{n}", f"100.64.0.{n}", behind=carrier, nat=Nat())
        for n in (1, 2)
    ]
    a, b = (
        mesh.add(mesh.network.add_host(f"{home.name}-pc", lan_ip, behind=home), LINUX)
        for home, lan_ip in zip(homes, ("192.168.1.2", "192.168.7.2"), strict=True)
    )
    talk(mesh, a, b)
    assert both_direct(mesh, a, b, limit=15.0) is hairpin
    assert b.contact(a).received > 0


def test_the_same_private_address_in_two_homes_is_no_shared_lan() -> None:
    mesh = Mesh(seed=2)
    a, b = mesh.add_kind(kinds.LINUX, 1), mesh.add_kind(kinds.LINUX, 2)
    assert a.host.addresses == b.host.addresses
    mesh.advance(1.0)
    talk(mesh, a, b)
    assert both_direct(mesh, a, b)
    assert a.contact(b).kind is not CandidateKind.HOST


def test_twenty_nodes_behind_one_nat_all_reach_a_node_outside() -> None:
    mesh = Mesh(seed=3)
    office = mesh.network.add_router("office", "203.0.113.1", nat=Nat())
    outside = mesh.add_kind(kinds.PORT_RESTRICTED, 1)
    nodes = [mesh.add(host, LINUX) for host in lan(mesh, office, 20)]
    mesh.advance(1.0)
    for node in nodes:
        node.meet(outside)
        outside.meet(node)
        node.ping(outside, 0.5)
    mesh.run(lambda: all(node.contact(outside).is_direct for node in nodes), 20.0)
    assert all(both_direct(mesh, node, outside) for node in nodes)
    endpoints = {outside.contact(node).agent.endpoint for node in nodes}
    assert len(endpoints) == 20, "each has a mapping of its own"


def test_birthday_attempts_of_one_office_come_one_after_the_other() -> None:
    mesh = Mesh(seed=4)
    office = mesh.network.add_router(
        "office",
        "203.0.113.1",
        nat=kinds.SYMMETRIC_RANDOM.routers[0],  # type: ignore[arg-type]
    )
    outside = mesh.add_kind(kinds.LINUX, 1)
    nodes = [mesh.add(host, SYMMETRIC) for host in lan(mesh, office, 6)]
    mesh.advance(1.0)
    for node in nodes:
        node.meet(outside)
        outside.meet(node)
        node.ping(outside, 0.5)
    at_once = 0

    def done() -> bool:
        nonlocal at_once
        firing = [node for node in nodes if len(node.host.sockets) > 10]
        at_once = max(at_once, len(firing))
        return all(node.contact(outside).is_direct for node in nodes)

    assert mesh.run(done, 300.0)
    assert at_once == 1
    assert mesh.coordinator.carried.total() < 30 * len(nodes), "nobody insists"
    assert all(len(node.host.sockets) == 2 for node in nodes)


def lan(mesh: Mesh, router: Router, count: int) -> list[Host]:
    return [
        mesh.network.add_host(f"pc-{n}", f"192.168.1.{n + 2}", behind=router)
        for n in range(count)
    ]


def talk(mesh: Mesh, a: MeshNode, b: MeshNode) -> None:
    mesh.advance(1.0)
    mesh.introduce(a, b)
    a.ping(b, 0.2)
    b.ping(a, 0.2)


def both_direct(mesh: Mesh, a: MeshNode, b: MeshNode, limit: float = 30.0) -> bool:
    return mesh.run(lambda: a.contact(b).is_direct and b.contact(a).is_direct, limit)
