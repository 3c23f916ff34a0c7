"""Requests to one server: retransmission, challenges, signatures."""

import random
from typing import Any

import pytest

from coordinator.turn.credentials import long_term_key
from meshwg.relay.transactions import (
    RETRANSMIT_AFTER,
    Answer,
    Request,
    Transactions,
    TurnCredentials,
)
from meshwg.transmit import Endpoint
from meshwg.wire.stun import (
    Attribute,
    Class,
    Message,
    Method,
    StunErrorCode,
    check_integrity,
    encode,
    parse,
)

OLD, NEW = TurnCredentials("old", "one"), TurnCredentials("new", "two")
CHALLENGE = {Attribute.REALM: "mesh.test", Attribute.NONCE: b"nonce"}


def test_a_request_is_repeated_and_then_given_up() -> None:
    transactions = make_transactions()
    request = Request(Method.ALLOCATE)
    transactions.start(request, 0.0)
    sent: list[float] = [0.0]
    [first] = transactions.datagrams_to_send()
    failed: list[Request] = []
    while not failed:
        due = transactions.get_timer()
        assert due is not None
        failed = transactions.handle_timer(due)
        again = transactions.datagrams_to_send()
        assert again in ([first], [])
        sent += [due] * len(again)

    assert failed == [request]
    assert sent == pytest.approx([0.0, 0.3, 0.9, 2.1])
    assert due == pytest.approx(sum(RETRANSMIT_AFTER))
    assert transactions.get_timer() is None


def test_over_a_stream_a_request_is_sent_once() -> None:
    transactions = make_transactions(reliable=True)
    transactions.start(Request(Method.ALLOCATE), 0.0)

    assert len(transactions.datagrams_to_send()) == 1
    assert len(transactions.handle_timer(8.0)) == 1
    assert transactions.datagrams_to_send() == []


def test_a_challenge_is_met_with_a_signature() -> None:
    server = Server()

    server.ask(Method.ALLOCATE)
    server.refuse(401, CHALLENGE)

    assert server.seen.attributes[Attribute.USERNAME] == "old"
    assert server.seen.attributes[Attribute.NONCE] == b"nonce"
    answer = server.grant()
    assert answer is not None
    assert answer.error is None


def test_later_requests_are_signed_at_once() -> None:
    server = Server()
    server.ask(Method.ALLOCATE)
    server.refuse(401, CHALLENGE)
    server.grant()

    server.ask(Method.REFRESH)

    assert Attribute.MESSAGE_INTEGRITY in server.seen.attributes


def test_a_stale_nonce_is_replaced() -> None:
    server = Server(challenged=True)
    server.ask(Method.REFRESH)
    server.refuse(438, {Attribute.NONCE: b"newer"})

    assert server.seen.attributes[Attribute.NONCE] == b"newer"
    assert server.grant() is not None


def test_a_server_that_always_finds_the_nonce_stale_is_believed_in_the_end() -> None:
    server = Server(challenged=True)
    server.ask(Method.REFRESH)
    answers = [
        server.refuse(438, {Attribute.NONCE: b"nonce %d" % number})
        for number in range(5)
    ]

    assert answers[:4] == [None] * 4
    assert answers[4] is not None
    assert answers[4].error == StunErrorCode(438, "")


def test_a_refusal_of_a_signed_request_is_believed_the_second_time() -> None:
    server = Server()
    server.ask(Method.ALLOCATE)
    assert server.refuse(401, CHALLENGE) is None
    answer = server.refuse(401, CHALLENGE | {Attribute.NONCE: b"another"})

    assert answer is not None
    assert answer.error is not None
    assert answer.error.code == 401


@pytest.mark.parametrize("code", [401, 441])
def test_newer_credentials_are_tried_when_the_old_ones_are_refused(code: int) -> None:
    server = Server(challenged=True)
    assert server.transactions.set_credentials(NEW)
    server.ask(Method.REFRESH)
    assert server.seen.attributes[Attribute.USERNAME] == "old"

    assert server.refuse(code, CHALLENGE) is None

    assert server.seen.attributes[Attribute.USERNAME] == "new"
    server.user = NEW
    assert server.grant() is not None


def test_credentials_already_known_change_nothing() -> None:
    transactions = make_transactions()

    assert not transactions.set_credentials(OLD)
    assert transactions.set_credentials(NEW)
    assert not transactions.set_credentials(NEW)
    transactions.adopt_credentials()
    assert not transactions.set_credentials(NEW)


