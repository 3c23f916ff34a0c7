"""A client and a server on a simulated internet, in fair weather."""

from typing import Any

import pytest

from coordinator.turn import TurnDrop
from meshwg.relay.client import MAX_WAITING, RelayDrop
from meshwg.relay.server import Transport
from meshwg.transmit import Endpoint
from tests.relay.simulation import (
    LINK,
    TRANSPORTS,
    ClientHost,
    internet,
    no_loss,
    packets,
    pair,
    ready,
    seen,
)
from tests.sim.network import Network
from tests.world.relay import RelayHost


@TRANSPORTS
def test_an_allocation_takes_a_challenge_and_one_more_round_trip(
    transport: Transport,
) -> None:
    network, relay = internet()
    alice = ClientHost(network, relay, "203.0.113.1", transport=transport)

    alice.start()

    assert alice.relayed.host == relay.address
    assert relay.server.counters.requests == {"allocate": 2}
    assert alice.client.round_trip == pytest.approx(0.012)
    assert alice.client.error is None


@TRANSPORTS
def test_the_first_packets_arrive_without_waiting_for_a_channel(
    transport: Transport,
) -> None:
    network, relay = internet()
    alice, bob = pair(network, relay, transport)
    sent_at = network.now

    alice.send(bob.relayed, b"one", b"two")
    network.run(until=lambda: len(bob.received) == 2)

    assert bob.received == [(seen(alice), b"one"), (seen(alice), b"two")]
    assert network.now - sent_at == pytest.approx(0.012)


@TRANSPORTS
def test_two_clients_of_one_server_need_no_relay_socket(transport: Transport) -> None:
    network, relay = internet()
    alice, bob = pair(network, relay, transport)

    for number in range(5):
        alice.send(bob.relayed, b"to bob %d" % number)
        bob.send(alice.relayed, b"to alice %d" % number)
        network.advance(0.1)

    assert packets(bob) == [b"to bob %d" % number for number in range(5)]
    assert packets(alice) == [b"to alice %d" % number for number in range(5)]
    assert relay.opened == 0
    assert relay.server.counters.internal.packets == 10


def test_a_channel_is_used_as_soon_as_it_is_bound() -> None:
    network, relay = internet()
    alice, bob = pair(network, relay)
    network.advance(1)
    before = relay.server.counters.requests.total()

    alice.send(bob.relayed, *[bytes(100)] * 20)
    [transmit] = capture(alice, bob.relayed, *[bytes(100)] * 20)
    network.advance(1)

    assert {len(each) for each in transmit.datagrams} == {104}
    assert len(bob.received) == 20
    assert relay.server.counters.requests.total() == before


def test_a_peer_outside_the_server_is_reached_from_the_relayed_address() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    outside = network.add_host("outside", "192.0.2.9").open(5555)
    peer = Endpoint("192.0.2.9", 5555)

    alice.send(peer, b"out")
    network.advance(1)
    outside.send(b"back", alice.relayed)
    network.advance(1)

    assert [(data, source[:2]) for data, source in outside.received] == [
        (b"out", alice.relayed[:2])
    ]
    assert alice.received == [(peer._replace(link=LINK), b"back")]
    assert relay.opened == 1


def test_a_permitted_host_may_send_from_any_port() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    host = network.add_host("outside", "192.0.2.9")
    first, second = host.open(5555), host.open(6666, link=1)

    first.send(b"too early", alice.relayed)
    network.advance(1)
    alice.client.permit("192.0.2.9", network.now)
    alice.host.drain()
    network.advance(1)
    second.send(b"now", alice.relayed)
    network.advance(1)

    assert alice.received == [(Endpoint("192.0.2.9", 6666, LINK), b"now")]


def test_a_stranger_does_not_get_in() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    alice.open(Endpoint("192.0.2.9", 5555))
    network.advance(1)
    network.add_host("stranger", "192.0.2.10").open(5555).send(b"hi", alice.relayed)
    network.advance(1)

    assert alice.received == []
    assert relay.server.counters.drops == {TurnDrop.NO_PERMISSION: 1}


