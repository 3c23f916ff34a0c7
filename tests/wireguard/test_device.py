"""A whole interface: what it accepts, refuses, answers and forgets."""

import os
from collections import deque
from ipaddress import ip_network

import pytest

from meshwg import prefixes
from meshwg.errors import ConfigError
from meshwg.keys import PrivateKey
from meshwg.transmit import Endpoint, Source
from meshwg.wireguard import device as device_module
from meshwg.wireguard.constants import (
    INITIATION_LENGTH,
    KEEPALIVE_TIMEOUT,
    REKEY_TIMEOUT,
    RESPONSE_LENGTH,
)
from meshwg.wireguard.device import Device
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.news import (
    CookieReceived,
    Heard,
    MessageKind,
    Sent,
    SessionUnknown,
    Unanswered,
    Wanted,
)
from tests.wireguard.pair import (
    DATA,
    INITIATION,
    RESPONSE,
    START,
    Pair,
    flip,
    ipv4,
    ipv6,
)

ELSEWHERE = Endpoint("198.51.100.9", 4242)
STRANGER = Endpoint("203.0.113.5", 1)
SECRET = b"a very recognisable plaintext pattern"


# What travels between two devices.


def test_an_eavesdropper_sees_four_types_and_no_plaintext() -> None:
    pair = Pair()
    for _ in range(3):
        pair.send(pair.alice, pair.packet(pair.alice, SECRET))
        pair.send(pair.bob, pair.packet(pair.bob, SECRET))
        pair.run(pair.now + 130)
    assert len(pair.bob.received) == 3
    for _, _, datagram in pair.wire:
        assert datagram[:4] in (b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0")
        assert SECRET not in datagram
        assert len(datagram) % 16 == 0 or datagram[0] != DATA


def test_padding_is_removed() -> None:
    pair = Pair()
    packets = [pair.packet(pair.alice, bytes(length)) for length in range(40)]
    pair.send(pair.alice, *packets)
    assert pair.bob.received == packets


def test_ipv6_is_carried_like_ipv4() -> None:
    pair = Pair()
    for side, other in ((pair.alice, pair.bob), (pair.bob, pair.alice)):
        network = ip_network("fd00::1" if other is pair.alice else "fd00::2")
        side.device.allowed_ips.insert(network, side.peer.lane)
    source, destination = bytes([0xFD] + [0] * 14), bytes([0xFD] + [0] * 14)
    packet = (
        b"\x60\0\0\0\0\x05\x11\x40" + source + b"\1" + destination + b"\2" + b"hello"
    )
    pair.send(pair.alice, packet)
    assert pair.bob.received == [packet]


# Which packets are sent.


@pytest.mark.parametrize(
    "packet", [b"", b"\x45", bytes(40), b"\x60" * 20, ipv4("10.0.0.1", "10.9.9.9")]
)
def test_packets_for_no_peer_are_counted(packet: bytes) -> None:
    pair = Pair()
    pair.send(pair.alice, packet)
    assert pair.alice.drops == {Drop.NO_PEER: 1}
    assert pair.wire == []


def test_one_batch_is_grouped_by_peer_in_order() -> None:
    pair = Pair()
    pair.connect()
    third = pair.alice.device.add_peer(os.urandom(32))
    pair.alice.device.allowed_ips.insert(ip_network("10.0.0.3"), third.lane)
    mine = [pair.packet(pair.alice, bytes([number])) for number in range(4)]
    theirs = ipv4("10.0.0.1", "10.0.0.3")
    pair.alice.device.receive_packets(
        [mine[0], theirs, mine[1], theirs, mine[2], mine[3]], pair.now
    )
    (transmit,) = pair.alice.device.datagrams_to_send()
    assert len(transmit.datagrams) == 4
    pair.bob.device.receive_datagrams(transmit.datagrams, pair.alice.endpoint, pair.now)
    assert pair.bob.device.packets_to_write() == mine


def test_a_peer_without_an_endpoint_keeps_its_packets_until_it_has_one() -> None:
    pair = Pair()
    packet = pair.packet(pair.bob, b"early")
    pair.send(pair.bob, packet)
    assert pair.wire == []
    pair.bob.device.set_endpoint(pair.bob.peer, pair.alice.endpoint)
    pair.bob.device.start_peer(pair.bob.peer, pair.now)
    pair.deliver()
    assert pair.alice.received == [packet]


# Which packets are accepted.


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (ipv4("10.0.0.9", "10.0.0.2"), Drop.FORBIDDEN_SOURCE),
        (b"\x45" + bytes(10), Drop.INVALID_PACKET),
        (b"\x15" + bytes(30), Drop.INVALID_PACKET),
        (b"\x60" + bytes(30), Drop.INVALID_PACKET),
        (b"\x45\0\0\x13" + bytes(30), Drop.INVALID_PACKET),
        (b"\x45\0\x05\0" + bytes(30), Drop.INVALID_PACKET),
        (b"\x60\0\0\0\xff\xff" + bytes(60), Drop.INVALID_PACKET),
    ],
)
def test_inner_packets_with_forged_sources_are_dropped_but_prove_the_peer(
    packet: bytes, reason: Drop
) -> None:
    pair = Pair()
    pair.connect()
    pair.alice.endpoint = ELSEWHERE
    pair.alice.peer.send([packet], pair.now)
    pair.deliver()
    assert pair.bob.received == []
    assert pair.bob.drops == {reason: 1}
    assert pair.bob.peer.endpoint == ELSEWHERE


