"""Access policies in whole meshes: who sees whom, what passes, and what changes."""

import json

from coordinator.mesh.flows import Flow
from coordinator.mesh.operations import (
    Accepted,
    AddRecord,
    ApplyPolicy,
    Assign,
    Refused,
)
from meshwg.packet.refusal import TCP_RST
from meshwg.policy.ports import UDP
from meshwg.wire import control
from meshwg.wire.dnsrecords import read_record
from tests.policy.packets import ACK, PSH, SYN, tcp, udp
from tests.world.node import SimNode
from tests.world.world import World

SITE = "10.42.0.0/16"
SSH, DNS = (40_000, 22), (40_000, 53)
POLICY = """
[[allow]]
from = ["alice@example.org"]
to = ["tag:db"]
ports = ["tcp/22", "icmp"]

[[allow]]
from = ["role:member"]
to = ["self"]
"""
WITHOUT_SSH = POLICY.replace('"tcp/22", ', "")


def test_without_a_policy_all_reach_all_and_status_says_so() -> None:
    world = made()
    alice, bob = world.nodes["alice"], world.nodes["bob"]

    assert alice.reaches(bob)
    assert alice.node.access.status()["default"] == "allow"
    assert alice.node.access.status()["version"] is None


def test_nodes_know_only_those_whom_they_may_reach_or_who_may_reach_them() -> None:
    world = made()
    apply(world, POLICY)

    assert names(world.nodes["alice"]) == {"db", "phone"}
    assert names(world.nodes["db"]) == {"alice", "phone"}
    assert names(world.nodes["bob"]) == set()


def test_what_is_allowed_passes_and_the_rest_does_not() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY)

    assert alice.reaches(db)
    assert not db.reaches(alice, limit=3)
    assert says(world, alice, db, 22)
    assert not says(world, alice, db, 23)
    assert db.node.access.status()["default"] == "deny"


def test_nodes_are_told_of_records_that_lead_to_what_they_may_see() -> None:
    world = made()
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    perform(world, AddRecord(read_record("www", "CNAME", "db")))
    perform(world, AddRecord(read_record("out", "A", "203.0.113.7")))
    world.advance(1)
    assert [records(each) for each in (alice, bob)] == [{"www", "out"}] * 2

    apply(world, POLICY)
    assert [records(each) for each in (alice, bob)] == [{"www", "out"}, {"out"}]

    perform(world, AddRecord(read_record("more", "CNAME", "www")))
    world.advance(1)
    world.coordinators[0].stop()
    world.coordinators[0].start()
    world.settle(60)
    assert records(alice) == {"www", "out", "more"}
    assert records(bob) == {"out"}

    apply(world, POLICY.replace("alice@", "bob@"))
    assert [records(each) for each in (alice, bob)] == [
        {"out"},
        {"www", "out", "more"},
    ]
    assert world.coordinators[0].server.counters["resyncs"] == 0


def test_who_speaks_to_which_port_is_told_by_whom_it_reaches_and_once() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY)

    for _ in range(3):
        assert says(world, alice, db, 22)
        assert not says(world, alice, db, 23)
        world.advance(40.0)

    assert list(world.ledger.flows) == [Flow(alice.key, db.key, "tcp/22")]


def test_flows_that_began_without_the_coordinator_are_told_when_it_is_back() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY)
    assert alice.reaches(db)
    world.advance(40.0)
    world.coordinators[0].stop()
    assert says(world, alice, db, 22)
    world.advance(60.0)

    world.coordinators[0].start()
    world.settle(60.0)

    assert Flow(alice.key, db.key, "tcp/22") in world.ledger.flows


def test_who_breaks_the_rules_is_stopped_at_the_other_end() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY)
    assert alice.reaches(db)

    alice.node.device.datapath.set_filter(None)

    assert not says(world, alice, db, 23)
    assert says(world, alice, db, 22)


def test_a_connection_that_is_revoked_is_ended_at_both_ends_within_a_second() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY)
    connect(world, alice, db)

    apply(world, WITHOUT_SSH, seconds=0.5)
    say(alice, db, PSH | ACK)
    world.advance(0.5)

    assert [ends_of(alice.packets[-1]), ends_of(db.packets[-1])] == [TCP_RST] * 2


def test_datagrams_that_are_revoked_pass_no_more_and_their_sender_is_told() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY.replace('"tcp/22"', '"tcp/22", "udp/53"'))
    assert alice.reaches(db)
    ends = alice.address, db.address
    for _ in range(2):
        alice.write(udp(*ends, DNS))
        world.advance(0.1)
        db.write(udp(*ends[::-1], DNS[::-1]))
        world.advance(0.1)
    before = len(db.packets), len(alice.packets)
    assert (db.packets[-1][9], alice.packets[-1][9]) == (UDP, UDP)

    apply(world, POLICY, seconds=0.5)
    alice.write(udp(*ends, DNS))
    db.write(udp(*ends[::-1], DNS[::-1]))
    world.advance(0.5)

    told = [packets[-1][20:22] for packets in (alice.packets, db.packets)]
    assert told == [bytes((3, 13))] * 2
    assert (len(db.packets), len(alice.packets)) == (before[0] + 1, before[1] + 1)


