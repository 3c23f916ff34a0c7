"""The TURN server, message by message."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.turn import CloseSocket, Limits, OpenSocket, PeerRules, TurnDrop
from meshwg.transmit import Endpoint, Transmit
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
    BOB,
    CHANNEL,
    NOW,
    PEER,
    UDP,
    TurnClient,
    code_of,
    make_server,
    signed,
)


def test_a_stranger_is_given_the_realm_and_a_nonce() -> None:
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


def test_the_limit_does_not_affect_clients_with_an_allocation() -> None:
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


def test_refusals_after_authentication_are_signed_too() -> None:
    alice = TurnClient(make_server())

    answer = alice.request(Method.REFRESH)

    assert code_of(answer) == 437
    assert answer is not None
    assert check_integrity(answer, alice.key)


def test_a_binding_request_is_answered_with_the_mapped_address() -> None:
    answer = TurnClient(make_server()).send_bytes(binding_request(bytes(12)))

    assert answer is not None
    assert answer.mapped == Endpoint("203.0.113.1", 1111)


def test_the_end_of_a_stream_is_the_end_of_its_allocation() -> None:
    server = make_server()
    endpoint = Endpoint("203.0.113.1", 1111, link=70_000)
    TurnClient(server, endpoint, stream=True).allocate()

    server.forget(endpoint)
    server.forget(endpoint)

    assert server.allocations == 0


def test_a_socket_is_requested_once_and_answers_wait_for_it() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    for number in range(3):
        request = signed(
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
    permit = signed(alice, Method.CREATE_PERMISSION, {Attribute.XOR_PEER_ADDRESS: PEER})
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
def test_a_meaningless_message_is_counted(reason: TurnDrop, send: object) -> None:
    alice = TurnClient(make_server()).allocate()

    send(alice)  # type: ignore[operator]

    assert alice.server.counters.drops == {reason: 1}
    assert alice.server.datagrams_to_send() == []
    assert alice.server.relayed_to_send() == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=20), st.booleans())
def test_garbage_never_raises_and_gets_no_useful_answer(
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
        signed(alice, Method.CHANNEL_BIND, {Attribute.XOR_PEER_ADDRESS: PEER})
    )
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(request) - 1))
        request[position] = data.draw(st.integers(0, 255))

    server.receive([bytes(request)], alice.endpoint, NOW)

    assert server.allocations == 1


class Members:
    """A membership that a test changes."""

    def __init__(self, *users: str, hosts: tuple[str, ...] = ()) -> None:
        self.users, self.hosts = set(users), set(hosts)

    def has_user(self, user: str) -> bool:
        return user in self.users

    def has_host(self, host: str) -> bool:
        return host in self.hosts


def test_a_relay_ends_with_membership() -> None:
    members = Members("alice", "bob")
    server = make_server(membership=members)
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    bob.bind(CHANNEL, alice.relayed)
    members.users.remove("alice")
    server.drop_strangers()
    assert server.allocations == 1
    assert server.has_allocation(bob.endpoint)
    assert code_of(alice.request(Method.ALLOCATE, UDP)) == 403
    assert code_of(bob.refresh()) == 0


def test_members_send_to_relayed_addresses_and_to_members_only() -> None:
    members = Members("alice", "bob", hosts=("203.0.113.9",))
    server = make_server(membership=members)
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()
    assert alice.permit(bob.relayed) == 0
    assert alice.permit(Endpoint("203.0.113.10", 53)) == 403
    assert alice.bind(CHANNEL, Endpoint("203.0.113.10", 53)) == 403
    assert alice.permit(Endpoint("10.0.0.1", 53)) == 403


def test_nobody_gets_to_the_addresses_of_the_relays_machine() -> None:
    server = make_server(is_local=lambda host: host == "203.0.113.77")
    alice = TurnClient(server).allocate()
    assert alice.permit(Endpoint("203.0.113.77", 8443)) == 403
    rules = PeerRules(allowed=["203.0.113.0/24"])
    server = make_server(is_local=lambda host: host == "203.0.113.77", rules=rules)
    alice = TurnClient(server).allocate()
    assert alice.permit(Endpoint("192.168.0.77", 8443)) == 403