def test_a_source_is_looked_up_in_the_whole_table() -> None:
    pair = Pair()
    pair.connect()
    # Alice may use all of 10/8 except what a third peer has.
    pair.bob.device.allowed_ips.insert(ip_network("10.0.0.0/8"), pair.bob.peer.lane)
    third = pair.bob.device.add_peer(os.urandom(32))
    pair.bob.device.allowed_ips.insert(ip_network("10.3.0.0/16"), third.lane)
    pair.send(pair.alice, ipv4("10.7.0.1", "10.0.0.2"), ipv4("10.3.0.1", "10.0.0.2"))
    assert pair.bob.received == [ipv4("10.7.0.1", "10.0.0.2")]
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 1}


def test_a_forwarder_forwards_what_other_peers_sent_and_nothing_else() -> None:
    pair = Pair()
    pair.connect()
    third = pair.bob.device.add_peer(os.urandom(32))
    pair.bob.device.allowed_ips.insert(ip_network("10.3.0.0/16"), third.lane)
    forwarded = ipv4("10.3.0.1", "10.0.0.2")
    pair.send(pair.alice, forwarded)
    assert pair.bob.received == []
    lane = pair.bob.device.peers[pair.alice.public_key].lane
    pair.bob.device.datapath.let_forward(lane, True)
    pair.send(pair.alice, forwarded)
    assert pair.bob.received == []
    pair.bob.device.datapath.let_come_by(third.lane, lane)
    pair.send(pair.alice, forwarded, ipv4("10.4.0.1", "10.0.0.2"))
    assert pair.bob.received == [forwarded]
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 3}
    pair.bob.device.datapath.let_come_by(third.lane, None)
    pair.send(pair.alice, forwarded)
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 4}


def test_what_comes_from_a_network_of_several_is_taken_from_each_of_them() -> None:
    pair = Pair()
    pair.connect()
    path, site = pair.bob.device.datapath, ip_network("10.3.0.0/16")
    other = pair.bob.device.add_peer(os.urandom(32)).lane
    alice = pair.bob.device.peers[pair.alice.public_key].lane
    pair.bob.device.allowed_ips.insert(site, other)
    packet = ipv4("10.3.0.1", "10.0.0.2")
    path.accept_from([(site, (other, alice))])
    pair.send(pair.alice, packet, ipv4("10.4.0.1", "10.0.0.2"))
    assert pair.bob.received == [packet]
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 1}

    # A part of it that another has alone is that one's alone.
    part = ip_network("10.3.0.0/24")
    pair.bob.device.allowed_ips.insert(part, other)
    path.accept_from([(site, (other, alice)), (part, (other,))])
    pair.send(pair.alice, packet)
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 2}
    path.accept_from([])
    pair.send(pair.alice, ipv4("10.3.1.1", "10.0.0.2"))
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 3}


