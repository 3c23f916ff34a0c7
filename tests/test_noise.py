"""The Noise handshakes against published transcripts, and against tampering."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshwg.errors import AuthenticationFailed, InvalidMessage, LocalProtocolError
from meshwg.keys import PrivateKey
from meshwg.noise import CipherState, Initiator, Responder, SymmetricState, hkdf

VECTORS = json.loads((Path(__file__).parent / "vectors" / "noise.json").read_text())
LOW_ORDER_POINT = bytes(32)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["protocol_name"])
def test_the_published_transcript_is_reproduced(vector: dict[str, Any]) -> None:
    messages = [
        (bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"]))
        for m in vector["messages"]
    ]
    psk = bytes.fromhex(vector["init_psks"][0]) if "init_psks" in vector else None
    initiator = Initiator(
        private_key(vector["init_static"]),
        bytes.fromhex(vector["init_remote_static"]),
        prologue=bytes.fromhex(vector["init_prologue"]),
        preshared_key=psk,
    )
    responder = Responder(
        private_key(vector["resp_static"]),
        prologue=bytes.fromhex(vector["resp_prologue"]),
        with_preshared_key=psk is not None,
    )

    initiation = initiator.write_initiation(
        messages[0][0], private_key(vector["init_ephemeral"])
    )
    assert initiation == messages[0][1]
    responder.read_static(initiation)
    assert responder.read_payload() == messages[0][0]
    response = responder.write_response(
        messages[1][0], private_key(vector["resp_ephemeral"]), psk
    )
    assert response == messages[1][1]
    assert initiator.read_response(response) == messages[1][0]

    expected_hash = bytes.fromhex(vector["handshake_hash"])
    assert initiator.handshake_hash == responder.handshake_hash == expected_hash
    assert_transport(initiator, responder, messages[2:])


@pytest.mark.parametrize(
    ("key", "material", "outputs"),
    [
        # wireguard-go device/kdf_test.go
        (
            "746573742d6b6579",
            "746573742d696e707574",
            (
                "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
                "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
                "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
            ),
        ),
        (
            "",
            "",
            (
                "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
                "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
                "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e",
            ),
        ),
    ],
)
def test_keys_are_derived_as_published(
    key: str, material: str, outputs: tuple[str, str, str]
) -> None:
    derived = hkdf(bytes.fromhex(key), bytes.fromhex(material), 3)
    assert tuple(output.hex() for output in derived) == outputs


def test_a_short_protocol_name_is_padded_and_a_long_one_hashed() -> None:
    assert SymmetricState(b"short").hash == b"short".ljust(32, b"\0")
    assert len(SymmetricState(b"x" * 40).hash) == 32


@pytest.mark.parametrize("position", [0, 40, 90])
def test_a_tampered_initiation_is_refused(position: int) -> None:
    initiator, responder = handshake()
    initiation = flip(initiator.write_initiation(b"payload", key(3)), position)
    with pytest.raises(AuthenticationFailed):
        read(responder, initiation)


def test_an_initiation_for_another_key_is_refused() -> None:
    initiator = Initiator(key(1), key(9).public_bytes, prologue=b"test")
    with pytest.raises(AuthenticationFailed):
        read(Responder(key(2), prologue=b"test"), write(initiator))


def test_an_initiation_with_another_prologue_is_refused() -> None:
    initiator = Initiator(key(1), key(2).public_bytes, prologue=b"other")
    with pytest.raises(AuthenticationFailed):
        read(Responder(key(2), prologue=b"test"), write(initiator))


def test_a_tampered_response_leaves_the_initiator_waiting_for_the_right_one() -> None:
    initiator, responder = handshake()
    read(responder, write(initiator))
    response = responder.write_response(b"welcome", key(4))
    for forged in (flip(response, 0), flip(response, 50)):
        with pytest.raises(AuthenticationFailed):
            initiator.read_response(forged)
    assert initiator.read_response(response) == b"welcome"
    assert initiator.split() == responder.split()[::-1]


def test_another_preshared_key_makes_the_response_unreadable() -> None:
    initiator = Initiator(
        key(1), key(2).public_bytes, prologue=b"test", preshared_key=b"a" * 32
    )
    responder = Responder(key(2), prologue=b"test", with_preshared_key=True)
    read(responder, write(initiator))
    with pytest.raises(AuthenticationFailed):
        initiator.read_response(responder.write_response(b"", key(4), b"b" * 32))


def test_short_messages_are_invalid() -> None:
    initiator, responder = handshake()
    with pytest.raises(InvalidMessage):
        responder.read_static(bytes(95))
    write(initiator)
    with pytest.raises(InvalidMessage):
        initiator.read_response(bytes(47))


def test_a_response_before_the_initiation_is_a_bug_in_the_caller() -> None:
    with pytest.raises(LocalProtocolError):
        handshake()[0].read_response(bytes(48))


def test_a_low_order_key_ends_every_handshake() -> None:
    initiator = Initiator(key(1), LOW_ORDER_POINT, prologue=b"test")
    with pytest.raises(AuthenticationFailed):
        write(initiator)
    with pytest.raises(AuthenticationFailed):
        Responder(key(2), prologue=b"test").read_static(LOW_ORDER_POINT + bytes(64))


def test_a_channel_refuses_what_is_repeated_reordered_or_changed() -> None:
    sender, receiver = CipherState(bytes(32)), CipherState(bytes(32))
    first, second = sender.encrypt(b"first"), sender.encrypt(b"second")
    for wrong in (second, flip(first, 0), b""):
        with pytest.raises(AuthenticationFailed):
            receiver.decrypt(wrong)
    assert receiver.decrypt(first) == b"first"
    with pytest.raises(AuthenticationFailed):
        receiver.decrypt(first)
    assert receiver.decrypt(second) == b"second"


def test_a_channel_message_has_the_length_noise_allows() -> None:
    channel = CipherState(bytes(32))
    assert len(channel.encrypt(bytes(65519))) == 65535
    with pytest.raises(LocalProtocolError):
        channel.encrypt(bytes(65520))


def test_a_private_key_does_not_show_itself() -> None:
    assert "private" not in repr(key(1))
    assert key(1).private_bytes.hex() not in repr(key(1))


def key(number: int) -> PrivateKey:
    return PrivateKey.from_bytes(bytes([number]) * 32)


def private_key(scalar: str) -> PrivateKey:
    return PrivateKey.from_bytes(bytes.fromhex(scalar))


def handshake() -> tuple[Initiator, Responder]:
    return (
        Initiator(key(1), key(2).public_bytes, prologue=b"test"),
        Responder(key(2), prologue=b"test"),
    )


def write(initiator: Initiator) -> bytes:
    return initiator.write_initiation(b"", key(3))


def read(responder: Responder, initiation: bytes) -> bytes:
    responder.read_static(initiation)
    return responder.read_payload()


def flip(message: bytes, position: int) -> bytes:
    changed = bytearray(message)
    changed[position] ^= 1
    return bytes(changed)


def assert_transport(
    initiator: Initiator, responder: Responder, messages: list[tuple[bytes, bytes]]
) -> None:
    """Check the transport messages, which the two sides send in turn."""
    sending, receiving = (CipherState(k) for k in initiator.split())
    answering, hearing = (CipherState(k) for k in responder.split())
    for number, (payload, ciphertext) in enumerate(messages):
        ours, theirs = (sending, hearing) if number % 2 == 0 else (answering, receiving)
        assert ours.encrypt(payload) == ciphertext
        assert theirs.decrypt(ciphertext) == payload
