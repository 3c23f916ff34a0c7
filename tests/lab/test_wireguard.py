"""Files of wg-quick are whole, and messages are told by type and length."""

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.wireguard import MTU, TYPES, Config, KeyPair, Peer, message_type

KEYS = KeyPair("cHJpdmF0ZQ==", "cHVibGlj")


def test_a_file_has_what_wg_quick_reads() -> None:
    peer = Peer("cGVlcg==", "10.0.0.2/32, fd00::2/128", "192.0.2.1:51820", 25)
    parsed = configparser.ConfigParser()
    parsed.read_string(str(Config(KEYS, "10.0.0.1/24", peer, 51820)))

    assert dict(parsed["Interface"]) == {
        "privatekey": KEYS.private,
        "address": "10.0.0.1/24",
        "listenport": "51820",
    }
    assert dict(parsed["Peer"]) == {
        "publickey": "cGVlcg==",
        "allowedips": "10.0.0.2/32, fd00::2/128",
        "endpoint": "192.0.2.1:51820",
        "persistentkeepalive": "25",
    }


def test_what_is_not_set_is_not_in_the_file() -> None:
    text = str(Config(KEYS, "10.0.0.1/24", Peer("cGVlcg==", "10.0.0.2/32")))

    for key in ("ListenPort", "Endpoint", "PersistentKeepalive"):
        assert key not in text


def test_a_private_key_is_not_shown_with_its_pair() -> None:
    assert KEYS.private not in repr(KEYS)


@pytest.mark.parametrize(("kind", "length"), TYPES.items())
def test_a_message_has_its_type_and_length(kind: int, length: int) -> None:
    message = kind.to_bytes(4, "little") + bytes(length - 4)

    assert message_type(message) == kind
    assert message_type(message[:-1]) is None
    longer = message_type(message + b"\0")
    assert longer is None


def test_data_is_padded_or_fills_a_packet() -> None:
    header = (4).to_bytes(4, "little") + bytes(28)

    assert message_type(header + bytes(16)) == 4
    assert message_type(header + bytes(MTU)) == 4
    assert message_type(header + bytes(15)) is None
    assert message_type(header + bytes(MTU - 1)) is None


@given(st.binary(max_size=200))
def test_other_bytes_are_not_a_message(data: bytes) -> None:
    kind = message_type(data)

    if kind is not None:
        assert data[:4] == kind.to_bytes(4, "little")
        assert len(data) >= TYPES[kind]
