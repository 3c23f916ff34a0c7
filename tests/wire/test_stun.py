"""The STUN codec takes RFC 5769's messages and refuses what aioice would take."""

import hashlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Change, Class, Message, Method, StunErrorCode

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
SHORT_TERM_KEY = b"VOkJxbRl1RmTxUk/WvJxBt"

# RFC 5769 sections 2.1 to 2.4.
SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
SAMPLE_IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
SAMPLE_IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
SAMPLE_LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def test_the_sample_request_of_rfc_5769_is_read_and_authentic() -> None:
    message = stun.parse(SAMPLE_REQUEST)

    assert (message.method, message.cls) == (Method.BINDING, Class.REQUEST)
    assert message.transaction_id == TRANSACTION
    assert message.attributes[Attribute.SOFTWARE] == "STUN test client"
    assert message.attributes[Attribute.PRIORITY] == 0x6E0001FF
    assert message.attributes[Attribute.ICE_CONTROLLED] == 0x932FF9B151263B36
    assert message.attributes[Attribute.USERNAME] == "evtj:h6vY"
    assert stun.check_integrity(message, SHORT_TERM_KEY)
    assert not stun.check_integrity(message, SHORT_TERM_KEY[:-1])


@pytest.mark.parametrize(
    ("data", "mapped"),
    [
        (SAMPLE_IPV4_RESPONSE, Endpoint("192.0.2.1", 32853)),
        (
            SAMPLE_IPV6_RESPONSE,
            Endpoint("2001:db8:1234:5678:11:2233:4455:6677", 32853),
        ),
    ],
)
def test_the_sample_responses_of_rfc_5769_are_read_and_authentic(
    data: bytes, mapped: Endpoint
) -> None:
    message = stun.parse(data)

    assert message.cls is Class.SUCCESS
    assert message.mapped == mapped
    assert stun.check_integrity(message, SHORT_TERM_KEY)


def test_the_long_term_sample_of_rfc_5769_is_authentic() -> None:
    message = stun.parse(SAMPLE_LONG_TERM_REQUEST)

    user, realm = "マトリックス", "example.org"
    key = hashlib.md5(f"{user}:{realm}:TheMatrIX".encode()).digest()
    assert message.attributes[Attribute.USERNAME] == user
    assert message.attributes[Attribute.REALM] == realm
    assert message.attributes[Attribute.NONCE] == b"f//499k954d6OL34oL9FSTvy64sA"
    assert stun.check_integrity(message, key)


def test_every_changed_bit_of_a_sample_is_noticed() -> None:
    for position in range(len(SAMPLE_REQUEST) * 8):
        changed = bytearray(SAMPLE_REQUEST)
        changed[position // 8] ^= 1 << position % 8
        try:
            message = stun.parse(changed)
        except InvalidMessage:
            continue
        # A FINGERPRINT of another type is an unknown optional attribute, no more.
        assert Attribute.FINGERPRINT not in message.attributes
        assert not stun.check_integrity(message, SHORT_TERM_KEY) or position >= 768


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (Attribute.MAPPED_ADDRESS, Endpoint("192.0.2.1", 1)),
        (Attribute.XOR_MAPPED_ADDRESS, Endpoint("2001:db8::1", 65535)),
        (Attribute.XOR_RELAYED_ADDRESS, Endpoint("203.0.113.9", 0)),
        (Attribute.ALTERNATE_SERVER, Endpoint("2001:db8::2", 3478)),
        (Attribute.OTHER_ADDRESS, Endpoint("198.51.100.2", 3479)),
        (Attribute.CHANGE_REQUEST, Change.ADDRESS | Change.PORT),
        (Attribute.ERROR_CODE, StunErrorCode(438, "Stale Nonce")),
        (Attribute.UNKNOWN_ATTRIBUTES, (0x7F00, 0x7F01, 0x7F02)),
        (Attribute.CHANNEL_NUMBER, 0x4001),
        (Attribute.LIFETIME, 600),
        (Attribute.DATA, b"\0\1\2"),
        (Attribute.USERNAME, "alice:bob"),
        (Attribute.REALM, "mesh"),
        (Attribute.NONCE, b"nonce"),
        (Attribute.REQUESTED_ADDRESS_FAMILY, 2),
        (Attribute.REQUESTED_TRANSPORT, 17),
        (Attribute.EVEN_PORT, True),
        (Attribute.EVEN_PORT, False),
        (Attribute.DONT_FRAGMENT, None),
        (Attribute.RESERVATION_TOKEN, b"12345678"),
        (Attribute.PRIORITY, 1),
        (Attribute.USE_CANDIDATE, None),
        (Attribute.PADDING, bytes(1280)),
        (Attribute.RESPONSE_PORT, 41000),
        (Attribute.SOFTWARE, "meshwg"),
        (Attribute.CACHE_TIMEOUT, 30),
        (Attribute.ICE_CONTROLLING, 1 << 63),
    ],
)
def test_every_attribute_survives_a_round_trip(
    attribute: Attribute, value: object
) -> None:
    message = Message(Method.BINDING, Class.REQUEST, TRANSACTION, {attribute: value})

    parsed = stun.parse(stun.encode(message, fingerprint=True))

    assert parsed.attributes[attribute] == value
    assert parsed.unknown_required == ()


