"""The TURN server, message by message."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.turn import (
    CloseSocket,
    Limits,
    OpenSocket,
    PeerRules,
    TurnDrop,
    TurnServer,
)
from meshwg.transmit import Endpoint, Source, Transmit
from meshwg.wire.channeldata import wrap
from meshwg.wire.stun import (
    Attribute,
    Class,
    Message,
    Method,
    binding_request,
    check_integrity,
    encode,
    parse,
)
from tests.coordinator.turnclient import (
    NOW,
    PEER,
    RELAY4,
    RELAY6,
    SECRET,
    UDP,
    TurnClient,
    code_of,
    make_server,
)

CHANNEL = 0x4000
BOB = Endpoint("203.0.113.2", 2222)


# Who may ask.


def test_a_stranger_is_told_realm_and_nonce() -> None:
    alice = TurnClient(make_server())

    answer = alice.send(Message(Method.ALLOCATE, Class.REQUEST, bytes(12), UDP))

    assert code_of(answer) == 401
    assert answer is not None
    assert answer.attributes[Attribute.REALM] == "mesh.test"
    assert len(answer.attributes[Attribute.NONCE]) == 20


def test_an_answer_to_a_stranger_is_hardly_longer_than_the_question() -> None:
    server = make_server()
    question = encode(Message(Method.ALLOCATE, Class.REQUEST, bytes(12), UDP))
    server.receive([question], BOB, NOW)
    [transmit] = server.datagrams_to_send()

    assert len(question) == 28
    assert sum(map(len, transmit.datagrams)) <= 3 * len(question)


def test_strangers_behind_one_address_get_a_limited_number_of_answers() -> None:
    server = make_server(limits=Limits(strangers_per_second=10, strangers_burst=20))
    question = encode(Message(Method.ALLOCATE, Class.REQUEST, bytes(12), UDP))
    for port in range(1000):
        server.receive([question], Endpoint("203.0.113.1", 1024 + port), NOW)
    assert len(server.datagrams_to_send()) == 20
    assert server.counters.drops == {TurnDrop.RATE_LIMITED: 980}

    server.receive([question], Endpoint("203.0.113.2", 1), NOW)
    server.receive([question], Endpoint("203.0.113.1", 1), NOW + 1)
    assert len(server.datagrams_to_send()) == 2


def test_the_limit_does_not_touch_who_has_an_allocation() -> None:
    server = make_server(limits=Limits(strangers_burst=5, strangers_per_second=1))
    alice = TurnClient(server).allocate()
    for port in range(20):
        server.receive(
            [binding_request(bytes(12))], alice.endpoint._replace(port=port), NOW
        )
    server.datagrams_to_send()

    assert code_of(alice.refresh()) == 0


def test_a_signed_request_gets_a_signed_answer() -> None:
    alice = TurnClient(make_server())

    answer = alice.request(Method.ALLOCATE, UDP)

    assert answer is not None
    assert answer.cls is Class.SUCCESS
    assert check_integrity(answer, alice.key)


def test_refusals_after_the_proof_are_signed_too() -> None:
    alice = TurnClient(make_server())

    answer = alice.request(Method.REFRESH)

    assert code_of(answer) == 437
    assert answer is not None
    assert check_integrity(answer, alice.key)


@pytest.mark.parametrize(
    "client",
    [
        {"secret": b"another secret"},
        {"lifetime": -1.0},
    ],
    ids=["wrong password", "expired user name"],
)
def test_bad_credentials_are_refused(client: dict[str, object]) -> None:
    alice = TurnClient(make_server(), **client)  # type: ignore[arg-type]

    assert code_of(alice.request(Method.ALLOCATE, UDP)) == 401


def test_credentials_of_both_secrets_are_good_while_one_is_replaced() -> None:
    server = make_server(secrets=[SECRET, b"new"])

    assert TurnClient(server).allocate().relayed
    assert TurnClient(server, BOB, secret=b"new").allocate().relayed


def test_a_signature_without_user_realm_or_nonce_is_a_bad_request() -> None:
    alice = TurnClient(make_server())

    answer = alice.send(Message(Method.ALLOCATE, Class.REQUEST, bytes(12), UDP), b"key")

    assert code_of(answer) == 400


def test_another_realm_is_refused() -> None:
    alice = TurnClient(make_server())
    alice.request(Method.REFRESH)
    attributes = {
        Attribute.USERNAME: alice.username,
        Attribute.REALM: "elsewhere",
        Attribute.NONCE: alice.nonce,
    }

    answer = alice.send(
        Message(Method.ALLOCATE, Class.REQUEST, bytes(12), attributes), alice.key
    )

    assert code_of(answer) == 401


def test_a_nonce_of_another_client_is_stale() -> None:
    server = make_server()
    alice, mallory = TurnClient(server), TurnClient(server, BOB)
    alice.request(Method.REFRESH)
    mallory.nonce = alice.nonce

    answer = mallory.request(Method.ALLOCATE, UDP)

    assert code_of(answer) == 438
    assert answer is not None
    assert answer.attributes[Attribute.NONCE] != alice.nonce


def test_a_binding_request_is_answered_with_the_mapped_address() -> None:
    answer = TurnClient(make_server()).send_bytes(binding_request(bytes(12)))

    assert answer is not None
    assert answer.mapped == Endpoint("203.0.113.1", 1111)


# Allocate and Refresh.


def test_an_allocation_has_a_port_of_the_range_and_ten_minutes() -> None:
    alice = TurnClient(make_server(ports=range(50000, 50002)))

    answer = alice.request(Method.ALLOCATE, UDP)

    assert answer is not None
    relayed = answer.attributes[Attribute.XOR_RELAYED_ADDRESS]
    assert relayed.host == RELAY4
    assert relayed.port in (50000, 50001)
    assert answer.attributes[Attribute.LIFETIME] == 600
    assert answer.mapped == alice.endpoint


def test_an_allocate_that_comes_twice_gets_the_same_answer() -> None:
    alice = TurnClient(make_server())
    first = alice.request(Method.ALLOCATE, UDP, transaction_id=b"t" * 12)
    again = alice.request(Method.ALLOCATE, UDP, transaction_id=b"t" * 12)
    other = alice.request(Method.ALLOCATE, UDP)

    assert first is not None
    assert again is not None
    assert first.attributes == again.attributes
    assert code_of(other) == 437


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({}, 400),
        ({Attribute.REQUESTED_TRANSPORT: 6}, 442),
        (UDP | {Attribute.REQUESTED_ADDRESS_FAMILY: 2}, 440),
        (UDP | {Attribute.REQUESTED_ADDRESS_FAMILY: 9}, 440),
        (UDP | {Attribute.DONT_FRAGMENT: None}, 420),
        (UDP | {Attribute.RESERVATION_TOKEN: bytes(8)}, 508),
        (UDP | {Attribute.RESERVATION_TOKEN: bytes(8), Attribute.EVEN_PORT: True}, 400),
    ],
    ids=[
        "no transport",
        "TCP to peers",
        "no IPv6 here",
        "no such family",
        "do not fragment",
        "unknown reservation",
        "reservation and even port",
    ],
)
def test_what_cannot_be_allocated_is_refused(
    attributes: dict[Attribute, object], code: int
) -> None:
    alice = TurnClient(make_server())

    assert code_of(alice.request(Method.ALLOCATE, attributes)) == code
    assert alice.server.allocations == 0


def test_an_ipv6_address_is_allocated_where_there_is_one() -> None:
    server = make_server(hosts={4: RELAY4, 6: RELAY6})
    alice = TurnClient(server).allocate(requested_address_family=2)

    assert alice.relayed.host == RELAY6
    assert alice.bind(CHANNEL, PEER) == 443
    assert alice.permit(Endpoint("2001:db8:9::9", 1)) == 0


def test_an_even_port_and_the_next_one_are_reserved_together() -> None:
    server = make_server(ports=range(50001, 50007))
    alice = TurnClient(server, Endpoint("203.0.113.1", 1))
    answer = alice.request(Method.ALLOCATE, UDP | {Attribute.EVEN_PORT: True})
    assert answer is not None
    even = answer.attributes[Attribute.XOR_RELAYED_ADDRESS]
    token = answer.attributes[Attribute.RESERVATION_TOKEN]
    others = [
        TurnClient(server, Endpoint("203.0.113.1", port)).allocate().relayed.port
        for port in range(2, 6)
    ]
    odd = TurnClient(server, Endpoint("203.0.113.1", 9))
    odd.allocate(reservation_token=token)

    assert even.port % 2 == 0
    assert odd.relayed.port == even.port + 1
    assert odd.relayed.port not in others


def test_a_reservation_is_for_its_node_and_for_thirty_seconds() -> None:
    clock = [NOW]
    server = make_server()
    alice = TurnClient(server, now=lambda: clock[0])
    answer = alice.request(Method.ALLOCATE, UDP | {Attribute.EVEN_PORT: True})
    assert answer is not None
    claim = UDP | {
        Attribute.RESERVATION_TOKEN: answer.attributes[Attribute.RESERVATION_TOKEN]
    }

    mallory = TurnClient(server, BOB, node="mallory", now=lambda: clock[0])
    assert code_of(mallory.request(Method.ALLOCATE, claim)) == 508
    clock[0] += 31
    late = TurnClient(server, BOB, now=lambda: clock[0])
    assert code_of(late.request(Method.ALLOCATE, claim)) == 508


def test_a_node_has_a_quota_and_others_are_not_touched() -> None:
    server = make_server(limits=Limits(allocations_per_node=2))
    for port in (1, 2):
        TurnClient(server, Endpoint("203.0.113.1", port)).allocate()
    third = TurnClient(server, Endpoint("203.0.113.1", 3))

    assert code_of(third.request(Method.ALLOCATE, UDP)) == 486
    assert TurnClient(server, BOB, node="bob").allocate().relayed


def test_an_allocation_that_a_node_left_behind_gives_way() -> None:
    clock = [NOW]
    server = make_server(limits=Limits(allocations_per_node=2))
    clients = [
        TurnClient(server, Endpoint("203.0.113.1", port), now=lambda: clock[0])
        for port in range(3)
    ]
    left = clients[0].allocate()
    left.permit(PEER)
    clients[1].allocate()
    clock[0] += 61
    clients[1].refresh()

    clients[2].allocate()

    assert server.allocations == 2
    assert code_of(left.request(Method.REFRESH)) == 437
    assert code_of(clients[1].request(Method.REFRESH)) == 0


def test_a_server_without_ports_or_room_says_so() -> None:
    server = make_server(ports=range(50000, 50001))
    TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob")
    assert code_of(bob.request(Method.ALLOCATE, UDP)) == 508

    full = make_server(limits=Limits(allocations=0))
    assert code_of(TurnClient(full).request(Method.ALLOCATE, UDP)) == 508


def test_a_lifetime_is_within_limits() -> None:
    alice = TurnClient(make_server())
    answer = alice.request(Method.ALLOCATE, UDP | {Attribute.LIFETIME: 999_999})
    assert answer is not None

    assert answer.attributes[Attribute.LIFETIME] == 3600
    assert alice.refresh(1).attributes[Attribute.LIFETIME] == 600


def test_an_allocation_that_is_not_refreshed_ends() -> None:
    server = make_server()
    TurnClient(server).allocate()
    due = server.get_timer()
    assert due == NOW + 600

    server.handle_timer(due - 1)
    assert server.allocations == 1
    server.handle_timer(due)
    assert server.allocations == 0
    assert server.counters.expired == 1
    assert server.get_timer() is None


def test_a_refresh_prolongs_and_a_shorter_one_shortens() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.refresh(3600)
    server.handle_timer(NOW + 600)
    assert server.allocations == 1

    alice.refresh(600)
    server.handle_timer(NOW + 601)
    assert server.allocations == 0


def test_a_refresh_with_zero_gives_the_allocation_back() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.permit(PEER)

    assert alice.refresh(0).attributes[Attribute.LIFETIME] == 0
    assert server.allocations == 0
    assert server.next_event() is None  # The client's helper took CloseSocket already.
    assert code_of(alice.refresh(0)) == 437


def test_a_client_that_comes_and_goes_leaves_nothing_behind() -> None:
    server = make_server()
    alice = TurnClient(server)
    for _ in range(500):
        alice.allocate()
        alice.refresh(0)

    assert len(server._table._deadlines) < 100


def test_another_user_may_not_touch_an_allocation() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    mallory = TurnClient(server, alice.endpoint, node="mallory")

    assert code_of(mallory.request(Method.REFRESH)) == 441


def test_the_same_node_with_newer_credentials_may() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    later = TurnClient(server, alice.endpoint, lifetime=90_000)

    assert code_of(later.request(Method.REFRESH)) == 0


def test_the_end_of_a_stream_is_the_end_of_its_allocation() -> None:
    server = make_server()
    endpoint = Endpoint("203.0.113.1", 1111, link=70_000)
    TurnClient(server, endpoint, stream=True).allocate()

    server.forget(endpoint)
    server.forget(endpoint)

    assert server.allocations == 0


# Permissions and channels.


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"]
)
def test_peers_in_private_places_are_refused(host: str) -> None:
    alice = TurnClient(make_server()).allocate()

    assert alice.permit(Endpoint(host, 1)) == 403
    assert alice.bind(CHANNEL, Endpoint(host, 1)) == 403
    assert alice.server.next_event() is None


def test_private_peers_may_be_allowed_and_public_ones_denied() -> None:
    rules = PeerRules(allowed=["10.1.0.0/16"], denied=["192.0.2.0/24"])
    alice = TurnClient(make_server(rules=rules)).allocate()

    assert alice.permit(Endpoint("10.1.2.3", 1)) == 0
    assert alice.permit(Endpoint("10.2.2.3", 1)) == 403
    assert alice.permit(PEER) == 403


def test_the_relays_own_address_is_a_peer_even_if_it_is_private() -> None:
    server = make_server(hosts={4: "10.0.0.1"})
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()

    assert alice.bind(CHANNEL, bob.relayed) == 0


@pytest.mark.parametrize("number", [0x3FFF, 0x8000, 0xFFFF])
def test_a_channel_number_outside_the_range_is_refused(number: int) -> None:
    assert TurnClient(make_server()).allocate().bind(number, PEER) == 400


def test_a_channel_and_a_peer_belong_together() -> None:
    alice = TurnClient(make_server()).allocate()
    other = PEER._replace(port=1)
    assert alice.bind(CHANNEL, PEER) == 0

    assert alice.bind(CHANNEL, PEER) == 0
    assert alice.bind(CHANNEL, other) == 400
    assert alice.bind(CHANNEL + 1, PEER) == 400
    assert alice.bind(CHANNEL + 1, other) == 0


def test_a_channel_may_be_bound_otherwise_five_minutes_after_it_expired() -> None:
    clock = [NOW]
    alice = TurnClient(make_server(), now=lambda: clock[0]).allocate(lifetime=3600)
    alice.bind(CHANNEL, PEER)

    clock[0] += 899
    assert alice.bind(CHANNEL, BOB) == 400
    clock[0] += 1
    assert alice.bind(CHANNEL, BOB) == 0


@pytest.mark.parametrize("method", [Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_requests_without_a_peer_are_bad(method: Method) -> None:
    alice = TurnClient(make_server()).allocate()

    assert code_of(alice.request(method)) == 400


def test_permissions_and_channels_are_limited_until_old_ones_expire() -> None:
    clock = [NOW]
    limits = Limits(permissions=3, channels=2)
    alice = TurnClient(make_server(limits=limits), now=lambda: clock[0])
    alice.allocate(lifetime=3600)
    peers = [Endpoint(f"192.0.2.{number}", 1) for number in range(4)]

    assert [alice.permit(peer) for peer in peers] == [0, 0, 0, 508]
    assert alice.bind(CHANNEL, peers[0]) == 0
    assert alice.bind(CHANNEL + 1, peers[1]) == 0
    assert alice.bind(CHANNEL + 2, peers[2]) == 508
    clock[0] += 901
    assert alice.permit(peers[3]) == 0
    assert alice.bind(CHANNEL + 2, peers[2]) == 0


def test_a_request_with_an_attribute_nobody_knows_is_refused_with_its_name() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    unknown = _signed_with_unknown(alice)

    answer = alice.send_bytes(unknown)

    assert code_of(answer) == 420
    assert answer is not None
    assert answer.attributes[Attribute.UNKNOWN_ATTRIBUTES] == (0x7777,)


# Data.


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


def test_a_socket_is_asked_for_once_and_answers_wait_for_it() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    for number in range(3):
        request = _signed(
            alice,
            Method.CHANNEL_BIND,
            {
                Attribute.CHANNEL_NUMBER: CHANNEL + number,
                Attribute.XOR_PEER_ADDRESS: PEER._replace(port=number + 1),
            },
        )
        server.receive([request], alice.endpoint, NOW)

    assert server.next_event() == OpenSocket(alice.relayed)
    assert server.next_event() is None
    assert server.datagrams_to_send() == []
    server.socket_opened(alice.relayed, NOW)
    answers = [parse(t.datagrams[0]) for t in server.datagrams_to_send()]
    assert [answer.cls for answer in answers] == [Class.SUCCESS] * 3
    alice.refresh(0)


def test_a_packet_right_behind_the_request_for_its_permission_is_relayed() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    permit = _signed(
        alice, Method.CREATE_PERMISSION, {Attribute.XOR_PEER_ADDRESS: PEER}
    )
    attributes = {Attribute.XOR_PEER_ADDRESS: PEER, Attribute.DATA: b"at once"}
    send = encode(Message(Method.SEND, Class.INDICATION, bytes(12), attributes))

    server.receive([permit, *[send] * 100], alice.endpoint, NOW)
    server.socket_opened(alice.relayed, NOW)

    relayed = server.relayed_to_send()
    assert relayed[0] == (alice.relayed, Transmit(PEER, [b"at once"]))
    assert len(relayed) == 31


def test_the_socket_is_closed_with_its_allocation() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.permit(PEER)

    server.handle_timer(NOW + 601)

    assert server.next_event() == CloseSocket(alice.relayed)


def test_a_socket_that_cannot_be_opened_leaves_internal_peers() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    alice.opens_sockets = False

    assert alice.permit(PEER) == 508
    assert alice.permit(PEER) == 508
    assert alice.permit(bob.relayed) == 0


def test_a_permission_ends_after_five_minutes() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.permit(PEER)

    server.receive_from_peer(alice.relayed, [b"in time"], PEER, NOW + 299)
    server.receive_from_peer(alice.relayed, [b"late"], PEER, NOW + 300)

    assert len(server.datagrams_to_send()) == 1
    assert server.counters.drops == {TurnDrop.NO_PERMISSION: 1}


@pytest.mark.parametrize(
    ("reason", "send"),
    [
        (TurnDrop.NO_CHANNEL, lambda a: a.send_bytes(*wrap(0x4FFF, [b"x"]))),
        (TurnDrop.NO_PERMISSION, lambda a: a.indicate(PEER, b"x")),
        (
            TurnDrop.NOT_SUPPORTED,
            lambda a: a.indicate(PEER, b"x", dont_fragment=None),
        ),
        (TurnDrop.MALFORMED, lambda a: a.send_bytes(b"\x40\x00\x00\x09short")),
        (TurnDrop.MALFORMED, lambda a: a.send_bytes(b"junk")),
        (
            TurnDrop.MALFORMED,
            lambda a: a.send(Message(Method.SEND, Class.INDICATION, bytes(12))),
        ),
        (
            TurnDrop.UNEXPECTED,
            lambda a: a.send(Message(Method.ALLOCATE, Class.SUCCESS, bytes(12))),
        ),
    ],
)
def test_what_makes_no_sense_is_counted(reason: TurnDrop, send: object) -> None:
    alice = TurnClient(make_server()).allocate()

    send(alice)  # type: ignore[operator]

    assert alice.server.counters.drops == {reason: 1}
    assert alice.server.datagrams_to_send() == []
    assert alice.server.relayed_to_send() == []


def test_data_of_who_has_no_allocation_is_counted() -> None:
    server = make_server()
    bob = TurnClient(server, BOB)

    bob.send_bytes(*wrap(CHANNEL, [b"a", b"b"]))
    bob.indicate(PEER, b"c")
    server.receive_from_peer(Endpoint(RELAY4, 50050), [b"d"], PEER, NOW)

    assert server.counters.drops == {TurnDrop.NO_ALLOCATION: 4}


def test_packets_to_a_port_of_the_relay_that_nobody_has_go_nowhere() -> None:
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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=20), st.booleans())
def test_garbage_never_raises_and_gets_no_answer_worth_having(
    junk: list[bytes], stream: bool
) -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.bind(CHANNEL, PEER)

    server.receive(junk, alice.endpoint, NOW, stream=stream)
    server.receive(junk, BOB, NOW, stream=stream)
    server.receive_from_peer(alice.relayed, junk, BOB, NOW)

    assert code_of(alice.refresh()) == 0


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_request_with_flipped_bits_never_raises(data: st.DataObject) -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    request = bytearray(
        _signed(alice, Method.CHANNEL_BIND, {Attribute.XOR_PEER_ADDRESS: PEER})
    )
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(request) - 1))
        request[position] = data.draw(st.integers(0, 255))

    server.receive([bytes(request)], alice.endpoint, NOW)

    assert server.allocations == 1


def _pair() -> tuple[TurnServer, TurnClient]:
    """Return a server and a client of it; channels join it with another client."""
    server = make_server()
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    assert alice.bind(CHANNEL, bob.relayed) == 0
    assert bob.bind(0x4ABC, alice.relayed) == 0
    return server, alice


def _signed(
    client: TurnClient, method: Method, attributes: dict[Attribute, object]
) -> bytes:
    """Return a request of a client that has a nonce."""
    signed = {
        **attributes,
        Attribute.USERNAME: client.username,
        Attribute.REALM: "mesh.test",
        Attribute.NONCE: client.nonce,
    }
    return encode(Message(method, Class.REQUEST, b"r" * 12, signed), client.key)


def _signed_with_unknown(client: TurnClient) -> bytes:
    """Return a Refresh with the attribute 0x7777, which has to be understood."""
    plain = _signed(client, Method.REFRESH, {Attribute.LIFETIME: 600})
    body = plain[20:-24] + b"\x77\x77\x00\x00"
    message = Message(Method.REFRESH, Class.REQUEST, b"r" * 12)
    header = encode(message)[:2] + (len(body) + 24).to_bytes(2, "big")
    data = header + plain[4:20] + body
    digest = hmac.digest(client.key, data, hashlib.sha1)
    return data + b"\x00\x08\x00\x14" + digest


def _pinned(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose messages arrived at a particular local address."""
    return endpoint._replace(source=Source("198.51.100.7", 2))
