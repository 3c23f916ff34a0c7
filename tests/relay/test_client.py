"""A client and a server on a simulated internet, in fair weather and foul."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.turn import Limits, PeerRules, TurnDrop
from meshwg.relay.allocation import Allocated, Lost, RelayState
from meshwg.relay.client import MAX_WAITING, RelayClient, RelayDrop
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.relay.transactions import TurnCredentials
from meshwg.transmit import Endpoint
from meshwg.wire.stun import (
    Attribute,
    Class,
    Message,
    Method,
    StunErrorCode,
    encode,
    parse,
)
from tests.relay.simulation import LINK, ClientHost
from tests.sim.nat import Nat
from tests.sim.network import Network
from tests.world.relay import RelayHost, mint

TRANSPORTS = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


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


# What goes wrong.


def test_a_restarted_server_is_asked_for_a_new_allocation() -> None:
    network, relay = internet()
    alice, bob = pair(network, relay)
    before = alice.relayed
    relay.restart()

    for each in (alice, bob):
        each.client.probe(network.now)
        each.host.drain()
    network.advance(1)

    assert alice.relayed != before
    assert [type(event) for event in alice.events] == [Allocated, Lost, Allocated]
    alice.open(bob.relayed)
    bob.open(alice.relayed)
    alice.send(bob.relayed, b"after")
    network.advance(1)
    assert packets(bob) == [b"after"]


def test_a_silent_server_that_comes_back_still_has_the_allocation() -> None:
    network, relay = internet()
    alice, bob = pair(network, relay)
    network.advance(1)
    before = alice.relayed
    relay.is_dead = True
    alice.client.probe(network.now)
    alice.host.drain()
    network.advance(3)
    assert alice.client.error == "The relay does not answer over UDP"
    assert not alice.is_allocated()

    relay.is_dead = False
    assert network.run(until=alice.is_allocated, limit=60)
    bob.send(alice.relayed, b"hello")
    network.advance(1)

    assert alice.relayed == before
    assert packets(alice) == [b"hello"]
    assert alice.events[-1] == Allocated(is_new=False)


def test_a_rebooted_nat_means_a_new_allocation() -> None:
    network, relay = internet()
    router = network.add_router("home", "203.0.113.7", nat=Nat())
    alice = ready(ClientHost(network, relay, "192.168.1.2", behind=router))
    before = alice.relayed
    router.reboot()
    alice.host.close(0)
    alice.host.open(0)

    alice.client.probe(network.now)
    alice.host.drain()
    network.advance(2)

    assert alice.client.state is RelayState.ALLOCATED
    assert alice.relayed != before
    assert alice.events[-1] == Allocated(is_new=True)


def test_an_allocation_from_before_a_restart_of_the_node_is_released() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    old = alice.client
    alice.client = RelayClient(old.server, LINK, random=network.random.randbytes)

    alice.start()

    assert relay.server.allocations == 1
    assert relay.server.counters.errors[437] == 1
    assert alice.client.relayed != old.relayed


def test_a_server_that_is_slow_to_release_an_allocation_is_asked_again_soon() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    linger_after_deletion(relay, seconds=1.0)
    alice.client = RelayClient(
        alice.client.server, LINK, random=network.random.randbytes
    )
    began = network.now

    alice.client.start(network.now)
    alice.host.drain()
    assert network.run(until=alice.is_allocated, limit=10)

    assert network.now - began < 2
    assert relay.server.allocations == 1


def test_a_conflicting_allocation_of_another_user_is_explained() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1", node="alice"))
    user = mint(network, "mallory")
    server = RelayServer(alice.client.server.url, relay.address, *user)
    alice.client = RelayClient(server, LINK, random=network.random.randbytes)

    alice.client.start(network.now)
    alice.host.drain()
    network.advance(3)

    assert alice.client.state is RelayState.OFFLINE
    assert alice.client.error is not None
    assert "437" in alice.client.error
    assert relay.server.counters.requests.total() < 10


@TRANSPORTS
def test_wrong_credentials_are_explained_and_cause_no_storm(
    transport: Transport,
) -> None:
    network, relay = internet()
    alice = ClientHost(network, relay, "203.0.113.1", transport=transport)
    server = RelayServer(alice.client.server.url, relay.address, "1:a", "wrong")
    alice.client = RelayClient(server, LINK, random=network.random.randbytes)
    if transport is Transport.TCP:
        alice.connect()
    alice.client.start(network.now)
    alice.host.drain()
    network.advance(600)

    assert alice.client.error is not None
    assert alice.client.error.startswith("The relay does not accept the credentials")
    assert relay.server.counters.requests["allocate"] < 40


def test_new_credentials_are_tried_at_once_after_a_refusal() -> None:
    network, relay = internet()
    alice = ClientHost(network, relay, "203.0.113.1", lifetime=-5)
    alice.client.start(network.now)
    alice.host.drain()
    network.advance(2)
    assert not alice.is_allocated()

    alice.client.set_credentials(TurnCredentials(*mint(network, "alice")), network.now)
    alice.host.drain()
    network.advance(0.1)

    assert alice.is_allocated()


def test_credentials_that_expire_are_replaced_without_losing_the_allocation() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1", node="a", lifetime=700))
    bob = ready(ClientHost(network, relay, "203.0.113.2"))
    alice.open(bob.relayed)
    before = alice.relayed
    network.advance(650)
    fresh = TurnCredentials(*mint(network, "a"))
    alice.client.set_credentials(fresh, network.now)
    network.advance(4000)

    assert alice.relayed == before
    assert no_loss(alice)
    assert relay.server.counters.errors[401] == 3  # Two at the start, one since.


def test_credentials_that_expire_and_are_not_replaced_end_the_allocation() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1", lifetime=700))
    network.advance(3000)

    assert alice.client.state is not RelayState.ALLOCATED
    assert isinstance(alice.events[-1], Lost)
    assert "expired" in alice.events[-1].reason
    assert relay.server.allocations == 0


def test_the_quota_of_a_node_is_explained() -> None:
    network, relay = internet(limits=Limits(allocations_per_node=1))
    ready(ClientHost(network, relay, "203.0.113.1", node="n"))
    second = ClientHost(network, relay, "203.0.113.2", node="n")
    second.client.start(network.now)
    second.host.drain()
    network.advance(3)

    assert second.client.error is not None
    assert "quota" in second.client.error
    assert second.client.drops == {}


def test_a_full_server_is_explained_and_retried() -> None:
    network, relay = internet(limits=Limits(allocations=1))
    first = ready(ClientHost(network, relay, "203.0.113.1"))
    second = ClientHost(network, relay, "203.0.113.2")
    second.client.start(network.now)
    second.host.drain()
    network.advance(3)
    assert second.client.error is not None
    assert "capacity" in second.client.error

    first.client.stop(network.now)
    first.host.drain()
    assert network.run(until=second.is_allocated, limit=60)


def test_a_forbidden_peer_is_refused_with_a_reason_and_not_asked_for_again() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    private = Endpoint("10.0.0.1", 22)
    for _ in range(50):
        alice.send(private, b"let me in")
        network.advance(0.1)

    refusal = alice.client.refusal_of(private)
    assert refusal is not None
    assert "403" in refusal
    assert relay.server.counters.errors[403] == 1
    assert alice.client.drops[RelayDrop.REFUSED] == 49
    assert alice.client.state is RelayState.ALLOCATED


def test_a_taken_relay_port_is_reported_to_the_client() -> None:
    network, relay = internet()
    relay.fails_to_bind = True
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    alice.open(Endpoint("192.0.2.9", 5555))
    network.advance(1)

    refusal = alice.client.refusal_of(Endpoint("192.0.2.9", 5555))
    assert refusal is not None
    assert "508" in refusal


def test_a_bind_without_an_answer_is_asked_for_again() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    bob = ready(ClientHost(network, relay, "203.0.113.2"))
    relay.is_dead = True
    alice.open(bob.relayed)
    bob.open(alice.relayed)
    network.advance(5)
    relay.is_dead = False
    network.advance(5)

    alice.send(bob.relayed, b"at last")
    network.advance(1)

    assert packets(bob) == [b"at last"]
    assert no_loss(alice)


def test_an_answer_that_makes_no_sense_is_explained() -> None:
    network, relay = internet()
    alice = ClientHost(network, relay, "203.0.113.1")
    alice.client.start(network.now)
    [transmit] = alice.client.datagrams_to_send()
    request = parse(transmit.datagrams[0])
    answer = Message(request.method, Class.SUCCESS, request.transaction_id)

    alice.client.receive([encode(answer)], network.now)

    assert alice.client.state is RelayState.OFFLINE
    assert alice.client.error == "The relay's answer makes no sense"


def test_a_closed_stream_ends_the_allocation_on_both_sides() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1", transport=Transport.TCP))
    alice.host.move("203.0.113.9")
    network.advance(1)

    assert alice.client.state is RelayState.OFFLINE
    assert alice.client.error == "The connection to the relay was lost: it was closed"
    assert relay.server.allocations == 0


def test_stopping_releases_the_allocation() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    alice.client.stop(network.now)
    alice.host.drain()
    network.advance(1)

    assert relay.server.allocations == 0
    assert alice.client.get_timer() is None


def test_stopping_releases_what_is_about_to_be_granted() -> None:
    network, relay = internet()
    alice = ClientHost(network, relay, "203.0.113.1")
    alice.client.start(network.now)
    alice.host.drain()
    # The challenge is back, and the signed request has just left.
    network.run(until=lambda: relay.server.counters.errors[401] > 0, limit=1)
    network.advance(2 * 0.006)
    assert alice.client.state is RelayState.CONNECTING

    alice.client.stop(network.now)
    alice.host.drain()
    network.advance(1)

    assert relay.server.counters.requests.total() == 3
    assert relay.server.allocations == 0


def test_a_stream_that_carries_something_else_is_given_up() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1", transport=Transport.TCP))
    alice.client.receive_stream(
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", network.now
    )

    assert alice.client.state is RelayState.OFFLINE
    assert alice.client.drops == {RelayDrop.MALFORMED: 1}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 3)), max_size=8))
def test_garbage_from_the_server_harms_nothing(junk: list[Any]) -> None:
    network, relay = internet()
    alice, bob = pair(network, relay)
    network.advance(1)
    wrapped = [
        item
        if isinstance(item, bytes)
        else [b"\x40\x00\x00\x09", b"\x01\x01\x00\x00", b"\x4f\xff\x00\x00", b""][item]
        for item in junk
    ]
    alice.client.receive(wrapped, network.now)

    alice.send(bob.relayed, b"still here")
    network.advance(1)

    assert packets(bob) == [b"still here"]


def test_a_response_with_a_wrong_signature_is_ignored() -> None:
    network, relay = internet()
    alice = ready(ClientHost(network, relay, "203.0.113.1"))
    relay.server = relay.new_server()
    other = RelayServer(
        RelayUrl("relay.test", 3478, Transport.UDP), relay.address, "1:x", "y"
    )
    forger = RelayClient(other, LINK, random=network.random.randbytes)
    forger.start(network.now)
    [transmit] = forger.datagrams_to_send()
    answer = b"\x01\x03\x00\x00" + transmit.datagrams[0][4:20]

    alice.client.receive([answer], network.now)

    assert alice.client.drops == {RelayDrop.UNEXPECTED: 1}


def internet(
    seed: int = 0, limits: Limits | None = None, rules: PeerRules | None = None
) -> tuple[Network, RelayHost]:
    """Return an internet with one relay."""
    network = Network(seed)
    return network, RelayHost(network, limits=limits, rules=rules)


def ready(client: ClientHost) -> ClientHost:
    """Return the client when it has an allocation."""
    client.start()
    return client


def linger_after_deletion(relay: RelayHost, seconds: float) -> None:
    """Let a relay refuse new allocations for a while after it has deleted one."""
    original, until = relay.receive, 0.0

    def refuse(data: bytes, source: Endpoint, now: float) -> None:
        nonlocal until
        request = parse(data)
        if request.method == Method.ALLOCATE and now < until:
            attributes = {
                Attribute.ERROR_CODE: StunErrorCode(437, "Wrong transaction ID")
            }
            answer = Message(
                request.method, Class.ERROR, request.transaction_id, attributes
            )
            relay.host.sockets[0].send(encode(answer), source)
            return
        if request.attributes.get(Attribute.LIFETIME) == 0:
            until = now + seconds
        original(data, source, now)

    relay.receive = refuse  # type: ignore[method-assign]


def pair(
    network: Network, relay: RelayHost, transport: Transport = Transport.UDP
) -> tuple[ClientHost, ClientHost]:
    """Return two clients with allocations and channels to each other."""
    alice = ready(ClientHost(network, relay, "203.0.113.1", transport=transport))
    bob = ready(ClientHost(network, relay, "203.0.113.2", transport=transport))
    bob.open(alice.relayed)
    network.advance(1)
    alice.open(bob.relayed)
    return alice, bob


def seen(client: ClientHost) -> Endpoint:
    """Return a client's relayed address as its peers see it."""
    return client.relayed._replace(link=LINK)


def packets(client: ClientHost) -> list[bytes]:
    return [packet for _, packet in client.received]


def capture(client: ClientHost, peer: Endpoint, *data: bytes) -> list[Any]:
    """Return what the client would send, without sending it."""
    client.client.send(peer, data, client.network.now)
    return client.client.datagrams_to_send()


def no_loss(client: ClientHost) -> bool:
    """Tell whether the first allocation lasted."""
    return [type(event) for event in client.events] == [Allocated]