def test_integrity_and_fingerprint_are_checked_over_the_received_bytes() -> None:
    attributes = {Attribute.USERNAME: "a", Attribute.PRIORITY: 5}
    message = Message(Method.BINDING, Class.REQUEST, TRANSACTION, attributes)

    data = stun.encode(message, b"key", fingerprint=True)
    padded = data.replace(b"a\0\0\0", b"abcd")

    assert stun.check_integrity(stun.parse(data), b"key")
    with pytest.raises(InvalidMessage, match="FINGERPRINT"):
        stun.parse(padded)
    repaired = padded[:-4] + struct.pack("!I", zlib.crc32(padded[:-8]) ^ 0x5354554E)
    assert not stun.check_integrity(stun.parse(repaired), b"key")


def test_encoding_a_parsed_message_again_signs_it_anew() -> None:
    message = stun.parse(SAMPLE_IPV4_RESPONSE)

    again = stun.parse(stun.encode(message, b"other"))

    assert stun.check_integrity(again, b"other")
    assert Attribute.FINGERPRINT not in again.attributes


def test_an_unsigned_message_is_not_authentic() -> None:
    assert not stun.check_integrity(stun.parse(plain()), b"")


def test_attributes_after_the_integrity_are_ignored() -> None:
    signed = stun.encode(Message(Method.BINDING, Class.REQUEST, TRANSACTION), b"key")

    message = stun.parse(with_attributes(signed, (0x0024, b"\0\0\0\1"), (0x7F00, b"")))

    assert Attribute.PRIORITY not in message.attributes
    assert message.unknown_required == ()
    assert stun.check_integrity(message, b"key")


def test_of_duplicate_attributes_the_first_counts() -> None:
    data = with_attributes(
        plain(), (0x0024, b"\0\0\0\1"), (0x0024, b"\0\0\0\2"), (0x0024, b"short")
    )

    assert stun.parse(data).attributes == {Attribute.PRIORITY: 1}


def test_every_peer_of_a_permission_request_is_kept() -> None:
    peers = [Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)]
    packed = b"".join(
        stun.pack_attribute(Attribute.XOR_PEER_ADDRESS, peer, TRANSACTION)
        for peer in peers
    )
    data = with_body(plain(), packed)

    message = stun.parse(data)

    assert message.peers == tuple(peers)
    assert message.address(Attribute.XOR_PEER_ADDRESS) == peers[0]


def test_unknown_attributes_are_named_if_comprehension_is_required() -> None:
    data = with_attributes(plain(), (0x7F00, b"abc"), (0xFF00, b""), (0x7F01, b""))

    assert stun.parse(data).unknown_required == (0x7F00, 0x7F01)


def test_a_flood_of_unknown_attributes_is_remembered_only_in_part() -> None:
    data = with_attributes(plain(), *[(0x7000 + number, b"") for number in range(99)])

    assert len(stun.parse(data).unknown_required) == stun.UNKNOWN_LIMIT