def test_what_is_for_others_is_not_delivered() -> None:
    pair = Pair()
    pair.connect()
    everywhere = ip_network("0.0.0.0/0")
    pair.alice.device.allowed_ips.insert(everywhere, pair.alice.peer.lane)
    datapath = pair.bob.device.datapath
    datapath.deliver_only(
        [ip_network("10.0.0.2"), ip_network("fd00::2")], members=False
    )
    mine, elsewhere = ipv4("10.0.0.1", "10.0.0.2"), ipv4("10.0.0.1", "192.168.1.1")
    pair.send(pair.alice, mine, elsewhere, ipv4("10.0.0.1", "10.0.0.1"))
    assert pair.bob.received == [mine]
    assert pair.bob.drops == {Drop.FORBIDDEN_DESTINATION: 2}
    pair.send(pair.alice, elsewhere)
    assert pair.bob.received == [mine]


def test_an_exit_delivers_what_is_for_the_internet_and_nothing_nearer() -> None:
    pair = Pair()
    pair.connect()
    for everywhere in ("0.0.0.0/0", "::/0"):
        pair.alice.device.allowed_ips.insert(
            ip_network(everywhere), pair.alice.peer.lane
        )
    pair.bob.device.allowed_ips.insert(ip_network("fd00::1"), pair.bob.peer.lane)
    near = [ip_network(each) for each in ("203.0.113.0/28", "2001:db8:7::/48")]
    internet = prefixes.internet(ip_network("10.0.0.0/8"), *near)
    pair.bob.device.datapath.deliver_only(internet, members=False)
    passing = [
        *(ipv4("10.0.0.1", to) for to in ("8.8.8.8", "203.0.113.16", "223.255.255.1")),
        *(ipv6("fd00::1", to) for to in ("2001:db8::7", "2620::1")),
    ]
    nearer = [
        *(ipv4("10.0.0.1", to) for to in ("10.9.9.9", "203.0.113.15", "127.0.0.1")),
        *(ipv4("10.0.0.1", to) for to in ("192.168.1.1", "169.254.169.254")),
        *(ipv6("fd00::1", to) for to in ("2001:db8:7::7", "fd00::9", "fe80::1")),
    ]

    for packet in (*nearer, *passing):
        pair.send(pair.alice, packet)

    assert pair.bob.received == passing
    assert pair.bob.drops == {Drop.FORBIDDEN_DESTINATION: len(nearer)}


def test_from_an_exit_comes_what_the_internet_says_and_from_nobody_else() -> None:
    pair = Pair()
    pair.connect()
    lane, other = pair.bob.peer.lane, pair.bob.device.add_peer(os.urandom(32))
    everywhere = ip_network("0.0.0.0/0")
    pair.alice.device.allowed_ips.insert(everywhere, pair.alice.peer.lane)
    news, nearer = ipv4("8.8.8.8", "10.0.0.2"), ipv4("192.168.1.1", "10.0.0.2")
    allowed_ips, internet = pair.bob.device.allowed_ips, prefixes.internet()

    pair.send(pair.alice, news)
    for network in internet:
        allowed_ips.insert(network, lane)
    pair.send(pair.alice, news, nearer)
    for network in internet:
        allowed_ips.insert(network, other.lane)
    pair.send(pair.alice, news)

    assert pair.bob.received == [news]
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 3}


def test_a_hub_delivers_what_is_for_its_peers_as_well() -> None:
    pair = Pair()
    pair.connect()
    everywhere = ip_network("0.0.0.0/0")
    pair.alice.device.allowed_ips.insert(everywhere, pair.alice.peer.lane)
    third = pair.bob.device.add_peer(os.urandom(32))
    pair.bob.device.allowed_ips.insert(ip_network("10.3.0.0/16"), third.lane)
    pair.bob.device.datapath.deliver_only([ip_network("10.0.0.2")], members=True)
    passed_on = ipv4("10.0.0.1", "10.3.0.9")
    pair.send(pair.alice, passed_on, ipv4("10.0.0.1", "192.168.1.1"))
    assert pair.bob.received == [passed_on]
    assert pair.bob.drops == {Drop.FORBIDDEN_DESTINATION: 1}


# Roaming.


@pytest.mark.parametrize("kind", [INITIATION, DATA])
def test_a_peer_is_followed_to_the_source_of_its_authentic_packets(kind: int) -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    pair.alice.endpoint = ELSEWHERE._replace(source=Source("192.0.2.2", 3))
    if kind == INITIATION:
        pair.alice.peer.initiate(pair.now)
    else:
        pair.alice.peer.send_keepalive(pair.now)
    pair.deliver()
    assert pair.bob.peer.endpoint == pair.alice.endpoint


