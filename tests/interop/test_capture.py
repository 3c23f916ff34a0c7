"""What a bystander on the wire sees of two ``meshwg-wg``: messages, never a word."""

import struct
from collections import Counter

import pytest

from netlab import links
from netlab.capture import Datagram, parse_datagram
from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import MESHWG, message_type
from tests.interop.tunnels import Side, join_on_a_switch, transfer

pytestmark = pytest.mark.netns

SECRET = b"never seen outside"
MEGABYTE = 1 << 20
DATA = 4
NEIGHBOURS = "arp or icmp6 or ether multicast"
"""What the kernels of the two hosts say to each other, as a filter."""


@pytest.mark.parametrize("version", [4, 6])
def test_the_wire_carries_messages_and_never_the_plaintext(
    lab: Lab, version: int
) -> None:
    sides = join_on_a_switch(lab, (MESHWG, MESHWG), version=version)
    for side in sides:
        cut_before_the_wire(side.host)
    inside = sides[0].host.capture(sides[0].interface)
    wire = sides[0].host.capture(filter=f"not ({NEIGHBOURS})")
    say_everything(*sides)

    frames = wire.packets()
    assert not [frame for frame in frames if SECRET[:8] in frame]
    datagrams = [expect_datagram(frame) for frame in frames]
    expect_messages_between(sides, datagrams, version)
    expect_each_counter_once(datagrams)
    # That the secret was there to be seen is known from the inside, where one packet
    # may stand for many on the wire.
    assert sum(packet.count(SECRET) for packet in inside.packets()) > 1000


def say_everything(one: Side, other: Side) -> None:
    """Say the secret in echo requests, in datagrams and in streams, both ways."""
    text = SECRET * (MEGABYTE // len(SECRET))
    for sender, receiver in ((one, other), (other, one)):
        for ip in receiver.ips:
            pattern = ["-p", SECRET[:16].hex(), "-c", "3", "-i", "0.002"]
            sender.host.run(["ping", "-q", *pattern, ip])
            transfer(sender, receiver, ip, text)
        sock = sender.host.udp_socket(sender.ip)
        sock.sendto(SECRET, (receiver.ip, 9))


def cut_before_the_wire(host: Host) -> None:
    """Let the kernel cut superpackets before they are captured, as for most cables."""
    links.ip(host.namespace, f"link set {host.first_interface} gso_max_segs 1")


def expect_datagram(frame: bytes) -> Datagram:
    datagram = parse_datagram(frame)
    assert datagram is not None, f"This is no UDP datagram: {frame[:60]!r}…"
    return datagram


def expect_messages_between(
    sides: tuple[Side, Side], datagrams: list[Datagram], version: int
) -> None:
    """Check that there is nothing else than messages of all types but cookies."""
    ends = {side.endpoint(version) for side in sides}
    seen: Counter[int | None] = Counter()
    for datagram in datagrams:
        assert {shown(datagram.source), shown(datagram.destination)} == ends
        seen[message_type(datagram.payload)] += 1
    assert (seen[1], seen[2]) == (1, 1)
    assert set(seen) == {1, 2, DATA}


def expect_each_counter_once(datagrams: list[Datagram]) -> None:
    """Check that no key meets one nonce twice."""
    nonces = [
        struct.unpack_from("<4xIQ", datagram.payload)
        for datagram in datagrams
        if datagram.payload[0] == DATA
    ]
    assert len(set(nonces)) == len(nonces)


def shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
