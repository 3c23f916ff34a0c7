"""Echo requests and their answers, bit by bit."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet.icmp import echo_request, parse_echo_reply
from tests.packet.samples import internet_checksum

SOURCE, DESTINATION = "100.64.0.1", "100.64.0.2"
PAYLOAD = bytes(range(32))


def test_a_request_is_what_rfc_792_says() -> None:
    packet = echo_request(SOURCE, DESTINATION, 0x1234, 7, PAYLOAD)

    assert packet[:4] == bytes([0x45, 0, 0, 20 + 8 + 32])
    assert packet[8:10] == bytes([64, 1])
    assert packet[12:20] == bytes([100, 64, 0, 1, 100, 64, 0, 2])
    assert packet[20:22] == b"\x08\x00"
    assert packet[24:28] == b"\x12\x34\x00\x07"
    assert packet[28:] == PAYLOAD
    assert internet_checksum(packet[:20]) == internet_checksum(packet[20:]) == 0


@given(
    identifier=st.integers(0, 0xFFFF),
    sequence=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=64),
)
def test_the_answer_to_a_request_is_recognised(
    identifier: int, sequence: int, payload: bytes
) -> None:
    request = echo_request(SOURCE, DESTINATION, identifier, sequence, payload)

    assert parse_echo_reply(request) is None
    assert parse_echo_reply(answer(request)) == (DESTINATION, identifier, sequence)


@given(at=st.integers(20, 59), bit=st.integers(0, 7))
def test_an_answer_with_a_flipped_bit_is_not_ours(at: int, bit: int) -> None:
    damaged = bytearray(answer(echo_request(SOURCE, DESTINATION, 1, 2, PAYLOAD)))
    damaged[at] ^= 1 << bit

    assert parse_echo_reply(bytes(damaged)) is None


def test_other_packets_are_left_to_the_system() -> None:
    reply = answer(echo_request(SOURCE, DESTINATION, 1, 2, PAYLOAD))
    udp = reply[:9] + b"\x11" + reply[10:]

    for packet in (b"", reply[:27], udp, b"\x60" + reply[1:]):
        assert parse_echo_reply(packet) is None


@given(packet=st.binary(max_size=80))
def test_no_packet_raises(packet: bytes) -> None:
    parse_echo_reply(packet)


def answer(request: bytes) -> bytes:
    """Return what a system sends back."""
    echo = b"\0\0\0\0" + request[24:]
    checksum = internet_checksum(echo).to_bytes(2)
    ends = request[16:20] + request[12:16]
    return request[:12] + ends + echo[:2] + checksum + echo[4:]
