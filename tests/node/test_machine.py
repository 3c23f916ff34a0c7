"""Whole nodes in virtual time: they join, talk, leave, and survive each other."""

from dataclasses import replace

import pytest

from coordinator.mesh.operations import Expire, Remove, Rename
from meshwg.control.client import ControlState
from meshwg.keys import format_key
from meshwg.node import Expelled, InterfaceChanged, Joined, NetmapChanged, SocketsWanted
from meshwg.path.candidate import Rejection
from meshwg.status import all_drops
from meshwg.transmit import Endpoint
from meshwg.wire import control
from meshwg.wire.demux import DatagramKind, kind_of
from tests.sim.kinds import (
    FULL_CONE,
    PORT_RESTRICTED,
    PUBLIC,
    SYMMETRIC_RANDOM,
    UDP_BLOCKED,
)
from tests.world.node import SimNode
from tests.world.packets import udp_packet
from tests.world.relay import PORT as RELAY_PORT
from tests.world.world import World, pair, strangers

# Joining and leaving


def test_a_node_that_joins_gets_addresses_for_its_interface() -> None:
    world = World()
    alice = world.add("alice")
    world.settle()

    (joined,) = alice.found(Joined)
    assert joined == Joined("")
    wanted = alice.found(InterfaceChanged)[-1]
    assert isinstance(wanted, InterfaceChanged)
    four, six = alice.node.members.own_addresses()
    assert wanted.addresses == (f"{four}/16", f"{six}/48")
    assert alice.found(NetmapChanged)


def test_two_nodes_talk_as_soon_as_they_have_joined() -> None:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    world.settle()

    assert alice.reaches(bob)
    assert alice.path(bob) == bob.path(alice) == "direct"
    assert "dropped" not in all_drops(alice.node)


def test_packets_reach_the_peers_system_whole_and_in_order() -> None:
    world, alice, bob = pair()
    sent = [
        udp_packet(alice.address, bob.address, bytes([number]) * 999)
        for number in range(100)
    ]

    alice.write(*sent)
    world.advance(1)

    assert bob.packets == sent


def test_a_node_that_leaves_is_offline_at_once() -> None:
    _, alice, bob = pair()

    bob.leave()

    assert not alice.peer(bob).entry.online
    assert alice.peer(bob).tunnel.public_key in alice.node.device.peers


def test_a_node_that_falls_silent_is_offline_within_ten_seconds() -> None:
    world, alice, bob = pair()

    bob.carrier.silent = True
    world.advance(10)

    assert not alice.peer(bob).entry.online
    assert alice.keep_pinging(bob, 1) == 0


def test_a_coordinator_that_falls_silent_is_noticed_within_half_a_minute() -> None:
    world, alice, bob = pair()

    alice.carrier.silent = True
    world.advance(31)

    assert alice.client.state is not ControlState.CONNECTED
    assert alice.client.error is not None
    assert alice.keep_pinging(bob, 1) == 0


def test_a_removed_node_loses_its_peers_and_they_their_sessions() -> None:
    world, alice, bob = pair()
    session = alice.peer(bob).tunnel

    world.coordinator.perform(Remove("bob"))
    world.advance(0.1)

    assert alice.node.peers == {}
    assert session.public_key not in alice.node.device.peers
    (expelled,) = bob.found(Expelled)
    assert expelled == Expelled("This node was removed from the mesh", forget=True)
    assert bob.node.peers == {}
    assert bob.client.cache() is None


def test_a_removed_node_that_has_not_heard_of_it_is_not_let_in() -> None:
    world, alice, bob = pair()
    bob.carrier.silent = True
    world.coordinator.perform(Remove("bob"))
    world.advance(0.1)

    assert not bob.reaches(alice, limit=20)
    assert alice.packets == []
    refused = all_drops(alice.node)
    assert refused["unknown-session"] + refused["handshake-refused"] > 0


def test_an_expired_node_is_told_to_join_again() -> None:
    world, _, bob = pair()

    world.coordinator.perform(Expire("bob"))
    world.advance(1)

    (expelled,) = bob.found(Expelled)
    assert isinstance(expelled, Expelled)
    assert "has expired; join again" in expelled.reason


def test_a_used_token_ends_the_node_but_forgets_nothing() -> None:
    world = World()
    world.auth_key = world.ledger.add_auth_key(reusable=False)
    world.add("alice")
    late = world.add("late")
    world.advance(1)

    (expelled,) = late.found(Expelled)
    assert isinstance(expelled, Expelled)
    assert expelled.reason.startswith("This join token was for one node")
    assert not expelled.forget


