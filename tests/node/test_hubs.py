"""Diversions: whose packets go to which hub, and who owns which addresses."""

import random
from dataclasses import replace
from ipaddress import ip_address, ip_network

from meshwg.keys import PrivateKey, format_key
from meshwg.node.farends import PATIENCE
from meshwg.node.hubs import DURATION, Diversions
from meshwg.peer import HUB, MeshPeer
from meshwg.wire import control
from meshwg.wireguard.device import Device
from meshwg.wireguard.lane import Lane

NOW = 1000.0
BOB, BOB6, BEHIND_BOB = "100.64.0.2", "fd00::2", "10.2.0.0/16"


def test_a_peer_owns_its_addresses_and_what_is_behind_it() -> None:
    stage = Stage()
    bob = stage.add("bob", BOB, BOB6, routes=(BEHIND_BOB,))

    assert stage.owner(BOB) is stage.owner(BOB6) is stage.owner("10.2.3.4") is bob


def test_a_diverted_peers_addresses_are_the_hubs_until_it_returns() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    bob = stage.add("bob", BOB, BOB6, routes=(BEHIND_BOB,))

    assert stage.hubs.begin(bob, NOW)
    assert stage.owner(BOB) is stage.owner(BOB6) is stage.owner("10.2.3.4") is hub
    assert bob.via is hub

    stage.hubs.end(bob)
    assert stage.owner(BOB) is stage.owner(BOB6) is stage.owner("10.2.3.4") is bob
    assert stage.hubs.get_timer() is None


def test_a_diversion_ends_after_a_while() -> None:
    stage = Stage()
    stage.add("hub", role=HUB)
    bob = stage.add("bob", BOB)
    stage.hubs.begin(bob, NOW)

    stage.hubs.handle_timer(NOW + DURATION - 1)
    assert bob.via is not None
    stage.hubs.handle_timer(NOW + DURATION)

    assert stage.owner(BOB) is bob


def test_without_an_online_hub_no_peer_is_diverted() -> None:
    stage = Stage()
    stage.add("hub", role=HUB, online=False)
    bob = stage.add("bob", BOB)

    assert not stage.hubs.begin(bob, NOW)
    assert stage.owner(BOB) is bob


def test_a_hub_is_not_diverted_to_another() -> None:
    stage = Stage()
    stage.add("hub-1", role=HUB)
    other = stage.add("hub-2", BOB, role=HUB)

    assert not stage.hubs.begin(other, NOW)


def test_all_nodes_choose_the_hub_that_was_approved_first() -> None:
    stage = Stage()
    stage.add("hub-a", role=HUB, since=20)
    first = stage.add("hub-b", role=HUB, since=10)
    bob = stage.add("bob", BOB)

    stage.hubs.begin(bob, NOW)

    assert bob.via is first


def test_a_hub_that_does_not_forward_to_a_peer_makes_room_for_the_next() -> None:
    stage = Stage()
    first, second = (stage.add(f"hub-{n}", role=HUB, since=n) for n in (1, 2))
    bob, carl = stage.add("bob", BOB), stage.add("carl", "100.64.0.7")
    stage.hubs.begin(bob, NOW)

    for step in range(PATIENCE + 1):
        assert bob.via is first
        assert bob in [peer for peer, _ in stage.hubs.handle_timer(NOW + step)]

    assert bob.via is second
    assert stage.owner(BOB) is stage.speaker_for(bob) is second
    assert bob.is_forwarded is None
    # It may forward to others all the same.
    stage.hubs.begin(carl, NOW + 10)
    assert carl.via is first


def test_the_only_hub_is_kept_but_not_said_to_forward_if_it_does_not() -> None:
    stage = Stage()
    hub, bob = stage.add("hub", role=HUB), stage.add("bob", BOB)
    stage.hubs.begin(bob, NOW)
    assert "no echo has come back by it yet" in bob.reason(NOW)

    for step in range(PATIENCE + 1):
        stage.hubs.handle_timer(NOW + step)

    assert bob.via is hub
    assert bob.is_forwarded is False
    assert bob.reason(NOW).startswith("The hub hub does not forward to there")
    assert bob.path_json(NOW, NOW)["kind"] == "none"


