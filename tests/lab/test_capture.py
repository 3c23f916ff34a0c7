"""Captured frames are parsed as what they are, and garbage as nothing."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.capture import PCAP_MAGIC, Datagram, parse_datagram, read_pcap

ETHERNET = bytes(12)
HEADER = struct.pack("<IHHiIII", PCAP_MAGIC, 2, 4, 0, 0, 65535, 1)


@given(st.lists(st.binary(max_size=200)))
def test_frames_are_read_back_in_order(frames: list[bytes]) -> None:
    assert list(read_pcap(pcap(frames))) == frames


def test_a_half_written_last_frame_is_left_out() -> None:
    whole = pcap([b"first", b"second"])

    for length in range(len(HEADER), len(whole)):
        read = list(read_pcap(whole[:length]))
        assert read == [b"first", b"second"][: len(read)]
        assert len(read) < 2


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a little-endian pcap file"):
        list(read_pcap(b"PK\3\4 and so on, but no capture"))
    with pytest.raises(ValueError, match="not a little-endian pcap file"):
        list(read_pcap(b""))


@given(st.binary(max_size=1500), st.integers(0, 65535), st.integers(0, 65535))
def test_a_datagram_is_found_in_either_family(
    payload: bytes, source: int, destination: int
) -> None:
    udp = struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload
    ends = ("203.0.113.1", source), ("198.51.100.1", destination)
    assert parse_datagram(ipv4(udp)) == Datagram(*ends, payload)
    # The padding of short Ethernet frames is no part of it.
    assert parse_datagram(ipv4(udp) + bytes(9)) == Datagram(*ends, payload)
    assert parse_datagram(ipv6(udp)) == Datagram(
        ("2001:db8::1", source), ("2001:db8::2", destination), payload
    )


def test_fragments_and_other_protocols_are_not_datagrams() -> None:
    udp = struct.pack("!HHHH", 1, 2, 8, 0)
    assert parse_datagram(ipv4(udp, fragment=0x2000)) is None
    assert parse_datagram(ipv4(udp, fragment=0x0010)) is None
    assert parse_datagram(ipv4(udp, fragment=0x4000)) is not None
    assert parse_datagram(ipv4(udp, protocol=6)) is None


@given(
    st.binary(max_size=100), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x08\x06"])
)
def test_garbage_is_never_an_error(rest: bytes, ethertype: bytes) -> None:
    parse_datagram(ETHERNET + ethertype + rest)
    parse_datagram(rest)


def pcap(frames: list[bytes]) -> bytes:
    records = (struct.pack("<IIII", 0, 0, len(f), len(f)) + f for f in frames)
    return HEADER + b"".join(records)


def ipv4(payload: bytes, protocol: int = 17, fragment: int = 0) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(payload), 0, fragment, 64, protocol, 0),
        *(ip_address(each).packed for each in ("203.0.113.1", "198.51.100.1")),
    )
    return ETHERNET + b"\x08\x00" + header + payload


def ipv6(payload: bytes) -> bytes:
    addresses = (ip_address(each).packed for each in ("2001:db8::1", "2001:db8::2"))
    header = struct.pack("!IHBB16s16s", 6 << 28, len(payload), 17, 64, *addresses)
    return ETHERNET + b"\x86\xdd" + header + payload