def test_a_renamed_peer_is_found_by_its_new_name() -> None:
    world, alice, bob = pair()

    world.coordinator.perform(Rename("bob", "robert"))
    world.advance(0.1)

    assert alice.node.members.find("robert") is alice.peer(bob)
    assert alice.node.members.find("bob") is None
    assert alice.node.members.find(bob.address) is alice.peer(bob)
    assert alice.keep_pinging(bob, 1) == 0


# Costs


def test_a_thousand_idle_peers_cost_no_handshake_and_no_timer() -> None:
    world = World()
    alice = world.add("alice")
    world.settle()
    cache = with_strangers(alice, 1000)
    alice.die()
    world.coordinator.stop()
    alice.start(cache)
    assert len(alice.node.peers) == 1000
    world.network.delivered = 0

    world.advance(600)

    assert alice.node.device.get_timer() is None
    assert all(peer.agent is None for peer in alice.node.peers.values())
    assert all(peer.tunnel.tx_bytes == 0 for peer in alice.node.peers.values())


def test_peers_that_fall_idle_cost_nothing_after_a_while() -> None:
    world, alice, bob = pair()
    world.advance(1200)
    before = alice.peer(bob).tunnel.tx_bytes

    world.advance(1200)

    assert alice.peer(bob).tunnel.tx_bytes == before
    assert alice.node.device.get_timer() is None
    assert alice.reaches(bob)


# Paths


def test_data_goes_through_the_relay_at_once_and_then_directly() -> None:
    world, alice, bob = strangers(PORT_RESTRICTED, PORT_RESTRICTED)

    alice.ping(bob)

    assert alice.path(bob) == "relay"
    world.run(lambda: alice.answers() == [1], limit=2)
    assert alice.keep_pinging(bob, 5) == 0
    assert alice.path(bob) == bob.path(alice) == "direct"


def test_two_symmetric_nats_stay_on_the_relay_and_say_why() -> None:
    world, alice, bob = strangers(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)

    assert alice.keep_pinging(bob, 20) == 0

    assert alice.path(bob) == "relay"
    reason = alice.peer(bob).status(world.now, world.now)["reason"]
    assert "Both sides are behind symmetric NATs" in reason


def test_a_node_without_udp_has_no_path_but_says_so() -> None:
    world, alice, bob = strangers(UDP_BLOCKED, PUBLIC, tcp=False)

    assert not alice.reaches(bob, limit=5)

    status = alice.peer(bob).status(world.now, world.now)
    assert status["path"]["kind"] == "none"
    assert "UDP" in status["reason"]


def test_a_peer_that_roams_is_followed() -> None:
    world, alice, bob = pair(FULL_CONE, PORT_RESTRICTED)

    bob.move_to(PORT_RESTRICTED, 9)
    assert bob.keep_pinging(alice, 10) < 5

    assert alice.path(bob) == "direct"
    remote = alice.peer(bob).path_json(world.now, world.now)["remote"]
    assert remote.startswith("203.0.9.1:")
    assert alice.keep_pinging(bob, 1) == 0


def test_birthday_sockets_are_requested_and_returned() -> None:
    # A birthday attempt may miss; with this seed it hits.
    _, alice, bob = strangers(SYMMETRIC_RANDOM, PORT_RESTRICTED, seed=2)
    before = len(alice.host.sockets)

    assert alice.keep_pinging(bob, 30) == 0

    wanted = [e for e in alice.found(SocketsWanted) if isinstance(e, SocketsWanted)]
    assert max(event.count for event in wanted) == 256
    assert alice.path(bob) == "direct"
    assert len(alice.host.sockets) == before + 1


def test_a_peer_that_restarts_is_talked_to_as_soon_as_it_is_back() -> None:
    world, alice, bob = pair(PORT_RESTRICTED, PORT_RESTRICTED)
    world.advance(5)
    cache = bob.die()
    assert alice.keep_pinging(bob, 1) == 10

    bob.start(cache)

    assert alice.keep_pinging(bob, 5) < 10


def test_an_unnoticed_restart_of_a_peer_is_detected_by_its_silence() -> None:
    world, alice, bob = pair()
    world.advance(5)
    world.coordinator.stop()
    bob.restart()
    world.coordinator.start()

    assert alice.reaches(bob, limit=40)


@pytest.mark.parametrize("error", [-50 * 365 * 86400, -3600, 3600])
def test_a_wrong_clock_shuts_no_node_out(error: float) -> None:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    bob.clock_error = error
    world.settle()

    assert bob.reaches(alice)


def test_a_clock_that_was_set_back_over_a_restart_is_forgiven() -> None:
    _, alice, bob = pair()
    cache = bob.die()
    bob.clock_error = -3600

    bob.start(cache)

    assert bob.reaches(alice)


