"""The path of packets through a relay."""

from coordinator.turn import Limits, TurnDrop, TurnServer
from meshwg.transmit import Endpoint, Source, Transmit
from meshwg.wire.channeldata import wrap
from meshwg.wire.stun import Attribute, Class, Method, parse
from tests.coordinator.turnclient import (
    BOB,
    CHANNEL,
    NOW,
    PEER,
    RELAY4,
    TurnClient,
    make_server,
)


def test_channel_data_between_two_clients_is_handed_over() -> None:
    server, alice = _pair()
    batch = [b"one", b"two", b"longer"]

    server.receive(wrap(CHANNEL, batch), alice.endpoint, NOW)

    assert server.datagrams_to_send() == [Transmit(BOB, wrap(0x4ABC, batch))]
    assert server.relayed_to_send() == []
    assert server.counters.internal.packets == 3


def test_a_client_on_a_stream_gets_its_channel_data_padded_in_one_piece() -> None:
    server = make_server()
    bob = TurnClient(server, BOB._replace(link=70_000), node="bob", stream=True)
    alice = TurnClient(server).allocate()
    bob.allocate()
    alice.bind(CHANNEL, bob.relayed)
    bob.bind(CHANNEL, alice.relayed)
    server.receive(wrap(CHANNEL, [b"one", b"four"]), alice.endpoint, NOW)

    [transmit] = server.datagrams_to_send()

    assert transmit.destination.link == 70_000
    assert transmit.datagrams == [b"\x40\0\0\x03one\0\x40\0\0\x04four"]


def test_what_goes_to_a_client_leaves_from_where_its_messages_arrived() -> None:
    server = make_server()
    pinned = _pinned(Endpoint("203.0.113.1", 1111))
    alice = TurnClient(server, pinned).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    alice.permit(bob.relayed)
    bob.permit(alice.relayed)

    bob.indicate(alice.relayed, b"hello")

    [transmit] = server.datagrams_to_send()
    assert transmit.destination == pinned


def test_without_a_channel_the_client_gets_data_indications() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    bob.permit(alice.relayed)
    alice.permit(bob.relayed)
    alice.indicate(bob.relayed, b"hello")

    [transmit] = server.datagrams_to_send()
    message = parse(transmit.datagrams[0])

    assert (message.method, message.cls) == (Method.DATA, Class.INDICATION)
    assert message.peers == (alice.relayed,)
    assert message.attributes[Attribute.DATA] == b"hello"


def test_a_peer_outside_is_reached_from_the_relayed_address_and_back() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.bind(CHANNEL, PEER)
    server.receive(wrap(CHANNEL, [b"out"]), alice.endpoint, NOW)
    assert server.relayed_to_send() == [(alice.relayed, Transmit(PEER, [b"out"]))]

    server.receive_from_peer(alice.relayed, [memoryview(b"back")], PEER, NOW)

    assert server.datagrams_to_send() == [
        Transmit(alice.endpoint, wrap(CHANNEL, [b"back"]))
    ]
    assert server.counters.to_peers.packets == server.counters.from_peers.packets == 1


def test_data_from_a_client_without_an_allocation_is_counted() -> None:
    server = make_server()
    bob = TurnClient(server, BOB)

    bob.send_bytes(*wrap(CHANNEL, [b"a", b"b"]))
    bob.indicate(PEER, b"c")
    server.receive_from_peer(Endpoint(RELAY4, 50050), [b"d"], PEER, NOW)

    assert server.counters.drops == {TurnDrop.NO_ALLOCATION: 4}


def test_packets_to_an_unallocated_port_of_the_relay_go_nowhere() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.bind(CHANNEL, Endpoint(RELAY4, 22))

    server.receive(wrap(CHANNEL, [b"ssh?"]), alice.endpoint, NOW)

    assert server.relayed_to_send() == []
    assert server.counters.drops == {TurnDrop.NO_ALLOCATION: 1}


def test_a_node_above_its_bandwidth_is_slowed_down() -> None:
    server = make_server(limits=Limits(bytes_per_second=10_000))
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    alice.bind(CHANNEL, bob.relayed)
    bob.bind(CHANNEL, alice.relayed)
    for _ in range(100):
        server.receive(wrap(CHANNEL, [bytes(1000)]), alice.endpoint, NOW)

    assert len(server.datagrams_to_send()) == 10
    assert server.counters.drops == {TurnDrop.OVER_QUOTA: 90}
    server.receive(wrap(CHANNEL, [bytes(1000)]), alice.endpoint, NOW + 1)
    assert len(server.datagrams_to_send()) == 1


def test_what_a_node_receives_from_outside_is_bounded_as_well() -> None:
    server = make_server(limits=Limits(bytes_per_second=10_000))
    alice = TurnClient(server).allocate()
    peer = Endpoint("203.0.113.200", 9)
    server.socket_opened(alice.relayed, NOW)
    for _ in range(100):
        server.receive_from_peer(alice.relayed, [bytes(1000)], peer, NOW)
    assert server.counters.drops[TurnDrop.OVER_QUOTA] == 90


def _pair() -> tuple[TurnServer, TurnClient]:
    """Return a server and a client of it; channels join it with another client."""
    server = make_server()
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    assert alice.bind(CHANNEL, bob.relayed) == 0
    assert bob.bind(0x4ABC, alice.relayed) == 0
    return server, alice


def _pinned(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose messages arrived at a particular local address."""
    return endpoint._replace(source=Source("198.51.100.7", 2))
