"""Runs predict every bit of the headers that follow, and add up what they joined."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet import vnet
from meshwg.packet.runs import (
    MAX_UDP_SEGMENTS,
    JoinedRun,
    Run,
    TcpRun,
    UdpRun,
    tcp_layout,
    udp_layout,
)
from tests.packet.samples import PSH, Packet, is_valid, payload

STARTS = {4: 20, 6: 40}
TCP_LENGTH = 32
"""Bytes of the samples' TCP headers: they carry a timestamp."""
KINDS = [(4, 6), (6, 6), (4, 17), (6, 17)]


@pytest.mark.parametrize(("version", "protocol"), KINDS)
def test_each_bit_of_a_header_is_either_predicted_or_ends_the_run(
    version: int, protocol: int
) -> None:
    start, end = STARTS[version], STARTS[version] + header_length(protocol)
    checksum = start + (16 if protocol == 6 else 6)
    ignored = {checksum, checksum + 1, *((4, 5, 10, 11) if version == 4 else ())}
    for bit in range(end * 8):
        first, second, third = segments(version, protocol, 3)
        run = run_of(first, version, protocol)

        joined = run.extend([first, flipped(second, bit), third], 1) - 1

        if bit // 8 in ignored:
            assert joined == 2, f"bit {bit} is not to be predicted"
        elif protocol == 6 and (bit // 8, bit % 8) == (start + 13, 4):
            assert joined == 1, "a pushed segment is the last"
        elif protocol == 17 and bit // 8 in (start + 4, start + 5):
            assert joined == 1, "the last datagram may have a length of its own"
            assert len(run.writes()) == 2, "but its checksum has to agree"
        else:
            assert joined == 0, f"bit {bit} of the headers changed"


def test_a_run_that_has_its_last_packet_takes_no_other() -> None:
    first, second, third = segments(4, 6, 3)
    run = run_of(first, 4, 6)
    pushed = bytes(Packet(payload(300), flags=16 | PSH).cut(100)[-1])

    assert run.extend([first, second, pushed], 1) == 3
    assert run.extend([third], 0) == 0


@pytest.mark.parametrize(("version", "protocol"), KINDS)
def test_a_run_continues_where_it_stopped(version: int, protocol: int) -> None:
    packets = segments(version, protocol, 7)
    run = run_of(packets[0], version, protocol)

    assert run.extend(packets[:3], 1) == 3
    assert run.extend(packets[:5], 3) == 5
    assert run.extend(packets, 5) == 7
    assert len(run.writes()) == 1


@pytest.mark.parametrize(("version", "protocol"), KINDS)
def test_a_packet_without_a_payload_is_not_joined(version: int, protocol: int) -> None:
    flow = Packet(payload(100), version, protocol)
    empty = Packet(b"", version, protocol, sequence=flow.sequence + 100)

    assert run_of(bytes(flow), version, protocol).extend([bytes(empty)], 0) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_is_told_how_to_cut_a_tcp_run(version: int) -> None:
    whole = Packet(payload(250), version)
    first, *others = [bytes(each) for each in whole.cut(100)]
    run = run_of(first, version, 6)
    run.extend(others, 0)

    (write,) = run.writes()

    kind = vnet.GSO_TCPV4 if version == 4 else vnet.GSO_TCPV6
    end = STARTS[version] + TCP_LENGTH
    assert vnet.HEADER.unpack(write[0][:10]) == (0, kind, end, 100, 0, 0)


@pytest.mark.parametrize("version", [4, 6])
def test_the_checksum_of_a_udp_run_is_left_to_the_kernel(version: int) -> None:
    whole = Packet(payload(250), version, 17)
    first, *others = [bytes(each) for each in whole.cut(100)]
    run = run_of(first, version, 17)
    run.extend(others, 0)

    (write,) = run.writes()

    start = STARTS[version]
    expected = (vnet.NEEDS_CSUM, vnet.GSO_UDP_L4, start + 8, 100, start, 6)
    assert vnet.HEADER.unpack(write[0][:10]) == expected
    assert b"".join(write)[10:] == whole.partial()


def test_a_udp_run_has_room_for_what_the_oldest_kernels_take() -> None:
    packets = segments(4, 17, MAX_UDP_SEGMENTS + 3)
    run = run_of(packets[0], 4, 17)

    assert run.extend(packets, 1) == MAX_UDP_SEGMENTS


def test_a_tcp_run_has_room_for_one_ip_packet() -> None:
    packets = segments(4, 6, 1000)
    run = run_of(packets[0], 4, 6)
    end = 20 + TCP_LENGTH

    assert run.extend(packets, 1) == (65535 - end) // 100
    (write,) = run.writes()
    assert end + 100 * ((65535 - end) // 100) == len(b"".join(write)) - 10


def test_a_plain_run_joins_nothing() -> None:
    packets = segments(4, 6, 2)
    run = Run(packets[0])

    assert run.extend(packets, 1) == 1
    assert run.writes() == [[vnet.PLAIN, packets[0]]]


@pytest.mark.parametrize(("version", "protocol"), KINDS)
def test_a_run_of_one_is_written_as_it_came(version: int, protocol: int) -> None:
    (packet,) = segments(version, protocol, 1)

    assert run_of(packet, version, protocol).writes() == [[vnet.PLAIN, packet]]


@given(
    version=st.sampled_from((4, 6)),
    count=st.integers(2, 40),
    size=st.integers(1, 1400),
    tail=st.integers(1, 1400),
    sequence=st.integers(0, 2**31),
)
def test_the_sum_of_a_whole_follows_from_the_headers_of_its_parts(
    version: int, count: int, size: int, tail: int, sequence: int
) -> None:
    whole = Packet(
        payload((count - 1) * size + min(tail, size)), version, sequence=sequence
    )
    packets = [bytes(each) for each in whole.cut(size)]
    run = run_of(packets[0], version, 6)

    assert run.extend(packets, 1) == count
    (write,) = run.writes()

    assert b"".join(write)[10:] == bytes(whole)


@given(
    version=st.sampled_from((4, 6)),
    which=st.integers(0, 3),
    offset=st.integers(0, 98),
    error=st.integers(1, 254),
)
def test_a_wrong_payload_makes_a_wrong_whole(
    version: int, which: int, offset: int, error: int
) -> None:
    packets = segments(version, 6, 4)
    at = STARTS[version] + TCP_LENGTH + offset
    wrong = bytearray(packets[which])
    wrong[at] ^= error
    packets[which] = bytes(wrong)
    run = run_of(packets[0], version, 6)

    assert run.extend(packets, 1) == 4
    (write,) = run.writes()

    assert not is_valid(b"".join(write)[10:])


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("which", range(4))
def test_udp_with_a_wrong_payload_is_written_packet_by_packet(
    version: int, which: int
) -> None:
    packets = segments(version, 17, 4)
    packets[which] = flipped(packets[which], len(packets[which]) * 8 - 1)
    run = run_of(packets[0], version, 17)

    assert run.extend(packets, 1) == 4

    assert run.writes() == [[vnet.PLAIN, packet] for packet in packets]


def test_layouts_of_the_same_lengths_are_made_once() -> None:
    assert tcp_layout(20, 32) is tcp_layout(20, 32)
    assert tcp_layout(20, 32) != tcp_layout(40, 32)
    assert udp_layout(20).sequence_unit == 0


def segments(version: int, protocol: int, count: int) -> list[bytes]:
    """Return packets of one flow that follow each other, 100 bytes in each."""
    flow = Packet(payload(100 * count), version, protocol)
    return [bytes(each) for each in flow.cut(100)]


def run_of(packet: bytes, version: int, protocol: int) -> JoinedRun:
    start = STARTS[version]
    if protocol == 6:
        return TcpRun(packet, tcp_layout(start, TCP_LENGTH))
    return UdpRun(packet, udp_layout(start))


def header_length(protocol: int) -> int:
    return TCP_LENGTH if protocol == 6 else 8


def flipped(packet: Sequence[int], bit: int) -> bytes:
    """Return a packet with one bit inverted, counted from its first."""
    changed = bytearray(packet)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)
