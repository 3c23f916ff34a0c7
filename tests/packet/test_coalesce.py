"""Packets become superpackets, and cutting those gives the same packets again."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet import vnet
from meshwg.packet.coalesce import coalesce
from meshwg.packet.segment import segment
from tests.packet.samples import (
    ACK,
    CWR,
    ECE,
    FIN,
    LOCAL,
    PSH,
    RST,
    SYN,
    URG,
    Packet,
    is_valid,
    payload,
)

FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
PROTOCOLS = pytest.mark.parametrize("protocol", [6, 17], ids=["tcp", "udp"])


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("size", [2, 99, 100, 1367, 1368])
@pytest.mark.parametrize("tail", [0, 1, 50])
def test_segments_of_one_superpacket_become_it_again(
    version: int, protocol: int, size: int, tail: int
) -> None:
    flow = Packet(payload(9 * size + min(tail, size - 1)), version, protocol)
    packets = [bytes(each) for each in flow.cut(size)]
    writes = coalesce(packets, LOCAL, udp=True)
    assert len(writes) == 1
    assert cut(writes) == packets


def test_a_tcp_superpacket_has_its_full_checksum_for_the_kernel_to_verify() -> None:
    flow = Packet(payload(5000), flags=ACK | PSH)
    (write,) = coalesce([bytes(each) for each in flow.cut(1000)], LOCAL)
    assert vnet.HEADER.unpack(write[0][:10]) == (0, vnet.GSO_TCPV4, 52, 1000, 0, 0)
    assert b"".join(write)[10:] == bytes(flow)


def test_a_udp_superpacket_leaves_its_checksum_to_the_kernel() -> None:
    flow = Packet(payload(5000), protocol=17)
    (write,) = coalesce([bytes(each) for each in flow.cut(1000)], LOCAL, udp=True)
    expected = (vnet.NEEDS_CSUM, vnet.GSO_UDP_L4, 28, 1000, 20, 6)
    assert vnet.HEADER.unpack(write[0][:10]) == expected
    assert b"".join(write)[10:] == flow.partial()


def test_superpackets_are_no_longer_than_an_ip_packet_can_be() -> None:
    flow = Packet(payload(200_000), options=b"")
    packets = [bytes(each) for each in flow.cut(1380)]
    writes = coalesce(packets, LOCAL)
    assert len(writes) == 4
    assert all(len(b"".join(write)) <= 65535 + 10 for write in writes)
    assert cut(writes) == packets


def test_a_udp_superpacket_has_at_most_64_segments() -> None:
    flow = Packet(payload(65 * 10), protocol=17)
    packets = [bytes(each) for each in flow.cut(10)]
    writes = coalesce(packets, LOCAL, udp=True)
    assert [len(write) - 1 for write in writes] == [64, 1]
    assert cut(writes) == packets


def test_interleaved_flows_are_kept_apart() -> None:
    flows = [
        Packet(payload(3000), source_port=1),
        Packet(payload(3000), source_port=2),
        Packet(payload(3000), version=6),
        Packet(payload(3000), protocol=17, source_port=1),
    ]
    rounds = zip(*(flow.cut(1000) for flow in flows), strict=True)
    packets = [bytes(each) for together in rounds for each in together]
    writes = coalesce(packets, LOCAL, udp=True)
    assert len(writes) == 4
    assert by_flow(cut(writes)) == by_flow(packets)


def test_what_follows_a_pushed_segment_starts_a_new_run() -> None:
    first, second, third = Packet(payload(3000)).cut(1000)
    packets = [bytes(first), bytes(replace(second, flags=ACK | PSH)), bytes(third)]
    assert sizes(coalesce(packets, LOCAL)) == [2, 1]


def test_what_follows_a_shorter_segment_starts_a_new_run() -> None:
    first, second = Packet(payload(1500)).cut(1000)
    third = replace(second, sequence=second.sequence + 500)
    packets = [bytes(each) for each in (first, second, third)]
    assert sizes(coalesce(packets, LOCAL)) == [2, 1]


@PROTOCOLS
def test_a_longer_packet_starts_a_new_run(protocol: int) -> None:
    first = Packet(payload(500), protocol=protocol)
    second = replace(first, payload=payload(501), sequence=first.sequence + 500)
    packets = [bytes(first), bytes(second)]
    assert sizes(coalesce(packets, LOCAL, udp=True)) == [1, 1]


def test_sequence_numbers_that_wrap_around_start_a_new_run() -> None:
    flow = Packet(payload(4000), sequence=2**32 - 2000)
    packets = [bytes(each) for each in flow.cut(1000)]
    writes = coalesce(packets, LOCAL)
    assert sizes(writes) == [2, 2]
    assert cut(writes) == packets


@pytest.mark.parametrize("order", [(0, 2), (1, 0), (0, 0), (0, 2, 1)])
def test_gaps_repetitions_and_misordered_packets_stay_unchanged(
    order: tuple[int, ...],
) -> None:
    segments = Packet(payload(3000)).cut(1000)
    packets = [bytes(segments[index]) for index in order]
    writes = coalesce(packets, LOCAL)
    assert sizes(writes) == [1] * len(order)
    assert cut(writes) == packets


DIFFERENCES: dict[str, dict[str, int | bytes]] = {
    "acknowledgement": {"acknowledged": 78},
    "window": {"window": 502},
    "options": {"options": bytes.fromhex("0101080a 01020304 05060709")},
    "longer options": {"options": bytes(16)},
    "no options": {"options": b""},
    "hop limit": {"ttl": 63},
    "traffic class": {"traffic_class": 1},
    "may be fragmented": {"fragment": 0},
    "source port": {"source_port": 40001},
    "source": {"source": b"\x0a\0\0\x03"},
    "FIN": {"flags": ACK | FIN},
    "SYN": {"flags": ACK | SYN},
    "RST": {"flags": ACK | RST},
    "URG": {"flags": ACK | URG},
    "ECE": {"flags": ACK | ECE},
    "CWR": {"flags": ACK | CWR},
    "urgent pointer": {"urgent": 1},
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_packets_that_differ_in_anything_else_are_not_joined(name: str) -> None:
    first, second = Packet(payload(2000)).cut(1000)
    other = replace(second, **DIFFERENCES[name])  # type: ignore[arg-type]
    packets = [bytes(first), bytes(other)]
    writes = coalesce(packets, LOCAL)
    assert sizes(writes) == [1, 1]
    assert cut(writes) == packets


@pytest.mark.parametrize("flags", [0, SYN, ACK | FIN, ACK | RST, ACK | ECE, ACK | PSH])
def test_nothing_is_joined_to_a_segment_with_other_flags_than_ack(flags: int) -> None:
    first, second = Packet(payload(2000)).cut(1000)
    packets = [bytes(replace(first, flags=flags)), bytes(second)]
    assert sizes(coalesce(packets, LOCAL)) == [1, 1]


def test_acknowledgements_stay_alone() -> None:
    packets = [bytes(Packet(acknowledged=number)) for number in range(3)]
    assert coalesce(packets, LOCAL) == [[vnet.PLAIN, packet] for packet in packets]


@FAMILIES
@PROTOCOLS
def test_forwarded_packets_stay_unchanged(version: int, protocol: int) -> None:
    flow = Packet(payload(3000), version, protocol)
    packets = [bytes(each) for each in flow.cut(1000)]
    expected = [[vnet.PLAIN, packet] for packet in packets]
    assert coalesce(packets, frozenset(), udp=True) == expected


def test_udp_is_not_joined_where_the_kernel_does_not_support_it() -> None:
    packets = [bytes(each) for each in Packet(payload(300), protocol=17).cut(100)]
    assert sizes(coalesce(packets, LOCAL)) == [1, 1, 1]


def test_udp_without_checksums_stays_unchanged() -> None:
    packets = [bytes(each) for each in Packet(payload(300), protocol=17).cut(100)]
    packets = [each[:26] + b"\0\0" + each[28:] for each in packets]
    assert sizes(coalesce(packets, LOCAL, udp=True)) == [1, 1, 1]


def test_packets_with_ip_options_or_extension_headers_stay_unchanged() -> None:
    for version, extra in ((4, bytes([1] * 4)), (6, bytes([6, 0, 1, 4, 0, 0, 0, 0]))):
        flow = Packet(payload(300), version, ip_options=extra)
        packets = [bytes(each) for each in flow.cut(100)]
        assert sizes(coalesce(packets, LOCAL)) == [1, 1, 1]


@PROTOCOLS
@pytest.mark.parametrize("fragment", [0x2000, 0x0001, 0x2010])
def test_fragments_stay_unchanged(protocol: int, fragment: int) -> None:
    flow = Packet(payload(300), protocol=protocol, fragment=fragment)
    packets = [bytes(each) for each in flow.cut(100)]
    assert sizes(coalesce(packets, LOCAL, udp=True)) == [1, 1, 1]


@FAMILIES
@PROTOCOLS
def test_packets_whose_lengths_disagree_stay_unchanged(
    version: int, protocol: int
) -> None:
    flow = Packet(payload(400), version, protocol)
    first, second, third, last = (bytes(each) for each in flow.cut(100))
    packets = [first, second + b"x", third[:-1], last]
    writes = coalesce(packets, LOCAL, udp=True)
    assert [b"".join(write)[10:] for write in writes] == packets


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_wrong_checksum_is_never_corrected(
    version: int, protocol: int, place: str
) -> None:
    packets = [bytes(each) for each in Packet(payload(450), version, protocol).cut(100)]
    index = {"first": 0, "middle": 2, "last": 4}[place]
    good = packets[index]
    start = 20 if version == 4 else 40
    field = start + (16 if protocol == 6 else 6)
    for position in (len(good) - 1, field, field + 1):
        packets[index] = flip(good, position)
        assert_nothing_is_repaired(packets)


@PROTOCOLS
def test_a_wrong_ipv4_header_checksum_is_never_corrected(protocol: int) -> None:
    packets = [bytes(each) for each in Packet(payload(400), 4, protocol).cut(100)]
    packets[2] = flip(packets[2], 10)
    assert_nothing_is_repaired(packets)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),  # flow
            st.integers(0, 12),  # segment of it
            st.sampled_from((ACK, ACK, ACK, ACK | PSH)),
        ),
        max_size=60,
    ),
    st.integers(20, 60),
)
def test_loss_repetition_and_reordering_change_nothing_within_a_flow(
    arrivals: list[tuple[int, int, int]], size: int
) -> None:
    flows = [
        Packet(payload(13 * size - 5), version, protocol).cut(size)
        for version in (4, 6)
        for protocol in (6, 17)
    ]
    packets = [
        bytes(replace(flows[flow][number], flags=flags))
        for flow, number, flags in arrivals
    ]
    writes = coalesce(packets, LOCAL, udp=True)
    joined = map(without_identification, cut(writes))
    assert by_flow(joined) == by_flow(map(without_identification, packets))


@given(st.lists(st.binary(max_size=80)), st.booleans())
def test_garbage_is_passed_on_as_it_is(packets: list[bytes], udp: bool) -> None:
    writes = coalesce(packets, LOCAL, udp=udp)
    assert [each for write in writes for each in write[1:]] == packets


@given(st.integers(0, 80), st.binary(min_size=1, max_size=8), st.sampled_from((4, 6)))
def test_a_damaged_header_is_never_repaired(
    offset: int, damage: bytes, version: int
) -> None:
    for protocol in (6, 17):
        packets = [
            bytes(each) for each in Packet(payload(300), version, protocol).cut(100)
        ]
        good = packets[1]
        packets[1] = good[:offset] + damage + good[offset + len(damage) :]
        assert_nothing_is_repaired(packets)


def assert_nothing_is_repaired(packets: list[bytes]) -> None:
    """Check that a kernel accepts no packet that was not valid before."""
    delivered = {
        without_identification(packet)
        for packet in cut(coalesce(packets, LOCAL, udp=True))
        if is_sound(packet)
    }
    assert delivered <= {
        without_identification(packet) for packet in packets if is_sound(packet)
    }


def without_identification(packet: bytes) -> bytes:
    """Return the packet without what is renumbered, if it is an IPv4 packet."""
    if packet[0] >> 4 != 4:
        return packet
    return packet[:4] + bytes(2) + packet[6:10] + bytes(2) + packet[12:]


def is_sound(packet: bytes) -> bool:
    """Return whether a packet, which may be anything, is a valid one."""
    try:
        return is_valid(packet)
    except IndexError:
        return False


def sizes(writes: list[list[bytes]]) -> list[int]:
    """Return how many packets each write carries."""
    return [len(write) - 1 for write in writes]


def flip(packet: bytes, position: int) -> bytes:
    """Return the packet with one bit changed."""
    changed = bytearray(packet)
    changed[position] ^= 4
    return bytes(changed)


def cut(writes: list[list[bytes]]) -> list[bytes]:
    """Return the packets that a kernel sees, which verifies before it cuts.

    A superpacket with a wrong checksum is lost as a whole.
    """
    packets = []
    for write in writes:
        header, packet = write[0][:10], b"".join(write)[10:]
        flags, gso_type, hdr_len, size, start, field = vnet.HEADER.unpack(header)
        if gso_type == vnet.GSO_NONE:
            packets.append(packet)
            continue
        if not flags and not is_valid(packet):
            continue
        if gso_type != vnet.GSO_UDP_L4:
            start, field = (20 if packet[0] >> 4 == 4 else 40), 16
        header = vnet.HEADER.pack(1, gso_type, hdr_len, size, start, field)
        packets += segment(header + packet)
    return packets


def by_flow(packets: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Return the packets of each flow in their order."""
    flows: dict[bytes, list[bytes]] = defaultdict(list)
    for packet in packets:
        if packet[0] >> 4 == 4:
            flows[packet[9:10] + packet[12:24]].append(packet)
        else:
            flows[packet[6:7] + packet[8:44]].append(packet)
    return flows
