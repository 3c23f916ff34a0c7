"""A client at a relay where something goes wrong, and what it says of it."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.turn import Limits
from meshwg.relay.allocation import Allocated, Lost, RelayState
from meshwg.relay.client import RelayClient, RelayDrop
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
from tests.relay.simulation import (
    LINK,
    TRANSPORTS,
    ClientHost,
    internet,
    no_loss,
    packets,
    pair,
    ready,
)
from tests.sim.nat import Nat
from tests.world.relay import RelayHost, mint


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
