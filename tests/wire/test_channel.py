"""The secure channel: frames of any size, and nothing that was touched."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey
from meshwg.wire.channel import (
    INITIATION_LENGTH,
    RESPONSE_LENGTH,
    Channel,
    ClientHandshake,
    answer,
)

RANDOM = random.Random(1).randbytes
NODE = PrivateKey.generate(RANDOM)
COORDINATOR = PrivateKey.generate(RANDOM)


def test_both_ends_know_each_other_after_one_message_each_way() -> None:
    handshake = ClientHandshake(NODE, COORDINATOR.public_bytes, random=RANDOM)
    assert len(handshake.initiation) == INITIATION_LENGTH
    key, response, channel = answer(COORDINATOR, handshake.initiation, random=RANDOM)
    assert key == NODE.public_bytes
    assert len(response) == RESPONSE_LENGTH
    assert handshake.read_response(response).open(channel.seal(b"hello")) == b"hello"


@pytest.mark.parametrize("size", [0, 1, 65_518, 65_519, 65_520, 131_038, 300_000])
def test_a_payload_of_any_size_arrives_whole(size: int) -> None:
    one, other = channels()
    payload = RANDOM(size)
    assert other.open(one.seal(payload)) == payload
    assert one.open(other.seal(payload)) == payload


def test_a_heartbeat_is_sixteen_bytes() -> None:
    one, _ = channels()
    assert len(one.seal(b"")) == 16


def test_a_replayed_frame_is_refused() -> None:
    one, other = channels()
    frame = one.seal(b"once")
    other.open(frame)
    with pytest.raises(AuthenticationFailed):
        other.open(frame)


def test_frames_out_of_order_are_refused() -> None:
    one, other = channels()
    one.seal(b"first")
    with pytest.raises(AuthenticationFailed):
        other.open(one.seal(b"second"))


@pytest.mark.parametrize("size", [0, 1, 15, 65_535, 65_536, 65_550])
def test_a_truncated_frame_is_refused(size: int) -> None:
    one, other = channels()
    with pytest.raises(AuthenticationFailed):
        other.open(one.seal(bytes(200_000))[:size])


@given(st.binary(max_size=300))
def test_bytes_from_anyone_are_refused(data: bytes) -> None:
    _, other = channels()
    with pytest.raises(AuthenticationFailed):
        other.open(data)


def test_an_initiation_for_another_coordinator_is_refused() -> None:
    stranger = PrivateKey.generate(RANDOM)
    handshake = ClientHandshake(NODE, stranger.public_bytes, random=RANDOM)
    with pytest.raises(AuthenticationFailed):
        answer(COORDINATOR, handshake.initiation, random=RANDOM)


@given(st.binary(max_size=200))
def test_an_initiation_of_garbage_is_refused(data: bytes) -> None:
    with pytest.raises((InvalidMessage, AuthenticationFailed)):
        answer(COORDINATOR, data, random=RANDOM)


@given(st.binary(min_size=INITIATION_LENGTH, max_size=INITIATION_LENGTH))
def test_an_initiation_of_the_right_length_is_refused_too(data: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        answer(COORDINATOR, data, random=RANDOM)


def test_a_response_of_someone_else_is_refused() -> None:
    impostor = PrivateKey.generate(RANDOM)
    handshake = ClientHandshake(NODE, COORDINATOR.public_bytes, random=RANDOM)
    wrong = ClientHandshake(NODE, impostor.public_bytes, random=RANDOM)
    _, response, _ = answer(impostor, wrong.initiation, random=RANDOM)
    with pytest.raises(AuthenticationFailed):
        handshake.read_response(response)
    with pytest.raises(InvalidMessage):
        handshake.read_response(response[:-1])


def test_a_coordinator_key_of_low_order_is_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        ClientHandshake(NODE, bytes(32), random=RANDOM)


def channels() -> tuple[Channel, Channel]:
    handshake = ClientHandshake(NODE, COORDINATOR.public_bytes, random=RANDOM)
    _, response, coordinator = answer(COORDINATOR, handshake.initiation, random=RANDOM)
    return handshake.read_response(response), coordinator
