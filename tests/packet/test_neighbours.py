"""Announcements of an address on a link, held against scapy's idea of them."""

from ipaddress import ip_address

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from meshwg.packet.neighbours import announcements

MAC = bytes.fromhex("02000a000001")
TEXT = "02:00:0a:00:00:01"


def test_ipv4_is_announced_by_a_request_and_a_reply_for_itself() -> None:
    frames = [Ether(each) for each in announcements(ip_address("10.60.0.10"), MAC)]
    assert [frame[ARP].op for frame in frames] == [1, 2]
    for frame in frames:
        assert (frame.src, frame.dst) == (TEXT, "ff:ff:ff:ff:ff:ff")
        arp = frame[ARP]
        assert (arp.psrc, arp.pdst, arp.hwsrc) == ("10.60.0.10", "10.60.0.10", TEXT)


def test_ipv6_is_advertised_to_all_and_overrides_what_they_know() -> None:
    (data,) = announcements(ip_address("fd60::10"), MAC)
    frame = Ether(data)
    assert (frame.src, frame.dst) == (TEXT, "33:33:00:00:00:01")
    assert (frame[IPv6].dst, frame[IPv6].hlim) == ("ff02::1", 255)
    advertisement = frame[ICMPv6ND_NA]
    assert (advertisement.tgt, advertisement.O, advertisement.S) == ("fd60::10", 1, 0)
    assert frame[ICMPv6NDOptDstLLAddr].lladdr == TEXT


def test_the_checksum_is_right() -> None:
    (data,) = announcements(ip_address("fd60::10"), MAC)
    frame = Ether(data)
    said = frame[ICMPv6ND_NA].cksum
    del frame[ICMPv6ND_NA].cksum
    assert Ether(bytes(frame))[ICMPv6ND_NA].cksum == said