def test_a_success_with_a_wrong_signature_is_ignored() -> None:
    server = Server(challenged=True)
    server.ask(Method.REFRESH)

    assert server.answer(Class.SUCCESS, {}, key=None) is None
    assert server.answer(Class.SUCCESS, {}, key=b"wrong") is None
    assert server.grant() is not None


def test_an_error_with_a_wrong_signature_is_ignored_and_without_one_believed() -> None:
    server = Server(challenged=True)
    server.ask(Method.REFRESH)
    error = {Attribute.ERROR_CODE: StunErrorCode(437, "")}

    assert server.answer(Class.ERROR, error, key=b"wrong") is None
    assert server.answer(Class.ERROR, error, key=None) is not None


def test_a_server_that_wants_no_credentials_is_fine() -> None:
    server = Server()
    server.ask(Method.ALLOCATE)

    assert server.answer(Class.SUCCESS, {}, key=None) is not None


def test_an_answer_of_another_method_or_transaction_is_ignored() -> None:
    server = Server()
    server.ask(Method.ALLOCATE)
    seen = server.seen
    other = Message(Method.REFRESH, Class.SUCCESS, seen.transaction_id)
    stray = Message(Method.ALLOCATE, Class.SUCCESS, b"?" * 12)

    assert server.transactions.receive(parse(encode(other)), 1.0) is None
    assert server.transactions.receive(parse(encode(stray)), 1.0) is None
    assert server.transactions.has(seen.transaction_id)


def test_the_round_trip_is_measured_only_where_it_is_certain() -> None:
    server = Server(challenged=True)
    server.ask(Method.REFRESH)
    answer = server.grant(now=0.25)
    assert answer is not None
    assert answer.round_trip == 0.25

    server.ask(Method.REFRESH)
    server.transactions.handle_timer(0.3)
    answer = server.grant(now=0.5)
    assert answer is not None
    assert answer.round_trip is None


def test_requests_about_peers_are_told_apart() -> None:
    transactions = make_transactions()
    one, two = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
    transactions.start(Request(Method.CHANNEL_BIND, {}, one), 5.0)

    assert transactions.is_open(Method.CHANNEL_BIND, one)
    assert not transactions.is_open(Method.CHANNEL_BIND, two)
    assert transactions.oldest == 5.0
    transactions.forget_all()
    assert transactions.oldest is None


def test_a_password_is_never_shown() -> None:
    assert repr(OLD) == "TurnCredentials('old')"


class Server:
    """Answers requests as a test wants it."""

    def __init__(self, challenged: bool = False) -> None:
        self.transactions = make_transactions()
        self.user = OLD
        if challenged:
            self.ask(Method.ALLOCATE)
            self.refuse(401, CHALLENGE)
            self.grant()

    def ask(self, method: Method) -> None:
        """Let the client begin a request."""
        self.transactions.start(Request(method), 0.0)
        self._look()

    def refuse(self, code: int, attributes: dict[Attribute, Any]) -> Answer | None:
        """Answer with an error."""
        error = {Attribute.ERROR_CODE: StunErrorCode(code, "")}
        answer = self.answer(Class.ERROR, error | attributes, key=None)
        self._look()
        return answer

    def grant(self, now: float = 0.1) -> Answer | None:
        """Answer with a signed success."""
        return self.answer(Class.SUCCESS, {}, key=self._key(), now=now)

    def answer(
        self,
        cls: Class,
        attributes: dict[Attribute, Any],
        key: bytes | None,
        now: float = 0.1,
    ) -> Answer | None:
        """Answer the last request."""
        message = Message(self.seen.method, cls, self.seen.transaction_id, attributes)
        return self.transactions.receive(parse(encode(message, key)), now)

    def _look(self) -> None:
        for data in self.transactions.datagrams_to_send():
            self.seen = parse(data)
            if Attribute.MESSAGE_INTEGRITY in self.seen.attributes:
                assert any(check_integrity(self.seen, key_of(u)) for u in (OLD, NEW))

    def _key(self) -> bytes:
        return key_of(self.user)


def key_of(user: TurnCredentials) -> bytes:
    """Return the long-term key, made by other code than what is tested."""
    return long_term_key(user.username, "mesh.test", user.password)


def make_transactions(reliable: bool = False) -> Transactions:
    return Transactions(OLD, random=random.Random(1).randbytes, reliable=reliable)
