"""Channels: when they are renewed, and when their numbers return."""

from meshwg.relay.peers import (
    CHANNEL_LIFETIME,
    CHANNEL_REST,
    EXPIRY_MARGIN,
    IDLE_AFTER,
    MAX_REBINDS,
    RETRY_AFTER,
    Peers,
    RelayPeer,
)
from meshwg.transmit import Endpoint

ONE, TWO = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
LINK, RENEW_AFTER = 7, 120.0


def test_a_new_peer_has_a_number_of_its_own_and_is_due_at_once() -> None:
    peers = make_peers()
    one, two = peers.get(ONE, 0.0), peers.get(TWO, 0.0)

    assert (one.channel, two.channel) == (0x4000, 0x4001)
    assert peers.on_channel(0x4001) is two
    assert peers.find(ONE) is one
    assert one.tagged == ONE._replace(link=LINK)
    assert peers.due(0.0) == [one, two]


def test_a_peer_in_use_is_renewed_long_before_its_channel_ends() -> None:
    peers = make_peers()
    peer = bound(peers, ONE)

    assert peers.next_due() == RENEW_AFTER
    assert peers.due(RENEW_AFTER - 1) == []
    peer.used_at = 50.0
    assert peers.due(RENEW_AFTER) == [peer]


def test_a_channel_that_is_not_renewed_is_reconsidered_when_it_expires() -> None:
    peers = make_peers()
    peer = bound(peers, ONE)
    end = peer.bound_until
    assert peers.channels(end - 1) == {peer.tagged: peer.channel}

    peers.refused(peer, "no", end - 1)

    assert peers.next_due() == end
    peers.has_changed = False
    peers.due(end)
    assert peers.has_changed
    assert peers.channels(end) == {}


def test_a_peer_that_is_asked_for_is_not_due_twice() -> None:
    peers = make_peers()
    peers.get(ONE, 0.0).is_asking = True

    assert peers.due(5.0) == []
    assert peers.next_due() is None


def test_an_unused_peer_is_forgotten_when_the_relay_has_forgotten_it() -> None:
    peers = make_peers()
    peer = bound(peers, ONE)
    seen: list[float] = []
    while peers.find(ONE) is not None:
        due = peers.next_due()
        assert due is not None
        seen.append(due)
        now = max(due, IDLE_AFTER)
        assert peers.due(now) == []

    assert seen[-1] == CHANNEL_LIFETIME + CHANNEL_REST
    assert len(seen) <= 3
    assert peer.channel is None


def test_a_peer_that_is_used_again_in_time_keeps_its_channel() -> None:
    peers = make_peers()
    peer = bound(peers, ONE)
    assert peers.due(IDLE_AFTER) == []
    last_chance = peers.next_due()
    assert last_chance is not None
    assert last_chance < peer.bound_until

    peer.used_at = last_chance - 1
    assert peers.due(last_chance) == [peer]


def test_numbers_return_when_all_are_used_up() -> None:
    peers = make_peers()
    for port in range(0x1000):
        peers.get(Endpoint("192.0.2.1", port + 1), 0.0)
    without = peers.get(TWO, 0.0)
    assert without.channel is None

    gone = CHANNEL_LIFETIME + CHANNEL_REST + EXPIRY_MARGIN + IDLE_AFTER
    peers.due(gone)
    peers.due(gone)
    assert peers.find(ONE) is None
    assert peers.get(ONE, gone).channel is not None


def test_a_channel_number_that_the_relay_binds_differently_is_given_up() -> None:
    peers = make_peers()
    peer = peers.get(ONE, 0.0)
    numbers = []
    while peers.renumber(peer, 0.0):
        numbers.append(peer.channel)

    assert numbers == [0x4001, 0x4002, 0x4003]
    assert len(numbers) == MAX_REBINDS
    assert peers.on_channel(0x4000) is None
    assert peers.on_channel(0x4003) is peer


def test_a_refusal_is_remembered_and_asked_again_later() -> None:
    peers = make_peers()
    peer = peers.get(ONE, 0.0)
    peer.is_open = True
    peers.refused(peer, "Not that one", 0.0)

    assert peer.refusal == "Not that one"
    assert peers.due(RETRY_AFTER - 1) == []
    assert peers.due(RETRY_AFTER) == [peer]
    peers.renewed(peer, RETRY_AFTER)
    assert peer.refusal is None


def test_a_peer_without_a_channel_has_a_permission() -> None:
    peers = make_peers()
    host = peers.get(Endpoint("192.0.2.1", 0), 0.0, with_channel=False)
    peers.renewed(host, 0.0)

    assert host.channel is None
    assert host.is_ready(280.0)
    assert not host.is_ready(300.0)


def test_a_new_allocation_keeps_the_peers_in_use_but_nothing_else() -> None:
    peers = make_peers()
    old = bound(peers, ONE)
    old.is_open = True
    bound(peers, TWO)
    host = peers.get(Endpoint("192.0.2.3", 0), 0.0, with_channel=False)
    host.is_open = True

    survivors = list(peers.survivors(IDLE_AFTER + 1))

    assert [peer.address for peer in survivors] == [ONE, host.address]
    assert [peer.bound_until for peer in survivors] == [0.0, 0.0]
    assert [peer.channel for peer in survivors] == [0x4000, None]


def make_peers() -> Peers:
    return Peers(LINK, RENEW_AFTER)


def bound(peers: Peers, address: Endpoint) -> RelayPeer:
    """Return a peer whose channel was bound at 0."""
    peer = peers.get(address, 0.0)
    peers.renewed(peer, 0.0)
    return peer