def test_a_response_moves_the_responders_endpoint() -> None:
    pair = Pair()
    pair.alice.peer.initiate(pair.now)
    (transmit,) = pair.alice.device.datagrams_to_send()
    pair.bob.device.receive_datagrams(transmit.datagrams, pair.alice.endpoint, pair.now)
    (answer,) = pair.bob.device.datagrams_to_send()
    pair.alice.device.receive_datagrams(answer.datagrams, ELSEWHERE, pair.now)
    assert pair.alice.peer.endpoint == ELSEWHERE


def test_no_other_node_can_move_a_peer() -> None:
    pair = Pair()
    pair.connect()
    pair.send(pair.alice, pair.packet(pair.alice, b"data"))
    for _, side, datagram in list(pair.wire):
        receiver = pair.other(side)
        receiver.device.receive_datagrams([datagram], STRANGER, pair.now)
        receiver.device.receive_datagrams([flip(datagram, 20)], STRANGER, pair.now)
    assert pair.alice.peer.endpoint == pair.bob.endpoint
    assert pair.bob.peer.endpoint == pair.alice.endpoint


def test_an_owner_that_chooses_endpoints_is_told_what_it_needs() -> None:
    pair = Pair(roaming=False)
    bob, lane = pair.bob, pair.bob.peer.lane
    bob.device.receive_packets([pair.packet(bob)], pair.now)
    assert bob.device.next_news() == Wanted(lane, START)
    assert bob.device.next_news() is None
    (initiation,) = initiations(pair)
    bob.device.receive_datagrams([initiation], pair.alice.endpoint, pair.now)
    assert bob.device.next_news() == Heard(
        lane, pair.alice.endpoint, START, INITIATION_LENGTH, MessageKind.INITIATION
    )
    assert bob.device.next_news() == Sent(
        lane, START, RESPONSE_LENGTH, MessageKind.RESPONSE
    )
    assert bob.peer.endpoint is None


def test_an_owner_is_told_of_data_that_was_not_answered() -> None:
    pair = Pair()
    pair.connect()
    news = pair.alice.device._around.news = deque()
    pair.lose = lambda _side, _datagram: True
    pair.send(pair.alice, pair.packet(pair.alice))
    pair.run(START + 20)
    (unanswered,) = [each for each in news if isinstance(each, Unanswered)]
    assert unanswered.lane is pair.alice.peer.lane
    assert unanswered.at >= START + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT


def test_an_owner_is_told_of_a_cookie() -> None:
    pair = Pair()
    news = pair.alice.device._around.news = deque()
    pair.bob.put_under_load(pair.now)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert CookieReceived(pair.alice.peer.lane, START) in news


def test_a_handshake_under_way_can_be_begun_anew_before_its_time() -> None:
    pair = Pair()
    pair.alice.device.repeat_handshake(pair.alice.peer, pair.now)
    assert not pair.sent(pair.alice, INITIATION), "there is none"
    pair.lose = lambda _side, _datagram: True
    packet = pair.packet(pair.alice)
    pair.send(pair.alice, packet)
    pair.run(START + 0.5)
    pair.lose = lambda _side, _datagram: False
    pair.alice.device.repeat_handshake(pair.alice.peer, pair.now)
    pair.deliver()
    assert pair.bob.received == [packet]
    assert len(pair.sent(pair.alice, INITIATION)) == 2
    pair.alice.device.repeat_handshake(pair.alice.peer, pair.now)
    pair.deliver()
    assert len(pair.sent(pair.alice, INITIATION)) == 2, "it is over"


@pytest.mark.parametrize(
    ("handshake", "kind"), [(False, DATA), (True, INITIATION)], ids=["data", "hands"]
)
def test_a_probe_goes_elsewhere_than_the_peer_is(handshake: bool, kind: int) -> None:
    pair = Pair()
    pair.connect()
    alice, peer = pair.alice.device, pair.alice.peer
    at, before = peer.endpoint, peer.tx_bytes
    length = alice.probe(peer, ELSEWHERE, pair.now, handshake=handshake)
    (probe,) = alice.datagrams_to_send()
    assert probe.destination == ELSEWHERE
    assert probe.datagrams[0][0] == kind
    assert len(probe.datagrams[0]) == length == peer.tx_bytes - before
    assert peer.endpoint == at


