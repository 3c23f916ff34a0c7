"""One connection: it shakes hands once, seals what it sends, notes when it heard."""

import random

import pytest

from meshwg.control.connection import Connection
from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey
from meshwg.wire import channel, control
from meshwg.wire.models import decode_from_node

RANDOM = random.Random(4).randbytes
NODE, COORDINATOR = PrivateKey.generate(RANDOM), PrivateKey.generate(RANDOM)
NOW = 100.0


def test_hands_are_shaken_once() -> None:
    connection, _ = secured()
    connection.shake_hands(NODE, COORDINATOR.public_bytes, RANDOM)
    assert connection.frames_to_send() == []


def test_what_is_sent_is_sealed_and_noted() -> None:
    connection, far = secured()
    connection.send(control.Ping(id=7), NOW + 5)
    (frame,) = connection.frames_to_send()
    assert decode_from_node(far.open(frame)) == control.Ping(id=7)
    assert connection.sent_at == NOW + 5
    assert connection.frames_to_send() == []


def test_only_what_the_coordinator_sealed_counts_as_heard() -> None:
    connection, far = secured()
    with pytest.raises(AuthenticationFailed):
        connection.open(bytes(40), NOW + 5)
    assert connection.heard_at == NOW
    assert connection.open(far.seal(b"x"), NOW + 6) == b"x"
    assert connection.heard_at == NOW + 6


@pytest.mark.parametrize("length", [0, channel.RESPONSE_LENGTH])
def test_an_answer_of_somebody_else_is_refused(length: int) -> None:
    connection = Connection(1, NOW, NOW + 15)
    connection.shake_hands(NODE, COORDINATOR.public_bytes, RANDOM)
    with pytest.raises((InvalidMessage, AuthenticationFailed)):
        connection.read_response(bytes(length))
    assert not connection.is_secure


def secured() -> tuple[Connection, channel.Channel]:
    """Return a connection after the handshake, and the coordinator's end of it."""
    connection = Connection(1, NOW, NOW + 15)
    connection.shake_hands(NODE, COORDINATOR.public_bytes, RANDOM)
    (initiation,) = connection.frames_to_send()
    _, response, far = channel.answer(COORDINATOR, initiation, random=RANDOM)
    connection.read_response(response)
    assert connection.is_secure
    return connection, far
