"""Members that offer what is not theirs, in whole meshes in virtual time.

None of it has an effect on the others, and each is told to the administrator: what is
withheld stands in ``route list`` and ``node list``.
"""

from ipaddress import ip_address

import pytest

from coordinator.mesh.operations import Approve, Refuse, Remove
from meshwg.node.events import InterfaceChanged
from meshwg.wire import control
from tests.world.node import SimNode
from tests.world.world import World

SITE = "10.42.0.0/16"
IN_SITE = "10.42.7.1"
ELSEWHERE = "172.20.0.0/16"
"""Not in what the settings of these worlds approve of."""


def test_a_second_announcer_stands_by_and_takes_nothing() -> None:
    world = World()
    alice, owner = world.add("alice"), world.add("owner", routes=(SITE,))
    world.settle()

    thief = world.add("thief", routes=(SITE, "10.42.0.0/17", "10.42.128.0/17"))
    world.settle()

    assert way(alice, IN_SITE) == owner.key
    assert withheld(world, "thief") == {
        SITE: "advertised",
        "10.42.0.0/17": "advertised",
        "10.42.128.0/17": "advertised",
    }
    assert [each.code for each in thief.node.health] == ["route-waiting"]


def test_without_the_settings_an_administrator_decides_on_each() -> None:
    world = World()
    alice, router = world.add("alice"), world.add("router", routes=(ELSEWHERE,))
    thief = world.add("thief", routes=(ELSEWHERE,))
    world.settle()
    assert way(alice, "172.20.0.1") is None

    world.coordinator.perform(Approve("router", ELSEWHERE))
    world.advance(5)
    assert way(alice, "172.20.0.1") == router.key
    assert [each.code for each in thief.node.health] == ["route-waiting"]
    assert list(router.node.health) == []

    world.coordinator.perform(Refuse("router", ELSEWHERE))
    world.advance(5)
    assert way(alice, "172.20.0.1") is None
    assert [each.code for each in router.node.health] == ["route-refused"]


def test_the_next_that_is_approved_goes_on_and_nobody_else() -> None:
    world = World()
    alice = world.add("alice")
    first = world.add("first", routes=(ELSEWHERE,))
    thief = world.add("thief", routes=(ELSEWHERE,))
    second = world.add("second", routes=(ELSEWHERE,))
    world.settle()
    for name in ("first", "second"):
        world.coordinator.perform(Approve(name, ELSEWHERE))
    world.advance(5)
    assert way(alice, "172.20.0.1") == first.key

    world.coordinator.perform(Remove("first"))
    world.advance(5)

    assert way(alice, "172.20.0.1") == second.key
    world.coordinator.perform(Remove("second"))
    world.advance(5)
    assert way(alice, "172.20.0.1") is None
    assert thief.client.approvals is not None


def test_routes_change_while_a_node_runs_and_their_approval_stays() -> None:
    world = World()
    alice, router = world.add("alice"), world.add("router")
    world.settle()

    offer(world, router, ELSEWHERE)
    world.coordinator.perform(Approve("router", ELSEWHERE))
    world.advance(5)
    assert way(alice, "172.20.0.1") == router.key
    assert router.found(InterfaceChanged)[-1].announced == (ELSEWHERE,)

    offer(world, router)
    assert way(alice, "172.20.0.1") is None
    assert router.node.members.own_routes() == ()

    offer(world, router, ELSEWHERE)
    assert way(alice, "172.20.0.1") == router.key


@pytest.mark.parametrize(
    ("routes", "targets"),
    [
        (("0.0.0.0/1", "128.0.0.0/1"), ("8.8.8.8", "203.0.113.1")),
        (("0.0.0.0/0", "::/0"), ("8.8.8.8", "2001:db8::1")),
        (("fd00::/8",), ("fd77::1",)),
    ],
)
def test_what_covers_everything_takes_nothing(
    routes: tuple[str, ...], targets: tuple[str, ...]
) -> None:
    world = World()
    alice = world.add("alice")
    thief = world.add("thief", routes=routes)
    world.settle()

    assert [way(alice, target) for target in targets] == [None] * len(targets)
    assert withheld(world, "thief") == dict.fromkeys(sorted(routes), "refused")
    assert [each.code for each in thief.node.health] == ["route-refused"]


def test_a_member_that_announces_anothers_address_takes_nothing() -> None:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    world.settle()
    theirs = (f"{bob.address}/32", "100.64.0.0/10", "fd00:1:2::/64")

    thief = world.add("thief", routes=theirs)
    world.settle()

    assert way(alice, bob.address) == bob.key
    assert alice.reaches(bob)
    assert withheld(world, "thief") == dict.fromkeys(sorted(theirs), "refused")
    assert [each.code for each in thief.node.health] == ["route-refused"]


def test_a_false_hub_forwards_nothing() -> None:
    world = World(relays=0)
    world.auth_key = world.ledger.add_auth_key(hub=False)
    alice, bob = world.add("alice"), world.add("bob")
    thief = world.add("thief", role="hub")
    world.settle()

    for node in (alice, bob):
        assert node.peer(thief).entry.role == "node"
    assert withheld(world, "thief") == {"hub": "advertised"}
    assert [each.code for each in thief.node.health] == ["hub-waiting"]
    packets = len(thief.packets)
    bob.host.stop()
    assert not alice.reaches(bob, limit=20)
    assert alice.path(bob) != "via thief"
    assert len(thief.packets) == packets

    world.coordinator.perform(Approve("thief", "hub"))
    world.advance(5)
    assert alice.peer(thief).entry.role == "hub"
    assert list(thief.node.health) == []


@pytest.mark.parametrize(
    "wide",
    [
        ("0.0.0.0/1", "128.0.0.0/1"),
        ("fd00::/8",),
        ("100.64.0.0/16",),
        tuple(f"{number}.0.0.0/8" for number in range(11, 60)),
    ],
)
def test_a_node_does_not_believe_what_a_coordinator_should_have_refused(
    wide: tuple[str, ...],
) -> None:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    thief = world.add("thief")
    world.settle()
    entry = alice.client.peers.get(thief.key)
    assert entry is not None

    lie = control.PeerEntry(
        public_key=thief.key,
        name="thief",
        addresses=entry.addresses,
        version=entry.version + 1,
        online=True,
        routes=wide,
    )
    alice.node.members.change([lie], (), world.now)

    assert way(alice, bob.address) == bob.key
    had = {each for each in wide if way(alice, each.partition("/")[0]) is not None}
    assert len(had) < 17
    assert [each.code for each in alice.node.health] == ["peer-route-refused"]


def offer(world: World, node: SimNode, *routes: str) -> None:
    """Let a node offer these networks from now on."""
    node.node.background.offer_routes(routes, [], world.now)
    node.host.drain()
    world.advance(5)


def withheld(world: World, name: str) -> dict[str, str]:
    """Return what the administrator sees of a node that others are not told of."""
    registry = world.coordinator.registry
    node = registry.nodes[registry.names[name]]
    return {each.item: each.state for each in node.withheld}


def way(node: SimNode, address: str) -> str | None:
    """Return the key of the peer to which a node sends what is for an address."""
    lane = node.node.device.allowed_ips.lookup(ip_address(address).packed)
    peers = node.node.peers.values()
    return next((peer.key for peer in peers if peer.tunnel.lane is lane), None)
