"""What the packet generator sends is what a kernel takes."""

from ipaddress import IPv4Address

from bench.generator import PAYLOAD, udp_packet
from bench.twohosts import MTU
from meshwg.packet.ip import pseudo_sum, word_sum


def test_a_packet_fills_the_mtu_and_its_checksums_are_right() -> None:
    packet = udp_packet(IPv4Address("10.128.0.1"), IPv4Address("10.99.0.1"))

    assert len(packet) == MTU
    assert word_sum(packet[:20]) == 0
    assert (pseudo_sum(packet, 17, PAYLOAD + 8) + word_sum(packet[20:])) % 65535 == 0