# The coordinator


def test_a_coordinators_restart_is_invisible_to_traffic() -> None:
    world, alice, bob = pair(PORT_RESTRICTED, PORT_RESTRICTED)

    world.coordinator.stop()
    lost = alice.keep_pinging(bob, 20)
    world.coordinator.start()
    lost += alice.keep_pinging(bob, 40)

    assert lost == 0
    world.settle(0)


def test_a_node_starts_from_its_cache_while_the_coordinator_is_away() -> None:
    world, alice, bob = pair(PORT_RESTRICTED, PUBLIC)
    world.coordinator.stop()
    cache = alice.die()

    alice.start(cache)
    world.advance(10)

    (wanted,) = alice.found(InterfaceChanged)
    assert isinstance(wanted, InterfaceChanged)
    assert len(wanted.addresses) == 2
    assert alice.reaches(bob)


def test_what_goes_through_a_relay_leaves_the_engine_in_its_channel() -> None:
    world, alice, bob = pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)
    world.advance(1)
    device = alice.node.device

    device.receive_packets([udp_packet(alice.address, bob.address, b"x")], world.now)

    (transmit,) = device.datagrams_to_send()
    assert transmit.destination == Endpoint(world.relays[0].address, RELAY_PORT)
    assert kind_of(transmit.datagrams[0]) is DatagramKind.CHANNEL_DATA


def test_a_relay_whose_channels_carry_everything_is_not_considered_dead() -> None:
    _, alice, bob = pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)
    relayed = alice.node.relays.relayed

    assert alice.keep_pinging(bob, 120) == 0

    assert alice.node.relays.relayed == relayed
    assert alice.path(bob) == "relay"


def test_relays_are_used_with_the_coordinator_away() -> None:
    world, alice, bob = pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)
    world.coordinator.stop()

    assert alice.keep_pinging(bob, 30) == 0
    assert alice.path(bob) == "relay"


def test_a_relay_that_restarts_is_used_again() -> None:
    world, alice, bob = pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM)

    world.relays[0].restart()

    assert alice.reaches(bob, limit=60)
    assert alice.path(bob) == "relay"


def test_relays_that_die_in_turn_replace_each_other() -> None:
    world, alice, bob = pair(SYMMETRIC_RANDOM, SYMMETRIC_RANDOM, relays=2)

    for _ in range(4):
        home = alice.node.relays.relayed
        assert home is not None
        (dying,) = [each for each in world.relays if each.address == home.host]
        dying.is_dead = True
        assert alice.keep_pinging(bob, 10) < 50
        dying.restart()
        dying.is_dead = False
        assert alice.keep_pinging(bob, 3) == 0


# Routes


def test_a_tunnel_does_not_run_through_itself() -> None:
    world = World()
    alice = world.add("alice", PORT_RESTRICTED)
    bob = world.add("bob", PORT_RESTRICTED)
    (inside,) = bob.host.addresses
    bob.routes = (f"{inside}/32",)
    bob.restart()
    world.settle()
    assert alice.found(InterfaceChanged)[-1].routes == bob.routes

    assert alice.reaches(bob)
    lost = alice.keep_pinging(bob, 20)

    assert lost == 0
    assert alice.path(bob) == bob.path(alice) == "direct"
    assert alice.entered_mesh == 0
    assert all_drops(alice.node)[Rejection.MESH.value] > 0


def test_a_network_that_the_host_is_in_is_not_routed_to_a_peer() -> None:
    world = World()
    alice = world.add("alice")
    world.add("bob", routes=("192.168.7.0/24", "10.7.0.0/16"))
    world.settle()

    alice.node.set_hosts(alice.host.addresses, world.now, ["192.168.7.0/24"])
    alice.host.drain()
    at_home = alice.found(InterfaceChanged)[-1]
    alice.node.set_hosts(alice.host.addresses, world.now)
    alice.host.drain()
    on_the_road = alice.found(InterfaceChanged)[-1]

    assert (at_home.routes, at_home.hidden) == (("10.7.0.0/16",), ("192.168.7.0/24",))
    assert on_the_road.routes == ("10.7.0.0/16", "192.168.7.0/24")
    assert on_the_road.hidden == ()


def test_an_unwanted_route_never_exists_even_for_a_moment() -> None:
    world, alice, bob = pair()
    bob.routes = ("192.168.7.0/24",)
    bob.restart()
    world.settle()
    cache = alice.die()

    alice.networks = bob.routes
    alice.start(cache)

    assert [change.routes for change in alice.found(InterfaceChanged)] == [()]


