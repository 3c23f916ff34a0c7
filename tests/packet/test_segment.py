"""Superpackets from the TUN device become the packets that a network card makes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet import vnet
from meshwg.packet.segment import segment
from tests.packet.samples import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    TIMESTAMP,
    Packet,
    is_valid,
    payload,
)

KINDS = [
    pytest.param(version, protocol, id=f"{name}-ipv{version}")
    for protocol, name in ((6, "tcp"), (17, "udp"))
    for version in (4, 6)
]
HOP_BY_HOP = bytes([6, 0, 1, 4, 0, 0, 0, 0])


@pytest.mark.parametrize(("version", "protocol"), KINDS)
@pytest.mark.parametrize("size", [1, 7, 100, 1368])
@pytest.mark.parametrize("length", [1, 1367, 1368, 1369, 5001])
def test_segments_are_what_a_network_card_makes(
    version: int, protocol: int, size: int, length: int
) -> None:
    packet = Packet(payload(length), version=version, protocol=protocol)
    expected = [bytes(each) for each in packet.cut(size)]
    assert segment(packet.superpacket(size)) == expected


@given(
    payload=st.binary(min_size=1, max_size=4000),
    size=st.integers(30, 2000),
    version=st.sampled_from((4, 6)),
    protocol=st.sampled_from((6, 17)),
    options=st.sampled_from((b"", TIMESTAMP, bytes(40))),
    sequence=st.integers(0, 2**32 - 1),
    identification=st.integers(0, 2**16 - 1),
    flags=st.integers(0, 255),
)
def test_any_superpacket_is_cut_into_valid_packets(
    payload: bytes,
    size: int,
    version: int,
    protocol: int,
    options: bytes,
    sequence: int,
    identification: int,
    flags: int,
) -> None:
    packet = Packet(
        payload,
        version,
        protocol,
        options=options,
        sequence=sequence,
        identification=identification,
        flags=flags,
    )
    packets = segment(packet.superpacket(size))
    assert all(is_valid(each) for each in packets)
    headers = len(bytes(replace(packet, payload=b"")))
    assert b"".join(each[headers:] for each in packets) == payload


def test_push_and_fin_come_last_and_cwr_first() -> None:
    packet = Packet(payload(3000), flags=ACK | PSH | FIN | ECE | CWR)
    packets = segment(packet.superpacket(1000, ecn=True))
    assert [each[33] for each in packets] == [
        ACK | ECE | CWR,
        ACK | ECE,
        ACK | ECE | PSH | FIN,
    ]


def test_a_single_segment_keeps_all_flags() -> None:
    packet = Packet(payload(10), flags=ACK | PSH | FIN | CWR)
    assert segment(packet.superpacket(1000)) == [bytes(packet)]


def test_sequence_numbers_and_identifications_wrap_around() -> None:
    packet = Packet(payload(3000), sequence=2**32 - 1500, identification=0xFFFF)
    packets = segment(packet.superpacket(1000))
    assert packets == [bytes(each) for each in packet.cut(1000)]
    assert [each[4:6] for each in packets] == [b"\xff\xff", b"\0\0", b"\0\1"]


@pytest.mark.parametrize(
    ("version", "extra"), [(4, bytes([1] * 8)), (6, HOP_BY_HOP)], ids=["ipv4", "ipv6"]
)
def test_options_and_extension_headers_are_repeated(version: int, extra: bytes) -> None:
    packet = Packet(payload(3000), version=version, ip_options=extra)
    expected = [bytes(each) for each in packet.cut(1000)]
    assert segment(packet.superpacket(1000)) == expected


@pytest.mark.parametrize("hdr_len", [0, 1, 40, 65535])
def test_the_hint_of_the_header_length_is_not_trusted(hdr_len: int) -> None:
    packet = Packet(payload(3000))
    expected = [bytes(each) for each in packet.cut(1000)]
    assert segment(packet.superpacket(1000, hdr_len=hdr_len)) == expected


def test_a_complete_packet_is_left_unchanged() -> None:
    packet = bytes(Packet(b"data"))
    assert segment(vnet.PLAIN + packet) == [packet]


def test_a_packet_that_is_not_tcp_or_udp_is_left_unchanged() -> None:
    packet = bytes.fromhex("4500001c000040004001") + bytes(18)
    assert segment(vnet.PLAIN + packet) == [packet]


@pytest.mark.parametrize(("version", "protocol"), KINDS)
@pytest.mark.parametrize("length", [0, 1, 2, 999])
def test_a_checksum_left_to_the_network_card_is_completed(
    version: int, protocol: int, length: int
) -> None:
    packet = Packet(payload(length), version=version, protocol=protocol)
    start, field = (20 if version == 4 else 40), (16 if protocol == 6 else 6)
    header = vnet.HEADER.pack(vnet.NEEDS_CSUM, vnet.GSO_NONE, 0, 0, start, field)
    assert segment(header + packet.partial()) == [bytes(packet)]


def test_a_udp_checksum_of_zero_is_written_as_its_complement() -> None:
    # The last two bytes are such that everything adds up to 65535.
    packet = Packet(bytes(2), protocol=17)
    rest = int.from_bytes(bytes(packet)[26:28], "big")
    packet = replace(packet, payload=rest.to_bytes(2, "big"))
    assert bytes(packet)[26:28] == b"\xff\xff"
    header = vnet.HEADER.pack(vnet.NEEDS_CSUM, vnet.GSO_NONE, 0, 0, 20, 6)
    assert segment(header + packet.partial()) == [bytes(packet)]
    assert segment(packet.superpacket(2)) == [bytes(packet)]


def test_a_contradiction_gives_no_packets() -> None:
    for name, superpacket in contradictions().items():
        assert segment(superpacket) == [], name


@given(st.binary(max_size=200))
def test_garbage_never_raises(data: bytes) -> None:
    segment(data)


@given(
    st.binary(min_size=10, max_size=60),
    st.integers(0, 60),
    st.sampled_from((4, 6)),
    st.sampled_from((6, 17)),
)
def test_damaged_headers_never_raise(
    damage: bytes, offset: int, version: int, protocol: int
) -> None:
    good = Packet(payload(300), version, protocol).superpacket(100)
    segment(good[:offset] + damage + good[offset + len(damage) :])


def contradictions() -> dict[str, bytes]:
    """Return superpackets whose header and packet do not agree."""
    good = Packet(payload(3000)).superpacket(1000)
    flags, gso_type, hdr_len, size, start, field = vnet.HEADER.unpack_from(good)
    packet = good[vnet.HEADER.size :]

    def with_header(*values: int) -> bytes:
        return vnet.HEADER.pack(*values) + packet

    return {
        "no packet": good[: vnet.HEADER.size],
        "no header": good[: vnet.HEADER.size - 1],
        "nothing": b"",
        "no size": with_header(flags, gso_type, hdr_len, 0, start, field),
        "no checksum asked for": with_header(0, gso_type, hdr_len, size, start, field),
        "unknown type": with_header(flags, 3, hdr_len, size, start, field),
        "other family": with_header(flags, 4, hdr_len, size, start, field),
        "transport elsewhere": with_header(flags, gso_type, hdr_len, size, 24, field),
        "transport before": with_header(flags, gso_type, hdr_len, size, 0, field),
        "transport beyond": with_header(flags, 1, hdr_len, size, 60000, field),
        "checksum beyond": with_header(flags, vnet.GSO_NONE, 0, 0, 20, 60000),
        "no payload": good[: vnet.HEADER.size + 52],
        "half a header": good[: vnet.HEADER.size + 30],
        "data offset too small": good[:42] + b"\x40" + good[43:],
        "data offset too large": (good[:42] + b"\xf0" + good[43:])[:80],
        "segments too large": with_header(flags, gso_type, hdr_len, 65535, start, field)
        + bytes(65535),
    }
