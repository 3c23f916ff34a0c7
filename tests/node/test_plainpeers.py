"""Plain WireGuard peers, at their hub and at everybody else."""

import random
from dataclasses import replace
from ipaddress import ip_address

from meshwg.keys import PrivateKey, format_key
from meshwg.node.hubs import Diversions
from meshwg.peer import HUB, PLAIN, MeshPeer
from meshwg.transmit import FIRST_LINK, Endpoint
from meshwg.wire import control
from meshwg.wireguard.device import Device
from meshwg.wireguard.lane import Lane

NOW = 1000.0
PHONE, PHONE6 = "100.64.0.5", "fd00::5"
THERE = Endpoint("198.51.100.7", 4500)


def test_packets_for_a_plain_peer_go_to_its_hub() -> None:
    stage = Stage()
    hub = stage.add("hub", "100.64.0.9", role=HUB)
    phone = stage.add("phone", PHONE, PHONE6, role=PLAIN, via=hub.key)

    assert stage.owner(PHONE) is stage.owner(PHONE6) is hub
    assert phone.via is hub
    assert not phone.is_served


def test_it_does_not_matter_who_is_known_first() -> None:
    stage = Stage()
    key = stage.key_of("hub")
    phone = stage.add("phone", PHONE, role=PLAIN, via=key)
    assert stage.owner(PHONE) is None

    hub = stage.add("hub", "100.64.0.9", role=HUB)

    assert stage.owner(PHONE) is phone.via is hub


def test_who_is_no_hub_speaks_for_no_plain_peer() -> None:
    stage = Stage()
    hub = stage.add("hub", "100.64.0.9", role=HUB)
    phone = stage.add("phone", PHONE, role=PLAIN, via=hub.key)

    hub.entry = replace(hub.entry, role="node")
    stage.hubs.peer_changed(hub)

    assert stage.owner(PHONE) is phone.via is None
    assert stage.owner("100.64.0.9") is hub


def test_what_changes_of_a_hub_leaves_it_its_plain_peers() -> None:
    stage = Stage()
    hub = stage.add("hub", "100.64.0.9", role=HUB)
    stage.add("phone", PHONE, role=PLAIN, via=hub.key)
    bob = stage.add("bob", "100.64.0.2")
    stage.hubs.begin(bob, NOW)

    hub.entry = replace(hub.entry, addresses=("100.64.0.8",))
    stage.hubs.peer_changed(hub)

    assert stage.owner(PHONE) is stage.owner("100.64.0.8") is hub
    assert stage.owner("100.64.0.9") is None


def test_a_plain_peer_whose_hub_has_gone_is_nobodys() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    phone = stage.add("phone", PHONE, role=PLAIN, via=hub.key)

    stage.remove(hub)

    assert stage.owner(PHONE) is phone.via is None
    assert "its hub is no hub any more, or has gone" in phone.reason(NOW)


def test_a_removed_plain_peer_has_no_addresses_any_more() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    phone = stage.add("phone", PHONE, role=PLAIN, via=hub.key)
    own = stage.add("tablet", PHONE6, role=PLAIN, via=stage.own_key)

    stage.remove(phone)
    stage.remove(own)

    assert stage.owner(PHONE) is stage.owner(PHONE6) is None
    assert stage.hubs.plain.served_addresses() == ()
    assert stage.hubs.plain.carried_by(hub) == []


def test_another_hub_takes_a_plain_peer_over() -> None:
    stage = Stage()
    one, two = (stage.add(name, role=HUB) for name in ("one", "two"))
    phone = stage.add("phone", PHONE, role=PLAIN, via=one.key)

    phone.entry = replace(phone.entry, via=two.key, addresses=(PHONE6,))
    stage.hubs.peer_changed(phone)

    assert stage.owner(PHONE) is None
    assert stage.owner(PHONE6) is two
    stage.remove(one)
    assert stage.owner(PHONE6) is two