def test_a_hub_by_which_echoes_come_back_is_said_to_forward() -> None:
    stage = Stage()
    stage.add("hub", role=HUB)
    bob = stage.add("bob", BOB)
    stage.hubs.begin(bob, NOW)
    ((_, sequence),) = stage.hubs.handle_timer(NOW)

    stage.hubs.far_ends.answered(sequence, BOB)

    assert bob.reason(NOW).startswith("The hub hub forwards: ")
    stage.hubs.end(bob)
    assert bob.is_forwarded is None


def test_a_change_of_a_hub_ends_its_diversions_and_keeps_all_addresses() -> None:
    stage = Stage()
    hub = stage.add("hub", "100.64.0.9", role=HUB)
    bob = stage.add("bob", BOB)
    stage.hubs.begin(bob, NOW)

    stage.hubs.peer_changed(hub)

    assert stage.owner(BOB) is bob
    assert stage.owner("100.64.0.9") is hub


def test_a_former_hub_may_not_speak_for_others() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    assert hub.tunnel.lane.forwards

    hub.entry = replace(hub.entry, role="node")
    stage.hubs.peer_changed(hub)

    assert not hub.tunnel.lane.forwards


def test_a_hub_speaks_only_for_those_who_have_no_other_way() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    bob = stage.add("bob", BOB)
    assert stage.speaker_for(bob) is None

    stage.hubs.expect(bob, NOW)
    assert stage.speaker_for(bob) is hub
    stage.hubs.reached(bob)
    assert stage.speaker_for(bob) is None

    stage.hubs.begin(bob, NOW)
    stage.hubs.end(bob)
    # It may go on until there is another way.
    assert stage.speaker_for(bob) is hub
    hub.entry = replace(hub.entry, role="node")
    stage.hubs.peer_changed(hub)
    assert stage.speaker_for(bob) is None


def test_nobody_speaks_for_a_hub_nor_a_node_for_anybody() -> None:
    stage = Stage()
    stage.add("carl", "100.64.0.7")
    bob = stage.add("bob", BOB)
    stage.hubs.expect(bob, NOW)
    assert bob.tunnel.lane.via is None
    stage.add("hub-1", role=HUB)
    other = stage.add("hub-2", role=HUB)
    stage.hubs.expect(other, NOW)
    assert other.tunnel.lane.via is None


def test_a_hub_that_has_gone_speaks_for_nobody() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    bob = stage.add("bob", BOB)
    stage.hubs.expect(bob, NOW)
    stage.hubs.remove(hub)
    assert bob.tunnel.lane.via is None


def test_addresses_that_a_peer_gave_up_belong_to_no_peer() -> None:
    stage = Stage()
    bob = stage.add("bob", BOB)

    bob.entry = replace(bob.entry, addresses=("100.64.0.3",))
    stage.hubs.peer_changed(bob)

    assert stage.owner(BOB) is None
    assert stage.owner("100.64.0.3") is bob


def test_ending_what_never_started_is_not_an_error() -> None:
    stage = Stage()
    bob = stage.add("bob", BOB)

    stage.hubs.end(bob)
    stage.hubs.end_all(bob)

    assert stage.owner(BOB) is bob


class Stage:
    """A device with peers, some of them hubs."""

    def __init__(self) -> None:
        self._random = random.Random(9).randbytes
        self.device = Device(random=self._random, unix_time=lambda now: now)
        self._by_lane: dict[Lane, MeshPeer] = {}
        self.hubs = Diversions(self.device)

    def add(
        self,
        name: str,
        *addresses: str,
        role: str = "node",
        routes: tuple[str, ...] = (),
        online: bool = True,
        since: int = 0,
    ) -> MeshPeer:
        key = PrivateKey.generate(self._random).public_bytes
        entry = control.PeerEntry(
            public_key=format_key(key),
            name=name,
            addresses=addresses,
            version=1,
            online=online,
            role=role,
            hub_since=since,
            routes=tuple(str(ip_network(route)) for route in routes),
        )
        peer = MeshPeer(entry, self.device.add_peer(key))
        self._by_lane[peer.tunnel.lane] = peer
        self.hubs.peer_changed(peer)
        return peer

    def speaker_for(self, peer: MeshPeer) -> MeshPeer | None:
        """Return the hub from which the packets of a peer are taken."""
        lane = peer.tunnel.lane.via
        return None if lane is None else self._by_lane[lane]

    def owner(self, address: str) -> MeshPeer | None:
        """Return to whom a packet for this address would go."""
        lane = self.device.allowed_ips.lookup(ip_address(address).packed)
        return None if lane is None else self._by_lane[lane]