def test_a_relay_without_ipv4_is_asked_for_an_ipv6_address() -> None:
    network = Network()
    relay = RelayHost(network, "2001:db8::1")
    alice = ready(ClientHost(network, relay, "2001:db8:1::1"))
    bob = ready(ClientHost(network, relay, "2001:db8:2::1"))
    bob.open(alice.relayed)
    network.advance(1)

    alice.send(bob.relayed, b"over IPv6")
    network.advance(1)

    assert packets(bob) == [b"over IPv6"]


def test_packets_wait_for_the_allocation_and_the_oldest_are_dropped() -> None:
    network, relay = internet()
    bob = ready(ClientHost(network, relay, "203.0.113.2"))
    alice = ClientHost(network, relay, "203.0.113.1")
    alice.client.start(network.now)
    for number in range(MAX_WAITING + 3):
        alice.send(bob.relayed, b"%d" % number)
    assert network.run(until=alice.is_allocated)
    bob.client.permit(alice.relayed.host, network.now)
    bob.host.drain()
    network.advance(1)

    assert alice.client.drops == {RelayDrop.QUEUE_FULL: 3}
    assert relay.server.counters.drops == {TurnDrop.NO_PERMISSION: 128}


@pytest.mark.parametrize("seed", range(5))
def test_a_third_of_all_datagrams_lost_delays_but_does_not_stop(seed: int) -> None:
    network, relay = internet(seed)
    alice = ClientHost(network, relay, "203.0.113.1", loss=0.18)
    bob = ClientHost(network, relay, "203.0.113.2", loss=0.18)
    for client in (alice, bob):
        client.client.start(network.now)
        client.host.drain()
        assert network.run(until=client.is_allocated, limit=60)
    alice.open(bob.relayed)
    bob.open(alice.relayed)
    network.advance(20)

    for _ in range(100):
        alice.send(bob.relayed, b"data")
        network.advance(0.1)

    assert 40 < len(bob.received) < 100


# Time.


@TRANSPORTS
def test_a_client_that_only_receives_stays_reachable(transport: Transport) -> None:
    network, relay = internet()
    alice, bob = pair(network, relay, transport)
    network.advance(3600)

    for _ in range(60):
        alice.send(bob.relayed, b"x")
        network.advance(60)

    assert len(bob.received) == 60
    assert no_loss(alice)
    assert no_loss(bob)


def test_a_stale_nonce_is_replaced_in_passing() -> None:
    network, relay = internet()
    alice, _ = pair(network, relay)
    network.advance(8000)

    assert relay.server.counters.errors[438] >= 4
    assert relay.server.counters.errors[437] == 0
    assert no_loss(alice)


def test_an_unused_peer_lapses_and_comes_back_when_it_is_used() -> None:
    network, relay = internet()
    alice, bob = pair(network, relay)
    network.advance(1)
    alice.client.close(bob.relayed)
    network.advance(800)
    binds = relay.server.counters.requests["channel_bind"]
    bob.client.close(alice.relayed)
    network.advance(2000)
    quiet = relay.server.counters.requests["channel_bind"]

    bob.open(alice.relayed)
    alice.send(bob.relayed, b"again")
    network.advance(1)

    assert packets(bob) == [b"again"]
    assert quiet - binds < 10


def test_channel_numbers_are_recycled() -> None:
    network, relay = internet()
    alice, bob = pair(network, relay)
    relay.limits = None
    for port in range(1000, 1000 + 600):
        alice.send(Endpoint(relay.address, port), b"nobody there")
        network.advance(5)

    alice.send(bob.relayed, b"still")
    network.advance(1)

    assert packets(bob) == [b"still"]
    assert relay.server.counters.errors[400] == 0
    assert relay.server.counters.errors[508] == 0


def capture(client: ClientHost, peer: Endpoint, *data: bytes) -> list[Any]:
    """Return what the client would send, without sending it."""
    client.client.send(peer, data, client.network.now)
    return client.client.datagrams_to_send()
