"""Who may ask a relay for anything."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from coordinator.credentials import password
from coordinator.turn.allocation import Refusal
from coordinator.turn.credentials import long_term_key
from coordinator.turn.gate import Gate
from coordinator.turn.nonce import LIFETIME
from meshwg.transmit import Endpoint
from meshwg.wire.stun import Attribute, Class, Message, Method, encode, parse
from tests.coordinator.turnclient import (
    ALICE,
    BOB,
    NOW,
    REALM,
    SECRET,
    UDP,
    UNIX,
    TurnClient,
    code_of,
    make_server,
)

NODE = "alice"
USERNAME = f"{int(UNIX) + 86_400}:{NODE}"


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


def test_credentials_from_both_secrets_are_valid_while_one_is_replaced() -> None:
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


# The gate by itself, in the order of RFC 8489 section 9.2.4.


def test_answering_a_challenge_admits_the_node_of_the_user_name() -> None:
    gate = make_gate()
    proof = gate.admit(answer_to(gate, ALICE), ALICE, NOW)
    assert proof == (NODE, key_of(USERNAME))


def test_a_challenge_is_valid_for_an_hour() -> None:
    gate = make_gate()
    request = answer_to(gate, ALICE)
    assert gate.admit(request, ALICE, NOW + LIFETIME - 1).node == NODE
    assert refusal(gate, request, now=NOW + LIFETIME + 1) == 438


def test_a_request_without_a_signature_is_challenged_whatever_else_it_says() -> None:
    gate = make_gate()
    named = {Attribute.USERNAME: USERNAME, Attribute.REALM: "elsewhere"}
    assert refusal(gate, Message(Method.ALLOCATE, Class.REQUEST, bytes(12))) == 401
    unsigned = Message(Method.ALLOCATE, Class.REQUEST, bytes(12), {**named})
    assert refusal(gate, unsigned) == 401


@pytest.mark.parametrize(
    "missing", [Attribute.USERNAME, Attribute.REALM, Attribute.NONCE]
)
def test_a_signed_request_that_leaves_something_out_is_bad(missing: Attribute) -> None:
    gate = make_gate()
    assert refusal(gate, answer_to(gate, ALICE, without=missing)) == 400


def test_a_stale_nonce_is_reported_before_a_wrong_password() -> None:
    gate = make_gate()
    request = answer_to(gate, BOB, key=b"wrong")
    assert refusal(gate, request) == 438
    assert refusal(gate, answer_to(gate, ALICE, key=b"wrong")) == 401


def test_a_user_name_expires_by_the_wall_clock() -> None:
    gate = make_gate()
    expires = UNIX + 60
    username = f"{int(expires)}:{NODE}"
    request = answer_to(gate, ALICE, username=username)
    assert gate.admit(request, ALICE, NOW + 59).node == NODE
    assert refusal(gate, request, now=NOW + 60) == 401


def test_a_clock_that_is_set_shuts_out_nobody_who_has_credentials_by_it() -> None:
    error = 0.0
    gate = make_gate(lambda now: UNIX - NOW + now + error)
    for error in (-7200.0, 7200.0, -50 * 365 * 86400.0):
        username = f"{int(UNIX + error + 60)}:{NODE}"
        request = answer_to(gate, ALICE, username=username)
        assert gate.admit(request, ALICE, NOW).node == NODE
        assert refusal(gate, request, now=NOW + 61) == 401


def make_gate(
    unix_time: Callable[[float], float] = lambda now: UNIX - NOW + now,
) -> Gate:
    return Gate(REALM, [SECRET], random.Random(1).randbytes, unix_time)


def key_of(username: str) -> bytes:
    return long_term_key(username, REALM, password(username, SECRET))


def answer_to(
    gate: Gate,
    challenged: Endpoint,
    *,
    username: str = USERNAME,
    key: bytes | None = None,
    without: Attribute | None = None,
) -> Message:
    """Return the request, as it arrives, that answers a challenge of some client."""
    attributes: dict[Attribute, Any] = {
        Attribute.USERNAME: username,
        **gate.challenge(challenged, NOW),
    }
    if without is not None:
        del attributes[without]
    request = Message(Method.ALLOCATE, Class.REQUEST, bytes(12), attributes)
    return parse(encode(request, key or key_of(username)))


def refusal(gate: Gate, request: Message, now: float = NOW) -> int:
    """Return the code of the error that a request of Alice gets."""
    with pytest.raises(Refusal) as refused:
        gate.admit(request, ALICE, now)
    return refused.value.code
