"""The frames of initiations and responses."""

import os

import pytest

from meshwg.errors import RemoteProtocolError
from meshwg.keys import PrivateKey
from meshwg.wireguard.handshake import ReceivedInitiation, SentInitiation

TIMESTAMP = bytes(range(12))
MACS = bytes(32)
PSK = bytes(32)


def test_a_handshake_gives_both_sides_the_same_keys() -> None:
    sent, received, shared = exchange()
    assert received.remote_index == 0x11223344
    assert received.read_timestamp(shared) == TIMESTAMP
    response = received.write_response(0x55667788, key(), PSK)
    assert response[:12].hex() == "020000008877665544332211"
    remote_index, keys = sent.read_response(response + MACS)
    assert remote_index == 0x55667788
    assert keys == received.noise.split()[::-1]


def test_the_messages_have_their_published_lengths() -> None:
    sent, received, shared = exchange()
    received.read_timestamp(shared)
    assert len(sent.write(TIMESTAMP, key()) + MACS) == 148
    assert len(received.write_response(1, key(), PSK) + MACS) == 92


def test_an_initiation_for_someone_else_tells_nothing() -> None:
    sent, _, _ = exchange()
    message = sent.write(TIMESTAMP, key()) + MACS
    with pytest.raises(RemoteProtocolError):
        ReceivedInitiation.read(key(), message)


def test_a_claimed_identity_is_not_believed_without_its_key() -> None:
    _, received, _ = exchange()
    with pytest.raises(RemoteProtocolError):
        received.read_timestamp(os.urandom(32))


def test_a_response_to_another_initiation_is_refused() -> None:
    sent, received, shared = exchange()
    received.read_timestamp(shared)
    other, _, _ = exchange()
    response = received.write_response(1, key(), PSK) + MACS
    with pytest.raises(RemoteProtocolError):
        other.read_response(response)
    assert sent.read_response(response)


def key() -> PrivateKey:
    return PrivateKey.generate(os.urandom)


def exchange() -> tuple[SentInitiation, ReceivedInitiation, bytes]:
    """Return an initiation, what its receiver made of it, and their shared secret."""
    ours, theirs = key(), key()
    shared = ours.exchange(theirs.public_bytes)
    assert shared is not None
    sent = SentInitiation.create(
        ours,
        theirs.public_bytes,
        static_shared=shared,
        preshared_key=PSK,
        local_index=0x11223344,
    )
    message = sent.write(TIMESTAMP, key()) + MACS
    received = ReceivedInitiation.read(theirs, message)
    assert received.remote_key == ours.public_bytes
    return sent, received, shared
