"""Who may ask a relay for anything."""

import pytest

from meshwg.wire.stun import Attribute, Class, Message, Method
from tests.coordinator.turnclient import (
    BOB,
    SECRET,
    UDP,
    TurnClient,
    code_of,
    make_server,
)


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
