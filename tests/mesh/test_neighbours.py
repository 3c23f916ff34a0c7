"""Several nodes behind one NAT: they find each other inside, and do not collide."""

import pytest

from meshwg.path.candidate import CandidateKind
from tests.sim import kinds
from tests.sim.host import Host
from tests.sim.nat import Nat
from tests.sim.router import Router
from tests.world.node import SimNode
from tests.world.world import World


@pytest.mark.parametrize("hairpin", [False, True], ids=["no hairpin", "hairpin"])
@pytest.mark.parametrize(
    "kind", [kinds.LINUX, kinds.SYMMETRIC_RANDOM], ids=lambda one: one.name
)
def test_two_nodes_on_one_lan_use_it(kind: kinds.Kind, hairpin: bool) -> None:
    world = World(seed=1)
    policy = kind.routers[0]
    assert isinstance(policy, Nat)
    home = world.network.add_router(
        "home", "203.0.113.1", nat=Nat(policy.mapping, hairpin=hairpin)
    )
    a, b = (world.add_on(host) for host in lan(world, home, 2))
    talk(world, a, b)
    assert both_direct(world, a, b)
    world.advance(5.0)
    assert a.contact(b).kind is b.contact(a).kind is CandidateKind.HOST
    status = a.status(b)
    assert status.reason == "The peer's own address can be reached."


@pytest.mark.parametrize("hairpin", [False, True], ids=["no hairpin", "hairpin"])
def test_neighbours_behind_a_carrier_nat_need_its_hairpinning(hairpin: bool) -> None:
    world = World(seed=1)
    carrier = world.network.add_router("cgn", "203.0.113.1", nat=Nat(hairpin=hairpin))
    homes = [
        world.network.add_router(
            f"home-{n}", f"100.64.0.{n}", behind=carrier, nat=Nat()
        )
        for n in (1, 2)
    ]
    a, b = (
        world.add_on(world.network.add_host(f"{home.name}-pc", lan_ip, behind=home))
        for home, lan_ip in zip(homes, ("192.168.1.2", "192.168.7.2"), strict=True)
    )
    talk(world, a, b)
    assert both_direct(world, a, b, limit=15.0) is hairpin
    assert world.run(lambda: b.contact(a).received > 0, 1.0)


def test_the_same_private_address_in_two_homes_is_not_a_shared_lan() -> None:
    world = World(seed=2)
    a, b = world.add("a", kinds.LINUX), world.add("b", kinds.LINUX)
    assert a.host.addresses == b.host.addresses
    talk(world, a, b)
    assert both_direct(world, a, b)
    assert a.contact(b).kind is not CandidateKind.HOST


def test_twenty_nodes_behind_one_nat_all_reach_a_node_outside() -> None:
    world = World(seed=3)
    office = world.network.add_router("office", "203.0.113.1", nat=Nat())
    outside = world.add("outside", kinds.PORT_RESTRICTED)
    nodes = [world.add_on(host) for host in lan(world, office, 20)]
    world.settle()
    for node in nodes:
        node.talk_to(outside, 0.5)
    world.run(lambda: all(node.contact(outside).is_direct for node in nodes), 20.0)
    assert all(both_direct(world, node, outside) for node in nodes)
    endpoints = {outside.agent(node).endpoint for node in nodes}
    assert len(endpoints) == 20, "each has a mapping of its own"


def test_birthday_attempts_of_one_office_come_one_after_the_other() -> None:
    world = World(seed=5)
    office = world.network.add_router(
        "office",
        "203.0.113.1",
        nat=kinds.SYMMETRIC_RANDOM.routers[0],  # type: ignore[arg-type]
    )
    outside = world.add("outside", kinds.LINUX)
    nodes = []
    for host in lan(world, office, 6):
        # All at once would ask more of the STUN server than it answers to one address.
        nodes.append(world.add_on(host))
        world.settle()
    for node in nodes:
        node.talk_to(outside, 0.5)
    at_once = 0

    def done() -> bool:
        nonlocal at_once
        firing = [node for node in nodes if len(node.host.sockets) > 10]
        at_once = max(at_once, len(firing))
        return all(node.contact(outside).is_direct for node in nodes)

    assert world.run(done, 300.0)
    assert at_once == 1
    assert world.coordinator.offers < 30 * len(nodes), "nobody insists"
    assert all(len(node.host.sockets) == 2 for node in nodes)


def lan(world: World, router: Router, count: int) -> list[Host]:
    return [
        world.network.add_host(f"pc-{n}", f"192.168.1.{n + 2}", behind=router)
        for n in range(count)
    ]


def talk(world: World, a: SimNode, b: SimNode) -> None:
    world.settle()
    a.talk_to(b, 0.2)
    b.talk_to(a, 0.2)


def both_direct(world: World, a: SimNode, b: SimNode, limit: float = 30.0) -> bool:
    return world.run(lambda: a.contact(b).is_direct and b.contact(a).is_direct, limit)
