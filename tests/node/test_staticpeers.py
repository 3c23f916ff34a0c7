"""Plain WireGuard peers that the machine itself tells its node of."""

import random
from dataclasses import replace
from ipaddress import ip_network

from meshwg.keys import PrivateKey, format_key
from meshwg.node import InterfaceChanged
from meshwg.node.staticpeers import KEEPALIVE
from meshwg.staticpeer import StaticPeer
from meshwg.transmit import Endpoint
from meshwg.wire import control
from meshwg.wireguard.device import Device
from tests.node.stage import HOME, NOW, Stage
from tests.wireguard.pair import ipv4

OWN_PODS, THEIR_PODS = "10.244.1.0/24", "10.244.2.0/24"
OURS, THEIRS = "10.244.1.7", "10.244.2.9"
THERE, HERE = Endpoint("198.51.100.2", 51820), Endpoint("192.0.2.1", 51820)


class Stock:
    """A node with nothing but WireGuard: the engine with roaming, and one peer."""

    def __init__(self, stage: Stage, name: str = "stock") -> None:
        randbytes = random.Random(name).randbytes
        self.key = PrivateKey.generate(randbytes)
        self.device = Device(random=randbytes, unix_time=lambda now: 1.7e9 + now)
        self.device.set_private_key(self.key)
        peer = self.device.add_peer(stage.key.public_bytes)
        self.device.allowed_ips.insert(ip_network(OWN_PODS), peer.lane)
        self.device.set_endpoint(peer, HERE)
        self.device.up(NOW)
        self._stage = stage

    def static(self) -> StaticPeer:
        """Return it as its node's annotations would have it."""
        key = format_key(self.key.public_bytes)
        return StaticPeer("flannel-b", key, THERE, (THEIR_PODS,))

    def exchange(self, source: Endpoint = THERE) -> None:
        """Carry datagrams until nobody has anything to say."""
        node = self._stage.node
        for _ in range(10):
            for transmit in node.datagrams_to_send():
                if transmit.destination.unpinned()[:2] == source[:2]:
                    self.device.receive_datagrams(transmit.datagrams, HERE, NOW)
            for transmit in self.device.datagrams_to_send():
                node.receive_datagrams(transmit.datagrams, source, NOW)


def test_its_pods_and_ours_reach_each_other() -> None:
    stage = Stage(routes=(OWN_PODS,))
    approve(stage)
    stock = Stock(stage)
    stage.node.members.set_static([stock.static()], NOW)
    there, back = ipv4(OURS, THEIRS, b"to flannel"), ipv4(THEIRS, OURS, b"from it")

    stage.node.receive_packets([there], NOW)
    stock.exchange()
    stock.device.receive_packets([back], NOW)
    stock.exchange()

    assert stock.device.packets_to_write() == [there]
    assert stage.node.packets_to_write() == [back]


def test_the_interface_leads_to_its_pods() -> None:
    stage = Stage()
    stock = Stock(stage)
    stage.node.members.set_static([stock.static()], NOW)
    assert THEIR_PODS in stage.events(InterfaceChanged)[-1].routes
    stage.node.members.set_static([], NOW)
    assert THEIR_PODS not in stage.events(InterfaceChanged)[-1].routes
    assert stage.node.peers == {}


def test_it_speaks_for_its_own_pods_only() -> None:
    stage = Stage(routes=(OWN_PODS,))
    approve(stage)
    stock = Stock(stage)
    stage.node.members.set_static([stock.static()], NOW)
    stock.device.receive_packets([ipv4("10.244.3.3", OURS, b"forged")], NOW)
    stock.exchange()
    assert stage.node.packets_to_write() == []


def test_it_is_kept_open_so_that_it_can_begin() -> None:
    stage = Stage()
    stock = Stock(stage)
    stage.node.members.set_static([stock.static()], NOW)
    (peer,) = stage.node.peers.values()
    assert peer.tunnel.timers.persistent_interval == KEEPALIVE
    sent = {each.destination[:2] for each in stage.node.datagrams_to_send()}
    assert THERE[:2] in sent


def test_it_is_followed_to_where_it_is_heard_from() -> None:
    stage = Stage(routes=(OWN_PODS,))
    approve(stage)
    stock, moved = Stock(stage), Endpoint("203.0.113.5", 4500)
    stage.node.members.set_static([stock.static()], NOW)
    stock.exchange()
    stock.device.receive_packets([ipv4(THEIRS, OURS, b"from elsewhere")], NOW)
    stock.exchange(moved)
    (peer,) = stage.node.peers.values()
    assert peer.tunnel.endpoint is not None
    assert peer.tunnel.endpoint[:2] == moved[:2]
    # The same again is no news, and takes it back nowhere.
    stage.node.members.set_static([stock.static()], NOW)
    assert peer.tunnel.endpoint[:2] == moved[:2]


def test_another_endpoint_or_network_is_news() -> None:
    stage = Stage()
    stock, moved = Stock(stage), Endpoint("203.0.113.5", 51820)
    stage.node.members.set_static([stock.static()], NOW)
    changed = replace(stock.static(), endpoint=moved, networks=("10.244.9.0/24",))
    stage.node.members.set_static([changed], NOW)
    (peer,) = stage.node.peers.values()
    assert peer.tunnel.endpoint == moved
    assert peer.entry.routes == ("10.244.9.0/24",)


def test_a_member_of_the_mesh_is_no_static_peer() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", "100.64.0.2")
    know(stage, bob.entry)
    stock = Stock(stage)
    claimed = replace(stock.static(), public_key=bob.key)
    stage.node.members.set_static([claimed], NOW)
    assert not stage.node.peers[bob.key].is_plain
    stage.node.members.set_static([], NOW)
    assert bob.key in stage.node.peers


def test_one_that_becomes_a_member_is_reached_as_such() -> None:
    stage = Stage()
    key = stage.entry("bob", "100.64.0.2").public_key
    static = replace(Stock(stage).static(), public_key=key)
    stage.node.members.set_static([static], NOW)
    assert stage.node.peers[key].is_plain

    bob = stage.add_peer("bob", "100.64.0.2", routes=[THEIR_PODS])
    know(stage, bob.entry)
    stage.node.members.set_static([], NOW)

    assert stage.node.peers[key] is bob
    assert not bob.is_plain
    assert bob.entry.routes == (THEIR_PODS,)


def test_what_the_mesh_itself_has_it_does_not_get() -> None:
    stage = Stage()
    stock = Stock(stage)
    static = replace(stock.static(), networks=("100.64.0.0/16",))
    stage.node.members.set_static([static], NOW)
    (peer,) = stage.node.peers.values()
    assert peer.entry.routes == ()


def test_status_says_what_it_is() -> None:
    stage = Stage()
    stage.node.members.set_static([Stock(stage).static()], NOW)
    (peer,) = stage.node.peers.values()
    assert "It is plain WireGuard" in peer.reason(NOW)
    assert not peer.is_online(1.7e9 + NOW)


def approve(stage: Stage) -> None:
    """Let others be told of what the node offers."""
    itself = stage.entry("home", HOME, routes=[OWN_PODS])
    know(stage, replace(itself, public_key=stage.node.public_key))
    stage.node.members.update_interface()


def know(stage: Stage, *entries: control.PeerEntry) -> None:
    """Have members in the node's netmap."""
    table = stage.node.control.peers
    version = table.version
    table.update(
        control.Delta(base=version, version=version + 1, digest="", changed=entries)
    )