@pytest.mark.parametrize("kind", [b"\x7f\xff", b"\xff\xff", b"\x00\x12"])
def test_a_message_with_very_many_attributes_is_not_searched(kind: bytes) -> None:
    attribute = kind + b"\0\x08" + b"\0\x01" + bytes(6)

    def message(count: int) -> bytes:
        header = b"\0\x01" + (count * len(attribute)).to_bytes(2) + stun.COOKIE
        return header + bytes(12) + attribute * count

    assert stun.parse(message(stun.ATTRIBUTE_LIMIT))
    with pytest.raises(InvalidMessage, match="more than 128 attributes"):
        stun.parse(message(stun.ATTRIBUTE_LIMIT + 1))


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("nothing", b""),
        ("a short header", bytes(19)),
        ("top bits that are set", b"\xc0" + SAMPLE_IPV4_RESPONSE[1:]),
        ("another cookie", b"\0\1\0\0\x21\x12\xa4\x43" + TRANSACTION),
        ("a body that is missing", SAMPLE_REQUEST[:-4]),
        ("bytes behind the end", SAMPLE_REQUEST + bytes(4)),
        ("an unknown method", b"\x0f\xff" + stun.binding_request(TRANSACTION)[2:]),
    ],
)
def test_an_invalid_stun_message_is_refused(what: str, data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        stun.parse(data)


@pytest.mark.parametrize(
    ("what", "kind", "value"),
    [
        ("a short PRIORITY", 0x0024, b"\0"),
        ("a long LIFETIME", 0x000D, bytes(8)),
        ("a short ICE-CONTROLLED", 0x8029, bytes(4)),
        ("a short CHANGE-REQUEST", 0x0003, bytes(2)),
        ("a short CHANNEL-NUMBER", 0x000C, bytes(2)),
        ("a long RESPONSE-PORT", 0x0027, bytes(6)),
        ("a short integrity", 0x0008, bytes(19)),
        ("an odd UNKNOWN-ATTRIBUTES", 0x000A, bytes(3)),
        ("an address of no family", 0x0001, bytes(8)),
        ("an IPv6 address of IPv4's length", 0x0001, b"\0\2" + bytes(6)),
        ("an address without a port", 0x0020, b"\0\1"),
        ("an empty ERROR-CODE", 0x0009, b""),
        ("an ERROR-CODE of success", 0x0009, b"\0\0\2\0fine"),
        ("a USERNAME that is not UTF-8", 0x0006, b"\xff\xfe"),
        ("a USE-CANDIDATE with content", 0x0025, b"x"),
        ("an empty EVEN-PORT", 0x0018, b""),
        ("a FINGERPRINT of nothing", 0x8028, bytes(4)),
    ],
)
def test_a_malformed_attribute_spoils_the_message(
    what: str, kind: int, value: bytes
) -> None:
    with pytest.raises(InvalidMessage):
        stun.parse(with_attributes(plain(), (kind, value)))


def test_an_attribute_longer_than_the_message_is_refused() -> None:
    cut = with_body(plain(), struct.pack("!HH", 0x0013, 100) + bytes(8))

    with pytest.raises(InvalidMessage, match="cut short"):
        stun.parse(cut)


def test_a_length_that_is_not_a_multiple_of_four_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="four"):
        stun.parse(with_body(plain(), b"\x80\x22\0\1x"))


def test_the_fingerprint_must_be_last() -> None:
    data = stun.encode(Message(Method.BINDING, Class.REQUEST, TRANSACTION), None, True)

    with pytest.raises(InvalidMessage, match="last"):
        stun.parse(with_attributes(data, (0x0024, bytes(4))))


def test_reserved_bits_and_trailing_nul_of_an_error_are_ignored() -> None:
    data = with_attributes(plain(), (0x0009, b"\xff\xff\xfc\x14Unknown Attribute\0\0"))

    assert stun.parse(data).error == StunErrorCode(420, "Unknown Attribute")


def test_software_of_any_bytes_is_shown_as_far_as_it_is_text() -> None:
    data = with_attributes(plain(), (0x8022, b"ok\xff"))

    assert stun.parse(data).attributes[Attribute.SOFTWARE] == "ok\ufffd"


def test_memory_views_are_read_and_not_kept() -> None:
    buffer = bytearray(SAMPLE_REQUEST)

    message = stun.parse(memoryview(buffer))
    buffer[:] = bytes(len(buffer))

    assert stun.check_integrity(message, SHORT_TERM_KEY)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parsers_raise_anything_else(body: bytes) -> None:
    for data in (body, with_body(plain(), body), with_body(classic(), body)):
        for parser in (stun.parse, stun.parse_classic):
            try:
                parser(data)
            except InvalidMessage:
                continue


