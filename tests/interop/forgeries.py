"""Packets that no honest sender would send, as scapy makes them.

Each kind is for one thing that a filter might overlook. None of them may arrive.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_LSRR,
    IPOption_RR,
    IPOption_SSRR,
)
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet, Raw

OPEN, REFUSED = 5060, 80
"""Ports that the attacker may reach, by UDP, and may not, by TCP, though it is open."""
SSH = 22
"""The same of TCP."""
MORE = 0x2000
"""Flag of IPv4 and of nothing else: more fragments follow."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Who attacks whom, and who else there is."""

    mallory: str
    server: str
    alice: str
    alices_port: int
    """From which she speaks with port 5060 of the server."""


def forgeries4(ends: Ends) -> Mapping[str, list[bytes]]:
    """Return packets of IPv4, by what is wrong with them."""
    kinds = (_segments, _false_errors, _fragments, _options, _spoofed)
    return {name: made for kind in kinds for name, made in kind(ends)}


def _plain(ends: Ends, **fields: Any) -> Packet:
    return IP(src=ends.mallory, dst=ends.server, **fields)


def _segments(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    head = _plain(ends)
    other: dict[str, Any] = {"sport": 40_001, "ack": 7}
    for name, flags in (
        ("ack", "A"),
        ("fin", "F"),
        ("fin-ack", "FA"),
        ("xmas", "FPU"),
        ("null", ""),
        ("rst", "R"),
        ("syn-ack", "SA"),
        ("syn-fin", "SF"),
        ("push-ack", "PA"),
    ):
        yield (
            name,
            _raw(
                head / TCP(dport=port, flags=flags, **other) for port in (SSH, REFUSED)
            ),
        )
    yield "closed-to-us", _raw([head / TCP(dport=REFUSED, flags="S", sport=40_002)])
    yield "from-port-53", _raw([head / UDP(sport=53, dport=31_337) / b"answer"])
    yield "protocol-without-ports", _raw([_plain(ends, proto=47) / Raw(bytes(24))])
    yield "echo-reply", _raw([head / ICMP(type=0, id=9)])
    yield "timestamp", _raw([head / ICMP(type=13, id=9)])


def _false_errors(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    """Yield errors about what was never sent, and about what was, to others."""
    head = _plain(ends)
    to_alice = IP(src=ends.server, dst=ends.alice)
    never = IP(src=ends.server, dst=ends.mallory) / TCP(sport=REFUSED, dport=40_003)
    alices = to_alice / UDP(sport=OPEN, dport=ends.alices_port) / bytes(8)
    turned = head / UDP(sport=40_003, dport=OPEN) / bytes(8)
    elsewhere = IP(src=ends.alice, dst=ends.server) / UDP(sport=1, dport=2) / bytes(8)
    for name, quoted in (
        ("never", never),
        ("alices", alices),
        ("turned", turned),
        ("elsewhere", elsewhere),
    ):
        yield f"unreachable-{name}", _raw([head / ICMP(type=3, code=3) / quoted])
        too_big = ICMP(type=3, code=4, nexthopmtu=576)
        yield f"too-big-{name}", _raw([head / too_big / quoted])
    redirect = ICMP(type=5, code=1, gw=ends.mallory)
    yield "redirect", _raw([head / redirect / alices])
    about_error = head / ICMP(type=3, code=3) / (to_alice / ICMP(type=3) / bytes(28))
    yield "error-about-an-error", _raw([about_error])


def _fragments(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    def part(number: int, payload: bytes, where: int, proto: int = 17) -> Packet:
        fields = {"flags": where >> 13, "frag": where & 0x1FFF}
        return _plain(ends, id=number, proto=proto, **fields) / Raw(payload)

    refused = bytes(TCP(sport=40_004, dport=REFUSED, flags="S"))
    allowed = bytes(TCP(sport=40_005, dport=SSH, flags="S"))
    yield "without-the-first", _raw([part(11, bytes(64), 6), part(11, bytes(8), 14)])
    yield (
        "first-that-is-refused",
        _raw([part(12, refused + bytes(4), MORE, 6), part(12, bytes(64), 3, 6)]),
    )
    yield "tiny", _raw([part(13, allowed[:8], MORE, 6), part(13, allowed[8:], 1, 6)])
    tiny = bytes(UDP(sport=1, dport=OPEN, len=40))[:4]
    yield "tinier", _raw([part(14, tiny, MORE), part(14, bytes(36), 1)])
    yield "rest-of-another-protocol", _raw([part(15, bytes(64), 6, 6)])


def overlapping4(ends: Ends) -> tuple[list[bytes], list[bytes]]:
    """Return a first fragment that is allowed, and others that would replace it."""
    whole = bytes(UDP(sport=40_006, dport=OPEN, len=72)) + bytes(64)
    first = _plain(ends, id=21, proto=17, flags=1) / Raw(whole[:32])
    others = [
        _plain(ends, id=21, proto=17, frag=each) / Raw(bytes(48)) for each in (1, 3)
    ]
    refused = bytes(UDP(sport=40_006, dport=123, len=72)) + bytes(24)
    others.append(_plain(ends, id=21, proto=17, flags=1) / Raw(refused))
    return _raw([first]), _raw(others)


def _options(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    datagram = UDP(sport=40_007, dport=OPEN) / b"elsewhere"
    for name, option in (
        ("loose-source-route", IPOption_LSRR(routers=[ends.alice])),
        ("strict-source-route", IPOption_SSRR(routers=[ends.alice])),
    ):
        yield name, _raw([_plain(ends, options=[option]) / datagram])
    record = IPOption_RR(routers=["0.0.0.0"] * 3)
    refused = TCP(sport=40_008, dport=REFUSED, flags="S")
    yield "record-route", _raw([_plain(ends, options=[record]) / refused])
    cut_off = bytearray(bytes(_plain(ends) / datagram))
    cut_off[0] = 0x4F
    yield "options-that-are-not-there", [bytes(cut_off[:40])]


def _spoofed(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    datagram = UDP(sport=40_009, dport=OPEN) / b"spoofed"
    for name, source in (
        ("as-alice", ends.alice),
        ("as-the-server", ends.server),
        ("as-loopback", "127.0.0.1"),
        ("as-nobody", "0.0.0.0"),
        ("as-everybody", "255.255.255.255"),
        ("as-a-group", "224.0.0.1"),
        ("as-the-internet", "198.51.100.7"),
    ):
        yield name, _raw([IP(src=source, dst=ends.server) / datagram])


def forgeries6(ends: Ends) -> Mapping[str, list[bytes]]:
    """Return the same of IPv6."""
    kinds = (_headers6, _fragments6, _others6)
    return {name: made for kind in kinds for name, made in kind(ends)}


def _plain6(ends: Ends, **fields: Any) -> Packet:
    return IPv6(src=ends.mallory, dst=ends.server, **fields)


def _headers6(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    """Yield extension headers, before what is allowed and what is not."""
    head = _plain6(ends)
    allowed = UDP(sport=40_011, dport=OPEN) / b"elsewhere"
    refused = TCP(sport=40_012, dport=REFUSED, flags="S")
    hops, options = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()
    onward: dict[str, Any] = {"addresses": [ends.alice], "segleft": 1}
    yield "options-before-it", _raw([head / hops / options / refused])
    yield "routing", _raw([head / IPv6ExtHdrRouting(type=0, **onward) / allowed])
    yield "routing-2", _raw([head / IPv6ExtHdrRouting(type=2, **onward) / allowed])
    many: Packet = head
    for _ in range(12):
        many = many / IPv6ExtHdrDestOpt()
    yield "many-headers", _raw([many / allowed])
    yield "header-that-is-not-there", _raw([_plain6(ends, nh=0) / Raw(b"\x11\xff")])
    for name, number in (("authentication", 51), ("nothing", 59), ("mobility", 135)):
        payload = Raw(bytes((17, 4)) + bytes(22) + bytes(allowed))
        yield name, _raw([_plain6(ends, nh=number) / payload])


def _fragments6(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    def part(number: int, payload: bytes, offset: int, more: int, nh: int) -> Packet:
        header = IPv6ExtHdrFragment(id=number, offset=offset, m=more, nh=nh)
        return _plain6(ends) / header / Raw(payload)

    refused = bytes(TCP(sport=40_013, dport=REFUSED, flags="S")) + bytes(4)
    yield "without-the-first", _raw([part(31, bytes(64), 6, 0, 17)])
    yield (
        "first-that-is-refused",
        _raw([part(32, refused, 0, 1, 6), part(32, bytes(64), 3, 0, 6)]),
    )
    yield "alone", _raw([part(33, refused, 0, 0, 6)])
    yield "tiny", _raw([part(34, refused[:8], 0, 1, 6), part(34, refused[8:], 1, 0, 6)])
    options = bytes((6, 0, 1, 4, 0, 0, 0, 0))
    yield (
        "headers-without-end",
        _raw([part(35, options, 0, 1, 60), part(35, refused, 1, 0, 60)]),
    )


def _others6(ends: Ends) -> Iterator[tuple[str, list[bytes]]]:
    head = _plain6(ends)
    alices = IPv6(src=ends.server, dst=ends.alice)
    alices /= UDP(sport=OPEN, dport=ends.alices_port) / bytes(8)
    yield "unreachable-alices", _raw([head / ICMPv6DestUnreach(code=4) / alices])
    yield "too-big-alices", _raw([head / ICMPv6PacketTooBig(mtu=1280) / alices])
    yield "echo-reply", _raw([head / ICMPv6EchoReply(id=9)])
    datagram = UDP(sport=40_014, dport=OPEN) / b"spoofed"
    for name, source in (
        ("as-alice", ends.alice),
        ("as-the-server", ends.server),
        ("as-loopback", "::1"),
        ("as-link-local", "fe80::1"),
    ):
        yield name, _raw([IPv6(src=source, dst=ends.server) / datagram])


def _raw(packets: "Iterator[Packet] | list[Packet]") -> list[bytes]:
    return [bytes(each) for each in packets]