def test_so_it_is_if_the_ends_do_not_even_know_each_other_any_more() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    apply(world, POLICY)
    connect(world, alice, db)

    apply(world, POLICY.replace("alice@", "bob@"), seconds=0.5)
    assert "db" not in names(alice)
    say(alice, db, PSH | ACK)
    db.write(tcp(db.address, alice.address, SSH[::-1], ACK, b"x", acknowledged=1001))
    world.advance(0.5)

    assert [ends_of(alice.packets[-1]), ends_of(db.packets[-1])] == [TCP_RST] * 2


def test_who_asks_for_somebody_he_does_not_know_is_told_at_once() -> None:
    world = made()
    bob, db = world.nodes["bob"], world.nodes["db"]
    apply(world, POLICY)

    bob.write(tcp(bob.address, db.address, SSH, SYN))

    assert bob.packets[-1][20:22] == bytes((3, 13))


def test_a_connection_that_is_still_allowed_goes_on() -> None:
    world = made()
    alice, db = world.nodes["alice"], world.nodes["db"]
    connect(world, alice, db)
    apply(world, POLICY, seconds=0.5)
    before = len(db.packets)
    say(alice, db, PSH | ACK)
    world.advance(0.5)
    assert len(db.packets) == before + 1

    apply(world, POLICY + "# another text\n", seconds=0.5)
    say(alice, db, PSH | ACK)
    world.advance(0.5)

    assert len(db.packets) == before + 2
    assert ends_of(db.packets[-1]) == 0


def test_a_join_changes_no_filter_of_others() -> None:
    world = made()
    apply(world, POLICY)
    others = [world.nodes[name].node.access for name in ("alice", "db", "bob")]
    before = [(each.policy, each.filter.generation) for each in others]

    join(world, "tablet", owner="alice@example.org")
    world.settle()

    assert [(each.policy, each.filter.generation) for each in others] == before
    assert "tablet" in names(world.nodes["alice"])
    assert "tablet" not in names(world.nodes["bob"])
    assert world.nodes["tablet"].reaches(world.nodes["db"])


def test_nobody_is_offered_to_those_who_may_not_see_him() -> None:
    world = made()
    apply(world, POLICY)
    bob, db = world.nodes["bob"], world.nodes["db"]

    bob.client.offer(control.OfferMessage(to=db.key, sequence=1), bob.now)
    before = world.coordinators[0].offers
    bob.host.drain()
    world.advance(1)

    assert world.coordinators[0].offers == before
    assert world.coordinators[0].server.refusals["unknown-peer"] == 1


def test_a_node_that_gets_a_tag_is_something_else_at_once() -> None:
    world = made()
    apply(world, POLICY)
    assert "bob" not in names(world.nodes["alice"])

    perform(world, Assign("bob", "", ("db",)))
    world.advance(1)

    assert "bob" in names(world.nodes["alice"])
    assert world.nodes["alice"].reaches(world.nodes["bob"])


def test_the_policy_outlives_the_coordinator_and_the_nodes() -> None:
    world = made()
    apply(world, POLICY)
    alice, db = world.nodes["alice"], world.nodes["db"]
    version = alice.node.access.policy

    world.coordinators[0].stop()
    alice.restart()
    world.advance(1)
    assert alice.node.access.policy == version

    world.coordinators[0].start()
    world.settle(60)
    assert alice.node.access.policy == version
    assert names(alice) == {"db", "phone"}
    assert alice.reaches(db)


def test_what_changed_meanwhile_is_told_when_the_node_is_back() -> None:
    world = made()
    apply(world, POLICY)
    alice = world.nodes["alice"]
    cache = alice.die()
    world.advance(1)
    apply(world, '[[allow]]\nfrom = ["any"]\nto = ["bob@example.org"]\n')

    alice.start(cache)
    world.settle(30)

    assert names(alice) == {"bob"}
    assert alice.reaches(world.nodes["bob"])


def test_a_node_that_has_lost_the_policy_lets_nothing_pass_until_it_is_told() -> None:
    world = made()
    apply(world, POLICY)
    alice, db = world.nodes["alice"], world.nodes["db"]
    cache = alice.die()
    assert cache is not None
    damaged = json.loads(cache)
    del damaged["policy"]
    world.coordinators[0].stop()

    alice.start(json.dumps(damaged).encode())
    world.advance(1)
    assert [each.code for each in alice.node.health] == ["policy-lost"]
    assert alice.node.access.status()["default"] == "deny"
    assert not alice.reaches(db, limit=3)

    world.coordinators[0].start()
    world.settle(60)
    assert list(alice.node.health) == []
    assert alice.reaches(db)