def test_peers_learn_that_a_node_cannot_have_ipv6_and_that_it_can_again() -> None:
    world, alice, bob = pair()
    both = bob.peer(alice).entry.addresses
    assert any(":" in each for each in both)

    alice.node.background.set_ipv6(False, world.now)
    alice.host.drain()
    world.settle()
    assert bob.peer(alice).entry.addresses == (alice.address,)
    assert all(":" not in each for each in alice.node.members.own_addresses())

    alice.node.background.set_ipv6(True, world.now)
    alice.host.drain()
    world.settle()
    assert bob.peer(alice).entry.addresses == both


# Echo requests


def test_answers_to_our_own_echo_requests_are_kept_from_the_system() -> None:
    _, alice, bob = pair()
    before = len(alice.answers())

    assert alice.keep_pinging(bob, 1) == 0
    assert len(alice.answers()) == before + 10
    assert alice.packets == []


def test_answers_to_other_requests_are_left_to_the_system() -> None:
    world, alice, bob = pair()
    alice.ping(bob)
    alice.node.echoes.end(7)
    world.advance(1)

    assert len(alice.packets) == 1


# Hubs


def test_spokes_without_another_path_meet_at_the_hub() -> None:
    world, hub, alice, bob = star()

    assert alice.keep_pinging(bob, 10) == 0

    assert alice.path(bob) == bob.path(alice) == "via hub"
    assert alice.path(hub) == "direct"
    reason = alice.peer(bob).status(world.now, world.now)["reason"]
    assert reason.startswith("The hub hub forwards: There is no relay.")


def test_a_change_of_the_hub_costs_no_packet() -> None:
    world, hub, alice, bob = star()
    assert alice.reaches(bob)

    hub.node.set_hosts([*hub.host.addresses, "192.0.2.77"], world.now)
    hub.host.drain()

    assert alice.keep_pinging(bob, 5) == 0
    assert all_drops(alice.node)["no-peer"] == 0


def test_spokes_meet_again_when_the_hub_comes_back() -> None:
    world, hub, alice, bob = star()
    assert alice.reaches(bob)

    cache = hub.die()
    world.advance(1)
    assert alice.path(bob) == "none"
    hub.start(cache)

    assert alice.reaches(bob)
    assert alice.path(bob) == "via hub"


def test_another_hub_takes_over_from_one_that_leaves() -> None:
    world, hub, alice, bob = star()
    spare = world.add("spare", role="hub")
    world.settle()
    assert alice.reaches(bob)

    hub.leave()

    assert alice.reaches(bob)
    # It is believed when an echo of this node's own has come back.
    world.advance(2)
    assert alice.path(bob) == "via spare"
    assert spare.path(bob) == "direct"


def test_a_removed_hub_stops_forwarding() -> None:
    world, _, alice, bob = star()
    assert alice.reaches(bob)

    world.coordinator.perform(Remove("hub"))
    world.advance(1)

    assert not alice.reaches(bob, limit=3)
    assert alice.path(bob) == "none"


def test_spokes_leave_the_hub_as_soon_as_there_is_a_direct_path() -> None:
    _, _, alice, bob = star()
    assert alice.reaches(bob)

    bob.move_to(PUBLIC, 9)

    assert bob.keep_pinging(alice, 20) < 20
    assert alice.path(bob) == bob.path(alice) == "direct"
    assert alice.keep_pinging(bob, 1) == 0


def test_only_hubs_may_speak_for_others() -> None:
    world, alice, bob = pair()
    carol = world.add("carol")
    world.settle()

    bob.write(udp_packet(carol.address, alice.address, b"not from carol"))
    world.advance(1)

    assert alice.packets == []
    assert all_drops(alice.node)["forbidden-source"] == 1


# Helpers


def with_strangers(node: SimNode, count: int) -> bytes:
    """Return the node's netmap with more peers in it, all of them online."""
    saved = node.client.cache()
    assert saved is not None
    cache = control.load_cache(saved)
    random = node.network.random
    peers = tuple(
        control.PeerEntry(
            public_key=format_key(random.randbytes(32)),
            name=f"stranger-{number}",
            addresses=(f"100.64.{number // 250 + 100}.{number % 250 + 1}",),
            online=True,
            version=1,
        )
        for number in range(count)
    )
    grown = replace(cache, peers=cache.peers + peers)
    return control.to_json(grown)


def star() -> tuple[World, SimNode, SimNode, SimNode]:
    """Return a public hub and two spokes that cannot reach each other directly."""
    world = World(relays=0)
    hub = world.add("hub", role="hub")
    alice, bob = (world.add(name, SYMMETRIC_RANDOM) for name in ("alice", "bob"))
    world.settle()
    return world, hub, alice, bob