@given(
    st.lists(
        st.tuples(
            st.sampled_from([int(attribute) for attribute in Attribute]),
            st.binary(max_size=24),
        ),
        max_size=6,
    )
)
def test_known_attributes_with_any_value_parse_or_are_refused(
    attributes: list[tuple[int, bytes]],
) -> None:
    try:
        message = stun.parse(with_attributes(plain(), *attributes))
    except InvalidMessage:
        return
    again = stun.parse(stun.encode(message))
    kept = set(message.attributes) - {
        Attribute.MESSAGE_INTEGRITY,
        Attribute.FINGERPRINT,
    }
    assert set(again.attributes) == kept


def test_a_plain_binding_request_is_recognised_without_parsing() -> None:
    data = stun.binding_request(TRANSACTION)

    assert stun.quick_binding(data) == TRANSACTION
    assert stun.quick_binding(memoryview(data)) == TRANSACTION
    assert stun.parse(data) == Message(Method.BINDING, Class.REQUEST, TRANSACTION)


@pytest.mark.parametrize(
    "data", [SAMPLE_REQUEST, SAMPLE_REQUEST[:20], bytes(20), b"", b"\0\1\0\0"]
)
def test_anything_else_is_not_taken_for_a_plain_request(data: bytes) -> None:
    assert stun.quick_binding(data) is None


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_a_quick_response_is_what_the_encoder_writes(
    host: object, port: int, transaction_id: bytes
) -> None:
    mapped = Endpoint(str(host), port)
    other = Endpoint("192.0.2.2", 3479)
    tail = stun.pack_attribute(Attribute.OTHER_ADDRESS, other, transaction_id)
    message = Message(
        Method.BINDING,
        Class.SUCCESS,
        transaction_id,
        {
            Attribute.XOR_MAPPED_ADDRESS: mapped,
            Attribute.MAPPED_ADDRESS: mapped,
            Attribute.OTHER_ADDRESS: other,
        },
    )

    data = stun.binding_response(transaction_id, mapped, tail)

    assert data == stun.encode(message)


def test_a_classic_request_is_parsed_only_when_asked_for() -> None:
    data = with_attributes(classic(), (0x0003, b"\0\0\0\6"))

    with pytest.raises(InvalidMessage):
        stun.parse(data)
    message = stun.parse_classic(data)

    assert message.transaction_id == bytes(range(16))
    assert message.attributes == {
        Attribute.CHANGE_REQUEST: Change.ADDRESS | Change.PORT
    }


def test_a_classic_answer_has_no_cookie() -> None:
    mapped = Endpoint("192.0.2.1", 5)
    message = stun.parse_classic(classic())
    message.cls = Class.SUCCESS
    message.attributes[Attribute.MAPPED_ADDRESS] = mapped

    data = stun.encode(message)

    assert data[4:20] == bytes(range(16))
    assert stun.parse_classic(data).mapped == mapped


@pytest.mark.parametrize("data", [b"", bytes(19), b"\xc0" + bytes(19), SAMPLE_REQUEST])
def test_an_invalid_classic_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        stun.parse_classic(data)


def test_a_classic_client_cannot_have_its_answer_sent_elsewhere() -> None:
    response_address = (0x0002, b"\0\1\x10\0\xcb\0\x71\1")

    message = stun.parse_classic(with_attributes(classic(), response_address))

    assert message.unknown_required == (0x0002,)


def plain() -> bytes:
    return stun.binding_request(TRANSACTION)


def classic() -> bytes:
    return b"\0\1\0\0" + bytes(range(16))


def with_attributes(data: bytes, *attributes: tuple[int, bytes]) -> bytes:
    """Return a message with attributes appended as they are, padded."""
    packed = b"".join(
        struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    return with_body(data, packed)


def with_body(data: bytes, body: bytes) -> bytes:
    """Return a message with bytes appended and the length set to what is there."""
    whole = data + body
    return whole[:2] + struct.pack("!H", len(whole) - 20) + whole[4:]