def test_without_a_session_there_is_no_keepalive_to_probe_with() -> None:
    pair = Pair()
    assert not pair.alice.device.probe(
        pair.alice.peer, ELSEWHERE, pair.now, handshake=False
    )
    assert pair.alice.device.datagrams_to_send() == []


def test_an_answer_gets_its_address_when_it_is_drained() -> None:
    pair = Pair(roaming=False)
    bob = pair.bob
    (initiation,) = initiations(pair)
    bob.device.receive_datagrams([initiation], pair.alice.endpoint, pair.now)
    bob.device.set_endpoint(bob.peer, ELSEWHERE)
    (answer,) = bob.device.datagrams_to_send()
    assert answer.destination == ELSEWHERE
    assert answer.datagrams[0][0] == RESPONSE


def test_an_answer_to_a_peer_without_a_path_is_dropped() -> None:
    pair = Pair(roaming=False)
    (initiation,) = initiations(pair)
    pair.bob.device.receive_datagrams([initiation], pair.alice.endpoint, pair.now)
    assert pair.bob.device.datagrams_to_send() == []
    assert pair.bob.drops == {Drop.NO_ENDPOINT: 1}


def test_packets_for_a_peer_without_a_path_wait_for_one() -> None:
    pair = Pair()
    pair.connect()
    pair.send(pair.bob, pair.packet(pair.bob, b"first"))
    pair.bob.device.set_endpoint(pair.bob.peer, None)
    pair.send(pair.bob, pair.packet(pair.bob, b"second"))
    assert pair.alice.received == [pair.packet(pair.bob, b"first")]
    pair.bob.device.set_endpoint(pair.bob.peer, pair.alice.endpoint)
    pair.bob.device.start_peer(pair.bob.peer, pair.now)
    pair.deliver()
    assert pair.alice.received[1:] == [pair.packet(pair.bob, b"second")]


def test_an_owner_is_told_of_data_under_an_unknown_session() -> None:
    pair = Pair(roaming=False)
    stray = b"\4\0\0\0" + bytes(28)
    pair.bob.device.receive_datagrams([stray, stray], STRANGER, pair.now)
    assert pair.bob.device.next_news() == SessionUnknown(STRANGER, START)
    assert pair.bob.device.next_news() is None
    assert pair.bob.drops == {Drop.UNKNOWN_SESSION: 2}


def initiations(pair: Pair) -> list[bytes]:
    """Return what Alice says first to send a packet."""
    pair.alice.device.receive_packets([pair.packet(pair.alice)], pair.now)
    return [d for each in pair.alice.device.datagrams_to_send() for d in each.datagrams]


def test_silence_clears_the_sticky_source() -> None:
    pair = Pair()
    pinned = pair.bob.endpoint._replace(source=Source("192.0.2.1", 2))
    pair.alice.device.set_endpoint(pair.alice.peer, pinned)
    pair.lose = lambda _side, _datagram: True
    pair.send(pair.alice, pair.packet(pair.alice))
    assert pair.alice.peer.endpoint == pinned
    pair.run(START + 6)
    assert pair.alice.peer.endpoint == pair.bob.endpoint


def test_a_new_port_clears_all_sticky_sources() -> None:
    pair = Pair()
    pinned = pair.bob.endpoint._replace(source=Source("192.0.2.1", 2))
    pair.alice.device.set_endpoint(pair.alice.peer, pinned)
    pair.alice.device.unpin_endpoints(only=STRANGER)
    assert pair.alice.peer.endpoint == pinned
    pair.alice.device.unpin_endpoints(only=pair.bob.endpoint)
    assert pair.alice.peer.endpoint == pair.bob.endpoint
    pair.alice.device.set_endpoint(pair.alice.peer, pinned)
    pair.alice.device.unpin_endpoints()
    assert pair.alice.peer.endpoint == pair.bob.endpoint


# Configuration.


def test_without_a_private_key_nothing_is_said_and_nothing_heard() -> None:
    pair = Pair()
    pair.alice.peer.initiate(pair.now)
    initiation = pair.alice.device.datagrams_to_send()[0].datagrams
    for side in (pair.alice, pair.bob):
        side.device.set_private_key(None)
    pair.bob.device.receive_datagrams(initiation, pair.alice.endpoint, pair.now)
    assert pair.bob.drops == {Drop.NO_PRIVATE_KEY: 1}
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.wire) == 0