def test_at_its_hub_a_plain_peer_has_a_tunnel_of_its_own() -> None:
    stage = Stage()
    phone = stage.add("phone", PHONE, role=PLAIN, via=stage.own_key)

    assert stage.owner(PHONE) is phone
    assert phone.is_served
    assert stage.hubs.plain.served_addresses() == (PHONE,)
    assert stage.hubs.plain.served_at(PHONE) is phone
    assert stage.hubs.plain.served_at(PHONE6) is None
    assert "has not been heard" in phone.reason(NOW)
    assert phone.path_json(NOW, NOW)["kind"] == "none"


def test_its_hub_sends_to_where_it_was_heard_last() -> None:
    stage = Stage()
    phone = stage.add("phone", PHONE, role=PLAIN, via=stage.own_key)
    lane = phone.tunnel.lane

    stage.hubs.plain.heard(lane, THERE)
    assert lane.endpoint == THERE
    elsewhere = THERE._replace(port=4501)
    stage.hubs.plain.heard(lane, elsewhere)
    assert lane.endpoint == elsewhere

    phone.tunnel.last_handshake = NOW - 10
    path = phone.path_json(NOW, NOW)
    assert (path["kind"], path["remote"]) == ("direct", "198.51.100.7:4501")
    assert phone.is_online(NOW)
    assert not phone.is_online(NOW + 600)
    assert "this node is its hub" in phone.reason(NOW)


def test_it_does_not_come_by_a_relay_or_a_stream() -> None:
    stage = Stage()
    phone = stage.add("phone", PHONE, role=PLAIN, via=stage.own_key)

    for link in (FIRST_LINK, -1):
        stage.hubs.plain.heard(phone.tunnel.lane, THERE._replace(link=link))

    assert phone.tunnel.endpoint is None


def test_where_others_are_heard_is_not_its_business() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    phone = stage.add("phone", PHONE, role=PLAIN, via=hub.key)

    stage.hubs.plain.heard(phone.tunnel.lane, THERE)
    stage.hubs.plain.heard(hub.tunnel.lane, THERE)

    assert phone.tunnel.endpoint is hub.tunnel.endpoint is None


def test_it_is_as_online_as_its_hub_to_all_others() -> None:
    stage = Stage()
    hub = stage.add("hub", role=HUB)
    phone = stage.add("phone", PHONE, role=PLAIN, via=hub.key)

    assert phone.is_online(NOW)
    assert phone.reason(NOW) == "It is plain WireGuard: packets go by its hub hub."
    hub.entry = replace(hub.entry, online=False)
    assert not phone.is_online(NOW)


class Stage:
    """A device with peers, some of them plain."""

    def __init__(self) -> None:
        seeded = random.Random(9).randbytes
        own = PrivateKey.generate(seeded)
        self.own_key = format_key(own.public_bytes)
        self.device = Device(random=seeded, unix_time=lambda now: now, roaming=False)
        self.device.set_private_key(own)
        self._by_lane: dict[Lane, MeshPeer] = {}
        self.hubs = Diversions(self.device)

    @staticmethod
    def key_of(name: str) -> str:
        """Return the public key of a peer; equal names, equal keys."""
        return format_key(
            PrivateKey.generate(random.Random(name).randbytes).public_bytes
        )

    def add(
        self, name: str, *addresses: str, role: str = "node", via: str | None = None
    ) -> MeshPeer:
        entry = control.PeerEntry(
            public_key=self.key_of(name),
            name=name,
            addresses=addresses,
            version=1,
            online=role != PLAIN,
            role=role,
            via=via,
        )
        key = PrivateKey.generate(random.Random(name).randbytes).public_bytes
        peer = MeshPeer(entry, self.device.add_peer(key))
        self._by_lane[peer.tunnel.lane] = peer
        self.hubs.peer_changed(peer)
        return peer

    def remove(self, peer: MeshPeer) -> None:
        self.hubs.remove(peer)
        self.device.remove_peer(peer.tunnel.public_key)

    def owner(self, address: str) -> MeshPeer | None:
        """Return to whom a packet for this address would go."""
        lane = self.device.allowed_ips.lookup(ip_address(address).packed)
        return None if lane is None else self._by_lane[lane]
