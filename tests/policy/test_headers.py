"""What a policy looks at is found, and what hides it is not judged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.policy.headers import Kind, parse_headers
from meshwg.policy.ports import ICMPV6, TCP, UDP
from tests.policy.packets import ACK, SYN, echo, error, ip, tcp, udp

A4, B4, A6, B6 = "100.64.0.1", "100.64.0.2", "fd00::1", "fd00::2"
ENDS = [(A4, B4), (A6, B6)]


@pytest.mark.parametrize("ends", ENDS, ids=["ipv4", "ipv6"])
def test_ports_and_flags_are_found(ends: tuple[str, str]) -> None:
    segment = parse_headers(tcp(*ends, (1000, 22), SYN | ACK))
    datagram = parse_headers(udp(*ends, (1000, 53)))

    assert segment is not None
    assert datagram is not None
    assert segment[:2] == (Kind.TCP, TCP)
    assert segment[5:8] == (1000, 22, SYN | ACK)
    assert datagram[:2] == (Kind.UDP, UDP)
    assert datagram[5:7] == (1000, 53)


@pytest.mark.parametrize("ends", ENDS, ids=["ipv4", "ipv6"])
def test_echoes_have_identifiers_and_errors_quote(ends: tuple[str, str]) -> None:
    packet = udp(*ends, (1000, 53))

    request, reply = (
        parse_headers(echo(*ends, 7, reply=each)) for each in (False, True)
    )
    failure = parse_headers(error(ends[1], ends[0], packet))

    assert request is not None
    assert reply is not None
    assert failure is not None
    assert (request.kind, request.source_port) == (Kind.REQUEST, 7)
    assert (reply.kind, reply.source_port) == (Kind.REPLY, 7)
    assert failure.kind is Kind.ERROR
    assert failure.quoted is not None
    assert failure.quoted[5:7] == (1000, 53)


def test_options_before_the_payload_are_passed_over() -> None:
    options = bytes((UDP, 0)) + bytes(6)
    packet = ip(A6, B6, 0, options + udp(A6, B6, (1, 2))[40:])

    headers = parse_headers(packet)

    assert headers is not None
    assert headers[:2] == (Kind.UDP, UDP)
    assert headers.start == 48


def test_the_first_fragment_has_ports_and_the_others_have_none() -> None:
    payload = udp(A4, B4, (1000, 53), bytes(100))[20:]

    first = parse_headers(ip(A4, B4, UDP, payload[:48], number=5, where=0x2000))
    other = parse_headers(ip(A4, B4, UDP, payload[48:], number=5, where=6))

    assert first is not None
    assert other is not None
    assert (first.kind, other.kind) == (Kind.UDP, Kind.REST)
    assert first.fragment is not None
    assert first.fragment == other.fragment
    assert (first.edge, other.edge) == (48, 48)


def test_fragments_of_ipv6_are_known_as_well() -> None:
    payload = udp(A6, B6, (1000, 53), bytes(100))[40:]
    head = struct.pack("!BBHI", UDP, 0, 1, 77)
    rest = struct.pack("!BBHI", UDP, 0, 48, 77)

    first = parse_headers(ip(A6, B6, 44, head + payload[:48]))
    other = parse_headers(ip(A6, B6, 44, rest + payload[48:]))

    assert first is not None
    assert other is not None
    assert (first.kind, other.kind) == (Kind.UDP, Kind.REST)
    assert first.fragment == other.fragment
    assert (first.edge, other.edge) == (48, 48)


@pytest.mark.parametrize(
    "options",
    [bytes((1, 1, 1, 0)), bytes((7, 7, 4, 0, 0, 0, 0, 0)), bytes((148, 4, 0, 0))],
    ids=["nothing", "recorded-route", "router-alert"],
)
def test_options_of_ipv4_that_lead_nowhere_else_are_passed_over(options: bytes) -> None:
    headers = parse_headers(with_options(options))

    assert headers is not None
    assert (headers.kind, headers.destination_port) == (Kind.UDP, 53)


@pytest.mark.parametrize(
    "options",
    [
        bytes((131, 7, 4, *bytes(4), 0)),
        bytes((1, 137, 7, 4, *bytes(4))),
        bytes((7, 7, 4, *bytes(4), 131)),
        bytes((7, 1, 0, 0)),
        bytes((7, 9, 0, 0)),
        bytes((1, 1, 1, 7)),
    ],
    ids=["loose", "strict", "behind-another", "too-short", "too-long", "cut-off"],
)
def test_a_source_route_and_what_cannot_be_read_are_not_judged(options: bytes) -> None:
    assert parse_headers(with_options(options)) is None


def with_options(options: bytes) -> bytes:
    """Return a datagram with options in its IPv4 header."""
    packet = udp(A4, B4, (1000, 53))
    head = bytes((0x45 + len(options) // 4,)) + packet[1:20]
    return head + options + packet[20:]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45" * 19,
        b"\x60" * 39,
        b"\x75" * 60,
        b"\x44" + bytes(30),
        b"\x4f" + ip(A4, B4, 47, bytes(20))[1:],
        ip(A4, B4, TCP, bytes(13)),
        ip(A4, B4, UDP, bytes(7)),
        ip(A4, B4, TCP, bytes(8), where=0x2000),
        ip(A6, B6, 43, bytes((TCP, 0, 0, 1)) + bytes(24)),
        ip(A6, B6, 0, bytes(8 * 12)),
        ip(A6, B6, 0, bytes((TCP, 255)) + bytes(30)),
        error(A4, B4, b"short"),
        error(A4, B4, udp(A6, B6, (1, 2))),
        error(A4, B4, error(A4, B4, udp(A4, B4, (1, 2)))),
    ],
)
def test_what_hides_what_it_is_is_not_judged(packet: bytes) -> None:
    assert parse_headers(packet) is None


def test_a_routing_header_that_is_used_up_is_passed_over() -> None:
    head = bytes((UDP, 0, 0, 0)) + bytes(4)

    headers = parse_headers(ip(A6, B6, 43, head + udp(A6, B6, (1, 2))[40:]))

    assert headers is not None
    assert headers.kind is Kind.UDP


def test_other_protocols_and_messages_are_known_by_their_numbers() -> None:
    gre = parse_headers(ip(A4, B4, 47, bytes(8)))
    solicitation = parse_headers(ip(A6, B6, ICMPV6, bytes((135,)) + bytes(23)))

    assert gre is not None
    assert solicitation is not None
    assert gre[:2] == (Kind.OTHER, 47)
    assert solicitation.kind is Kind.ICMP


@given(st.binary(max_size=120))
def test_no_bytes_raise(packet: bytes) -> None:
    parse_headers(packet)


@given(st.sampled_from([A4, A6]), st.data())
def test_nor_do_changed_packets(source: str, data: st.DataObject) -> None:
    packet = bytearray(error(source, source, tcp(source, source, (1, 2))))
    for _ in range(data.draw(st.integers(0, 6))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(
            st.integers(0, 255)
        )
    parse_headers(bytes(packet))
