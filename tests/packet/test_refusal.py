"""Refusals are what the ends of a connection take notice of."""

import struct

from meshwg.packet.ip import checksum, pseudo_sum, word_sum
from meshwg.packet.refusal import prohibited, resets
from tests.policy.packets import ACK, FIN, RST, SYN, tcp, udp

A4, B4, A6, B6 = "100.64.0.1", "100.64.0.2", "fd00::1", "fd00::2"


def test_a_sender_is_told_that_a_packet_is_prohibited() -> None:
    packet = udp(A4, B4, (1000, 53))

    (answer,) = prohibited(packet)

    assert answer[12:20] == packet[16:20] + packet[12:16]
    assert answer[20:22] == bytes((3, 13))
    assert answer[28:] == packet
    assert word_sum(answer[:20]) == 0
    assert word_sum(answer[20:]) == 0


def test_so_is_one_of_ipv6() -> None:
    packet = udp(A6, B6, (1000, 53))

    (answer,) = prohibited(packet)

    assert answer[8:40] == packet[24:40] + packet[8:24]
    assert answer[40:42] == bytes((1, 1))
    assert (
        pseudo_sum(answer, 58, len(answer) - 40) + word_sum(answer[40:])
    ) % 65535 == 0


def test_a_long_packet_is_quoted_as_far_as_answers_may_be_long() -> None:
    assert len(prohibited(udp(A4, B4, (1, 2), bytes(1400)))[0]) == 576
    assert len(prohibited(udp(A6, B6, (1, 2), bytes(1400)))[0]) == 1280


def test_resets_have_the_numbers_that_either_end_expects() -> None:
    packet = tcp(A4, B4, (1000, 22), ACK, b"abc", sequence=500, acknowledged=900)

    back, on = resets(packet, 20)

    assert said(back) == (22, 1000, 900, 0, RST)
    assert said(on) == (1000, 22, 500, 900, RST | ACK)
    assert back[12:20] == packet[16:20] + packet[12:16]
    assert on[12:20] == packet[12:20]


def test_who_asked_for_a_connection_gets_his_number_acknowledged() -> None:
    back, on = resets(tcp(A4, B4, (1000, 22), SYN, sequence=500), 20)

    assert said(back) == (22, 1000, 0, 501, RST | ACK)
    assert said(on) == (1000, 22, 500, 0, RST)


def test_the_end_of_a_connection_is_counted_and_numbers_wrap() -> None:
    back, _ = resets(tcp(A4, B4, (1, 2), FIN, b"ab", sequence=0xFFFFFFFF), 20)

    assert said(back)[3] == 2


def test_resets_are_valid_in_both_versions() -> None:
    for source, destination, start in ((A4, B4, 20), (A6, B6, 40)):
        packet = tcp(source, destination, (1000, 22), ACK, acknowledged=7)
        for each in resets(packet, start):
            assert (pseudo_sum(each, 6, 20) + word_sum(each[start:])) % 65535 == 0
            assert start == 40 or checksum(word_sum(each[:20])) == 0


def said(packet: bytes) -> tuple[int, ...]:
    """Return ports, numbers and flags of an IPv4 segment."""
    return struct.unpack_from("!HHIIxB", packet, 20)