def test_a_node_that_knows_nothing_any_more_lets_nothing_pass_until_it_is_told() -> (
    None
):
    world = made()
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    alice.die()
    alice.start()
    alice.node.access.lose(alice.now)

    assert alice.node.access.status()["default"] == "deny"
    world.settle(30)
    assert list(alice.node.health) == []
    assert alice.node.access.status()["default"] == "allow"
    assert alice.reaches(bob)


def test_a_policy_that_is_wrong_is_refused_and_the_old_one_stays() -> None:
    world = made()
    apply(world, POLICY)
    before = world.nodes["alice"].node.access.policy

    result = perform(world, ApplyPolicy(POLICY.replace("tag:db", "tag:x"), "me"))
    world.advance(1)

    assert isinstance(result, Refused)
    assert result.message.startswith("Line 4 of the policy: no node and no token")
    assert world.nodes["alice"].node.access.policy == before


def test_a_node_that_its_own_class_does_not_see_knows_itself() -> None:
    world = made()
    apply(world, POLICY)
    db = world.nodes["db"]

    assert db.key not in [peer.public_key for peer in db.client.peers.nodes]
    assert db.node.members.itself is not None
    assert db.node.members.itself.name == "db"
    perform(world, Assign("db", "", ("db", "web")))
    world.advance(1)
    assert db.node.members.itself is not None


def test_members_behind_a_hub_are_judged_at_the_far_end() -> None:
    world = made()
    hub = world.add("hub", role="hub")
    world.settle()
    apply(world, POLICY)
    alice, db = world.nodes["alice"], world.nodes["db"]

    assert names(alice) == {"db", "phone", "hub"}
    assert names(world.nodes["bob"]) == {"hub"}
    assert hub.node.access.is_on
    assert alice.reaches(db)
    assert not alice.reaches(hub, limit=3)


def test_addresses_behind_a_router_are_reached_by_those_who_may() -> None:
    world = made()
    router = world.add("router", routes=(SITE,))
    world.settle()
    apply(
        world,
        '[[allow]]\nfrom = ["alice@example.org"]\nto = ["10.42.7.0/24"]\n'
        'ports = ["tcp/22"]\n',
    )
    alice = world.nodes["alice"]

    assert names(alice) == {"router"}
    assert names(world.nodes["bob"]) == set()
    assert reaches_behind(world, alice, router, "10.42.7.1")
    assert not reaches_behind(world, alice, router, "10.42.8.1")


# Meshes.


def made() -> World:
    """Return a mesh of two people, of whom one has two nodes, and a server."""
    world = World()
    for name in ("alice", "phone"):
        join(world, name, owner="alice@example.org")
    join(world, "bob", owner="bob@example.org")
    join(world, "db", tags=("db",))
    world.auth_key = world.ledger.add_auth_key()
    world.settle()
    return world


def records(node: SimNode) -> set[str]:
    return {each.name for each in node.client.records.records}


def join(
    world: World, name: str, *, owner: str = "", tags: tuple[str, ...] = ()
) -> SimNode:
    world.auth_key = world.ledger.add_auth_key(owner=owner, tags=tags)
    return world.add(name)


def apply(world: World, text: str, seconds: float = 1.0) -> None:
    """Have a policy, and let everybody hear of it."""
    result = perform(world, ApplyPolicy(text, "admin"))
    assert isinstance(result, Accepted), result
    world.advance(seconds)


def perform(
    world: World, operation: AddRecord | ApplyPolicy | Assign
) -> Accepted | Refused:
    return world.coordinators[0].perform(operation)


def names(node: SimNode) -> set[str]:
    """Return the names of the peers that a node knows."""
    return {peer.entry.name for peer in node.node.peers.values()}


def says(world: World, source: SimNode, destination: SimNode, port: int) -> bool:
    """Tell whether a SYN arrives."""
    before = len(destination.packets)
    source.write(tcp(source.address, destination.address, (40_000, port), SYN))
    world.advance(1)
    return len(destination.packets) > before


def reaches_behind(
    world: World, source: SimNode, router: SimNode, address: str
) -> bool:
    """Tell whether a SYN arrives that is for somebody behind a router."""
    before = router.node.access.filter.flows
    source.write(tcp(source.address, address, SSH, SYN))
    world.advance(1)
    return router.node.access.filter.flows > before


def connect(world: World, client: SimNode, server: SimNode) -> None:
    """Open a connection to port 22."""
    assert client.reaches(server)
    client.write(tcp(client.address, server.address, SSH, SYN))
    world.advance(0.1)
    server.write(tcp(server.address, client.address, SSH[::-1], SYN | ACK))
    world.advance(0.1)
    say(client, server, ACK)
    world.advance(0.1)


def say(client: SimNode, server: SimNode, flags: int) -> None:
    """Send a segment of that connection."""
    client.write(
        tcp(client.address, server.address, SSH, flags, b"ls", acknowledged=1001)
    )


def ends_of(packet: bytes) -> int:
    """Return whether a segment ends its connection, as the flag."""
    return packet[33] & TCP_RST
