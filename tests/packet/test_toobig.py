"""Fragments and ICMP answers, as RFC 791, 1191 and 4443 have them."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet.toobig import IPV6_MINIMUM, fragment, too_big
from tests.packet.samples import internet_checksum

HERE4, THERE4 = ip_address("10.0.0.1").packed, ip_address("10.0.0.2").packed
HERE6, THERE6 = ip_address("fd00::1").packed, ip_address("fd00::2").packed
DONT_FRAGMENT = 0x4000
MORE = 0x2000
UDP, ICMP, ICMPV6 = 17, 1, 58


def test_an_ipv4_sender_is_told_the_length_and_quoted_its_packet() -> None:
    packet = ipv4(1400, DONT_FRAGMENT)
    (answer,) = too_big(packet, 1360)
    assert answer[12:20] == THERE4 + HERE4
    assert answer[9] == ICMP
    assert answer[20:22] == b"\x03\x04"
    assert int.from_bytes(answer[26:28]) == 1360
    assert answer[28:] == packet[:548]
    assert len(answer) == int.from_bytes(answer[2:4]) == 576
    assert internet_checksum(answer[:20]) == internet_checksum(answer[20:]) == 0


def test_an_ipv6_sender_is_told_the_length_and_quoted_its_packet() -> None:
    packet = ipv6(1400)
    (answer,) = too_big(packet, 1360)
    assert answer[8:40] == THERE6 + HERE6
    assert answer[6] == ICMPV6
    assert answer[40:42] == b"\x02\x00"
    assert int.from_bytes(answer[44:48]) == 1360
    assert answer[48:] == packet[: len(answer) - 48]
    assert len(answer) == 40 + int.from_bytes(answer[4:6]) == IPV6_MINIMUM
    pseudo = answer[8:40] + (len(answer) - 40).to_bytes(4) + bytes([0, 0, 0, ICMPV6])
    assert internet_checksum(pseudo + answer[40:]) == 0


def test_an_ipv6_sender_is_never_asked_for_less_than_the_minimum() -> None:
    (answer,) = too_big(ipv6(1300), 1200)
    assert int.from_bytes(answer[44:48]) == IPV6_MINIMUM
    assert too_big(ipv6(IPV6_MINIMUM), 1200) == []


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_an_icmp_error_draws_no_other(kind: int) -> None:
    assert too_big(ipv4(1400, DONT_FRAGMENT, ICMP, bytes([kind])), 1360) == []


@pytest.mark.parametrize("kind", [0, 8])
def test_an_echo_draws_one(kind: int) -> None:
    assert too_big(ipv4(1400, DONT_FRAGMENT, ICMP, bytes([kind])), 1360) != []


@pytest.mark.parametrize(("kind", "count"), [(1, 0), (2, 0), (127, 0), (128, 1)])
def test_the_same_holds_for_icmpv6(kind: int, count: int) -> None:
    assert len(too_big(ipv6(1400, ICMPV6, bytes([kind])), 1360)) == count


def test_multicast_and_later_fragments_draw_none() -> None:
    assert too_big(ipv4(1400, DONT_FRAGMENT | 1), 1360) == []
    assert too_big(ipv4(1400, DONT_FRAGMENT, to=bytes([224, 0, 0, 1])), 1360) == []
    assert too_big(ipv6(1400, to=ip_address("ff02::1").packed), 1360) == []


@given(
    length=st.integers(1201, 1500),
    longest=st.integers(68, 1200),
    offset=st.integers(0, 100),
    more=st.sampled_from([0, MORE]),
)
def test_fragments_make_the_packet_again(
    length: int, longest: int, offset: int, more: int
) -> None:
    packet = ipv4(length, more | offset)
    fragments = fragment(packet, longest)
    assert fragments is not None
    payload = b""
    for index, each in enumerate(fragments):
        assert len(each) <= longest
        assert int.from_bytes(each[2:4]) == len(each)
        assert internet_checksum(each[:20]) == 0
        assert each[4:6] + each[8:10] + each[12:20] == (
            packet[4:6] + packet[8:10] + packet[12:20]
        )
        where = int.from_bytes(each[6:8])
        assert 8 * (where & 0x1FFF) == 8 * offset + len(payload)
        is_last = index == len(fragments) - 1
        assert where & MORE == (more if is_last else MORE)
        payload += each[20:]
    assert payload == packet[20:]


@pytest.mark.parametrize("flags", [DONT_FRAGMENT, DONT_FRAGMENT | MORE])
def test_what_forbids_it_is_not_fragmented(flags: int) -> None:
    assert fragment(ipv4(1400, flags), 1360) is None


def test_nor_are_ipv6_packets_and_those_with_options_or_cut_short() -> None:
    assert fragment(ipv6(1400), 1360) is None
    assert fragment(b"\x46" + ipv4(1400)[1:], 1360) is None
    assert fragment(ipv4(1400)[:1390], 1360) is None


@given(st.sampled_from([0x45, 0x4F, 0x60]), st.binary(min_size=1200, max_size=1300))
def test_no_bytes_make_them_raise(first: int, rest: bytes) -> None:
    packet = bytes([first]) + rest
    fragment(packet, 1200)
    too_big(packet, 1200)


def ipv4(
    length: int,
    flags: int = 0,
    protocol: int = UDP,
    start: bytes = b"",
    to: bytes = THERE4,
) -> bytes:
    """Return a packet of a length, with these flags and offset."""
    fields = length.to_bytes(2) + b"\x12\x34" + flags.to_bytes(2)
    header = b"\x45\0" + fields + bytes([64, protocol, 0, 0]) + HERE4 + to
    return (header + start).ljust(length, b"x")


def ipv6(
    length: int, protocol: int = UDP, start: bytes = b"", to: bytes = THERE6
) -> bytes:
    header = b"\x60\0\0\0" + (length - 40).to_bytes(2) + bytes([protocol, 64])
    return (header + HERE6 + to + start).ljust(length, b"x")