def test_a_new_private_key_needs_a_new_handshake_but_late_data_still_arrives() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    late = pair.packet(pair.bob, b"late")
    pair.bob.device.receive_packets([late], pair.now)
    (transmit,) = pair.bob.device.datagrams_to_send()
    pair.alice.device.set_private_key(PrivateKey.generate(os.urandom))
    pair.alice.device.receive_datagrams(transmit.datagrams, pair.bob.endpoint, pair.now)
    assert pair.alice.device.packets_to_write() == [late]
    pair.send(pair.alice, pair.packet(pair.alice))
    assert pair.bob.received == []
    assert pair.bob.drops == {Drop.HANDSHAKE_REFUSED: 1}


def test_the_same_private_key_again_changes_nothing() -> None:
    pair = Pair()
    pair.connect()
    pair.alice.device.set_private_key(pair.alice.device.private_key)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.bob.received) == 1
    assert len(pair.sent(pair.alice, INITIATION)) == 1


def test_a_peer_with_our_new_key_is_removed() -> None:
    pair = Pair()
    key = PrivateKey.generate(os.urandom)
    pair.alice.device.add_peer(key.public_bytes)
    pair.alice.device.set_private_key(key)
    assert list(pair.alice.device.peers) == [pair.bob.public_key]


def test_a_removed_peer_leaves_nothing_behind() -> None:
    pair = Pair()
    pair.connect()
    peer = pair.alice.peer
    pair.alice.device.remove_peer(pair.bob.public_key)
    assert peer.current is None
    assert len(pair.alice.device._around.indices) == 0
    pair.send(pair.alice, pair.packet(pair.alice))
    pair.send(pair.bob, pair.packet(pair.bob))
    assert pair.alice.drops == {Drop.NO_PEER: 1, Drop.UNKNOWN_SESSION: 1}
    pair.run(START + 1000)
    assert pair.alice.device.get_timer() is None


def test_an_interface_that_goes_down_forgets_sessions_and_keeps_peers() -> None:
    pair = Pair()
    pair.connect()
    pair.alice.device.down()
    assert pair.alice.peer.current is None
    assert pair.alice.device.get_timer() is None
    pair.send(pair.alice, pair.packet(pair.alice))
    assert pair.bob.received == []
    pair.alice.device.up(pair.now)
    pair.run(START + 1)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.bob.received) == 1


def test_going_up_wakes_the_peers_that_want_to_be_kept_open() -> None:
    pair = Pair()
    pair.alice.device.down()
    pair.alice.device.set_persistent_keepalive(pair.alice.peer, 25, pair.now)
    pair.deliver()
    assert pair.wire == []
    pair.alice.device.up(pair.now)
    pair.deliver()
    assert pair.bob.peer.current is not None


def test_a_down_interface_answers_nothing() -> None:
    pair = Pair()
    pair.bob.device.down()
    pair.send(pair.alice, pair.packet(pair.alice))
    assert [side for _, side, _ in pair.wire] == [pair.alice]


def test_the_number_of_peers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "MAX_PEERS", 2)
    device = Device(random=os.urandom, unix_time=lambda now: now)
    first = device.add_peer(b"a" * 32)
    device.add_peer(b"b" * 32)
    with pytest.raises(ConfigError, match="at most 2 peers"):
        device.add_peer(b"c" * 32)
    assert device.add_peer(b"a" * 32) is first


def test_the_mtu_bounds_the_padding() -> None:
    pair = Pair()
    pair.connect()
    pair.alice.device.mtu = 1000
    pair.send(pair.alice, pair.packet(pair.alice, bytes(975)))
    assert len(pair.wire[-1][2]) == 1000 + 32


def test_idle_peers_need_no_timer() -> None:
    device = Device(random=os.urandom, unix_time=lambda now: now)
    device.set_private_key(PrivateKey.generate(os.urandom))
    device.up(0.0)
    for number in range(50):
        peer = device.add_peer(os.urandom(32))
        device.set_endpoint(peer, Endpoint("192.0.2.1", number + 1))
    assert device.get_timer() is None


def test_no_secret_shows_in_a_representation() -> None:
    pair = Pair(preshared_key=b"\x5a" * 32)
    pair.connect()
    key = pair.alice.device.private_key
    assert key is not None
    shown = repr(pair.alice.device._around) + repr(pair.alice.peer) + repr(key)
    for secret in (key.private_bytes, b"\x5a" * 32):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
