"""Checks can be made by the two nodes only, and say only what they should."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.keys import PrivateKey
from meshwg.path.candidate import CandidateKind
from meshwg.path.check import (
    CHECK_TIMEOUT,
    PENDING_LIMIT,
    SEEN_LIMIT,
    Answered,
    Asked,
    CheckDrop,
    CheckKeys,
    Checks,
)
from meshwg.path.veil import ROUTE_LENGTH
from meshwg.transmit import Endpoint, Source
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method

ALICE = PrivateKey.from_bytes(bytes([1] * 32))
BOB = PrivateKey.from_bytes(bytes([2] * 32))
EVE = PrivateKey.from_bytes(bytes([3] * 32))
AT_BOB = Endpoint("203.0.113.2", 2222)
AT_ALICE = Endpoint("203.0.113.1", 1111)


def test_a_check_is_answered_and_the_answer_proves_the_path() -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    request = alice.ask(AT_BOB, CandidateKind.REFLEXIVE, 100.0)
    asked = bob.receive(stun.parse(request), AT_ALICE, 100.02)
    assert isinstance(asked, Asked)
    answer = alice.receive(stun.parse(asked.answer), AT_BOB, 100.05)
    assert isinstance(answer, Answered)
    assert answer.check.endpoint == AT_BOB
    assert answer.check.kind is CandidateKind.REFLEXIVE
    assert answer.rtt == pytest.approx(0.05)


def test_the_answer_names_the_address_the_check_came_from() -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    asked = bob.receive(
        stun.parse(alice.ask(AT_BOB, CandidateKind.HOST, 0.0)), AT_ALICE, 0.0
    )
    assert isinstance(asked, Asked)
    assert stun.parse(asked.answer).mapped == AT_ALICE


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1", "fe80::1%eth0"])
def test_an_answer_is_never_longer_than_its_check(host: str) -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    request = alice.ask(AT_BOB, CandidateKind.HOST, 0.0)
    asked = bob.receive(stun.parse(request), Endpoint(host, 1), 0.0)
    assert isinstance(asked, Asked)
    assert len(asked.answer) <= len(request)


@pytest.mark.parametrize("size", [88, 1232, 1452])
def test_a_padded_check_is_as_long_as_asked_and_its_answer_is_short(size: int) -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    check = alice.ask(AT_BOB, CandidateKind.HOST, 100.0, size=size)
    assert len(check) == size
    asked = bob.receive(stun.parse(check), AT_ALICE, 100.0)
    assert isinstance(asked, Asked)
    assert len(asked.answer) < 80
    answered = alice.receive(stun.parse(asked.answer), AT_BOB, 100.1)
    assert isinstance(answered, Answered)
    assert answered.check.size == size


def test_exactly_one_side_is_controlling() -> None:
    assert keys_of(ALICE, BOB).controlling is not keys_of(BOB, ALICE).controlling


def test_each_direction_has_tags_and_keys_of_its_own() -> None:
    keys = keys_of(ALICE, BOB)
    assert keys.incoming != keys.outgoing
    assert keys.incoming == keys_of(BOB, ALICE).outgoing
    assert keys.incoming.tag != keys_of(ALICE, EVE).incoming.tag


def test_keys_are_not_shown() -> None:
    keys = keys_of(ALICE, BOB)
    assert keys.incoming.key.hex() not in repr(keys)
    assert repr(keys.incoming.key) not in repr(keys)


def test_no_keys_are_derived_for_a_low_order_point_or_our_own_key() -> None:
    assert CheckKeys.derive(ALICE, bytes(32)) is None
    assert CheckKeys.derive(ALICE, ALICE.public_bytes) is None


def test_a_check_for_another_peer_is_forged() -> None:
    bob = checks_of(BOB, ALICE)
    request = checks_of(EVE, BOB).ask(AT_BOB, CandidateKind.HOST, 0.0)
    assert bob.receive(stun.parse(request), AT_ALICE, 0.0) is CheckDrop.FORGED
    assert bob.drops == {CheckDrop.FORGED: 1}


def test_a_tag_made_without_the_key_is_worthless() -> None:
    bob = checks_of(BOB, ALICE)
    message = Message(Method.BINDING, Class.REQUEST, bytes(12))
    message.attributes[Attribute.USERNAME] = bob.keys.incoming.tag
    for key in (None, bytes(32)):
        request = stun.parse(stun.encode(message, key))
        assert bob.receive(request, AT_ALICE, 0.0) is CheckDrop.FORGED


def test_a_check_sent_back_to_its_sender_is_refused() -> None:
    alice = checks_of(ALICE, BOB)
    request = stun.parse(alice.ask(AT_BOB, CandidateKind.HOST, 0.0))
    assert alice.receive(request, AT_BOB, 0.0) is CheckDrop.REFLECTED


def test_a_check_is_answered_once_wherever_its_copies_arrive_from() -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    request = stun.parse(alice.ask(AT_BOB, CandidateKind.HOST, 0.0))
    assert isinstance(bob.receive(request, AT_ALICE, 0.0), Asked)
    assert bob.receive(request, AT_ALICE, 0.1) is CheckDrop.REPLAYED
    assert bob.receive(request, Endpoint("198.18.0.1", 1), 0.2) is CheckDrop.REPLAYED


def test_an_answer_counts_once() -> None:
    alice, answer = answered_check()
    assert isinstance(alice.receive(answer, AT_BOB, 0.1), Answered)
    assert alice.receive(answer, AT_BOB, 0.1) is CheckDrop.UNKNOWN_ANSWER


def test_an_answer_from_an_unasked_address_proves_nothing() -> None:
    alice, answer = answered_check()
    elsewhere = Endpoint("198.18.0.1", 9)
    assert alice.receive(answer, elsewhere, 0.1) is CheckDrop.WRONG_SOURCE


def test_an_answer_on_another_socket_proves_nothing() -> None:
    alice, answer = answered_check()
    assert alice.receive(answer, AT_BOB._replace(link=7), 0.1) is CheckDrop.WRONG_SOURCE


def test_the_local_address_of_an_answer_does_not_matter() -> None:
    alice, answer = answered_check()
    source = AT_BOB._replace(source=Source("192.168.1.2", 3))
    outcome = alice.receive(answer, source, 0.1)
    assert isinstance(outcome, Answered)
    assert outcome.endpoint == source


def test_a_forged_answer_leaves_the_check_open_for_the_right_one() -> None:
    alice, answer = answered_check()
    forged = Message(Method.BINDING, Class.SUCCESS, answer.transaction_id)
    forged.attributes[Attribute.XOR_MAPPED_ADDRESS] = AT_ALICE
    message = stun.parse(stun.encode(forged, bytes(32)))
    assert alice.receive(message, AT_BOB, 0.1) is CheckDrop.FORGED
    assert isinstance(alice.receive(answer, AT_BOB, 0.2), Answered)


def test_an_answer_that_took_too_long_is_unknown() -> None:
    alice, answer = answered_check()
    assert alice.get_timer() == CHECK_TIMEOUT
    assert [check.endpoint for check in alice.expire(CHECK_TIMEOUT)] == [AT_BOB]
    assert alice.receive(answer, AT_BOB, CHECK_TIMEOUT) is CheckDrop.UNKNOWN_ANSWER
    assert alice.get_timer() is None


@pytest.mark.parametrize(
    "message",
    [
        Message(Method.ALLOCATE, Class.REQUEST, bytes(12)),
        Message(Method.BINDING, Class.INDICATION, bytes(12)),
        Message(Method.BINDING, Class.ERROR, bytes(12)),
        Message(Method.BINDING, Class.REQUEST, bytes(12), unknown_required=(0x7777,)),
    ],
)
def test_other_stun_messages_do_not_match(message: Message) -> None:
    assert checks_of(ALICE, BOB).receive(message, AT_BOB, 0.0) is CheckDrop.UNEXPECTED


def test_no_two_peers_of_a_node_share_a_route() -> None:
    keys = CheckKeys.derive(ALICE, BOB.public_bytes)
    assert keys is not None
    last = b"\xff" * ROUTE_LENGTH
    first = bytes(ROUTE_LENGTH)
    for taken, route in (((), last), ((last,), first), ((last, first), b"\0\0\0\1")):
        assert Checks(keys, lambda length: b"\xff" * length, taken).route == route


def test_memory_is_bounded_on_both_sides() -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    for _ in range(SEEN_LIMIT + 10):
        request = alice.ask(AT_BOB, CandidateKind.HOST, 0.0)
        bob.receive(stun.parse(request), AT_ALICE, 0.0)
    for _ in range(PENDING_LIMIT):
        alice.ask(AT_BOB, CandidateKind.HOST, 0.0)
    assert len(bob._seen) == SEEN_LIMIT
    assert len(alice._pending) == PENDING_LIMIT


@given(st.binary(min_size=1, max_size=8), st.integers(0, 64))
def test_a_check_with_any_signed_byte_changed_is_not_answered(
    noise: bytes, at: int
) -> None:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    request = alice.ask(AT_BOB, CandidateKind.HOST, 0.0)
    changed = request[:at] + noise + request[at + len(noise) :]
    try:
        message = stun.parse(changed)
    except InvalidMessage:
        return
    outcome = bob.receive(message, AT_ALICE, 0.0)
    assert isinstance(outcome, CheckDrop) or changed == request


def keys_of(own: PrivateKey, peer: PrivateKey) -> CheckKeys:
    keys = CheckKeys.derive(own, peer.public_bytes)
    assert keys is not None
    return keys


def checks_of(own: PrivateKey, peer: PrivateKey) -> Checks:
    return Checks(keys_of(own, peer), random.Random(7).randbytes)


def answered_check() -> tuple[Checks, Message]:
    alice, bob = checks_of(ALICE, BOB), checks_of(BOB, ALICE)
    asked = bob.receive(
        stun.parse(alice.ask(AT_BOB, CandidateKind.HOST, 0.0)), AT_ALICE, 0.0
    )
    assert isinstance(asked, Asked)
    return alice, stun.parse(asked.answer)
