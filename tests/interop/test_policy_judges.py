"""What a policy opens, as programs for attackers see it: its ports, and nothing else.

nmap says which ports there are; hping3 and scapy send what no honest sender would. What
arrives is seen at the server's own interface.
"""

import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from xml.etree import ElementTree

import pytest

from netlab.capture import Capture
from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.besieged import (
    ALLOWED_TCP,
    ALLOWED_UDP,
    Siege,
    answers,
    besiege,
    inject,
)
from tests.interop.forgeries import Ends, forgeries4, forgeries6, overlapping4
from tests.interop.meshes import Member

pytestmark = pytest.mark.netns

RULES = {("tcp", port): state for port, state in ALLOWED_TCP.items()} | {
    ("udp", port): state for port, state in ALLOWED_UDP.items()
}
NAMED = "T:" + ",".join(map(str, ALLOWED_TCP)) + ",U:" + ",".join(map(str, ALLOWED_UDP))
SOME = "20-25,53,80,443,5430-5435,9099-9103,31337"
QUICKLY = ("--max-retries", "0", "--min-rate", "5000")
COUNT = ("-c", "3", "-i", "u5000")
"""hping3's words for three packets, soon after each other."""
STRAYS = (
    *("-A -p 22", "-A -p 80", "-F -p 22", "-R -p 22", "-Y -p 22", "-p 22"),
    *("-F -P -U -p 22", "-S -A -p 22", "-S -p 80"),
    "-S -p 80 --frag -d 64",
    "-S -p 80 --lsrr 198.51.100.9",
    "-S -p 80 --ssrr 198.51.100.9",
    "-2 -p 5060 --lsrr 198.51.100.9",
    "-2 -p 5060 -x -g 64",
    "-2 -p 123",
    "-1",
    "-1 --icmptype 3 --icmpcode 4",
    "-1 --icmptype 13",
    "-0 --ipproto 47 -d 24",
)

Ports = Mapping[tuple[str, int], str]


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    """One mesh for all tests, as none of them changes it."""
    for program in ("nmap", "hping3"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: install Debian's package")
    with Lab(title="siege") as lab:
        yield besiege(lab)


def test_a_scan_of_all_ports_finds_those_of_the_rules_and_no_others(
    siege: Siege,
) -> None:
    mallory, alice = siege.mallory.host, siege.alice.host
    everything = "T:1-65535,U:1-1024,5060,31337"
    # Packets may be lost in such a flood: this says what is too much, ...
    floods = [
        Scan(mallory, address, ("-sS", "-sU"), everything, QUICKLY)
        for address in siege.addresses()
    ]
    # ... and this what is too little.
    named = [
        Scan(host, address, ("-sS", "-sU"), NAMED)
        for host in (mallory, alice)
        for address in (*siege.addresses(4), *siege.addresses(6))
    ]
    others = [
        Scan(mallory, address, (kind,), SOME, QUICKLY)
        for kind in ("-sA", "-sF", "-sX", "-sN")
        for address in siege.addresses()
    ]

    assert [set(found) - set(RULES) for found in scanned(floods)] == [set()] * len(
        floods
    )
    assert scanned(named) == [RULES] * len(named)
    assert scanned(others) == [{}] * len(others)


def test_nothing_forged_gets_through(siege: Siege) -> None:
    for server in siege.servers.values():
        talks = [talking(siege.alice, address) for address in server.addresses]
        ports = [talk.getsockname()[1] for talk in talks]
        capture = server.host.capture("meshwg0")
        forged = forgeries4(ends(siege, server, ports[0], 4))
        forged6 = forgeries6(ends(siege, server, ports[1], 6))
        for packets in (*forged.values(), *forged6.values()):
            inject(siege.mallory, packets)
        first, others = overlapping4(ends(siege, server, ports[0], 4))
        inject(siege.mallory, [*first, *others])
        seen = arrived(siege, server, capture)

        got_through = {
            name: packet.hex()
            for names in (forged, forged6)
            for name, packets in names.items()
            for packet in packets
            if packet in seen
        }
        assert got_through == {}
        assert [each.hex() for each in seen] == [each.hex() for each in first]


def test_nor_do_strays_and_fragments_of_hping3(siege: Siege) -> None:
    mallory = siege.mallory.host
    captures = [each.host.capture("meshwg0") for each in siege.servers.values()]
    strays = [
        mallory.popen(["hping3", "-n", "-q", *COUNT, *words.split(), address])
        for words in STRAYS
        for address in siege.addresses()
    ]
    for each in strays:
        each.wait(60)

    for server, capture in zip(siege.servers.values(), captures, strict=True):
        assert [each.hex() for each in arrived(siege, server, capture)] == []


@dataclass(frozen=True)
class Scan:
    """What nmap is to find out, and from where."""

    host: Host
    address: str
    kinds: tuple[str, ...]
    ports: str
    options: tuple[str, ...] = ()

    def run(self) -> Ports:
        """Return what is open, or at least answers."""
        version = ("-6",) if ":" in self.address else ()
        words = ["nmap", "-n", "-Pn", "-T5", *version, *self.kinds, "-p", self.ports]
        done = self.host.run([*words, *self.options, "-oX", "-", self.address])
        found = {}
        for each in ElementTree.fromstring(done.stdout).iter("port"):
            (state,) = each.iter("state")
            if state.attrib["state"] in ("open", "closed", "unfiltered"):
                name = each.attrib["protocol"], int(each.attrib["portid"])
                found[name] = state.attrib["state"]
        return found


def scanned(scans: Iterable[Scan]) -> list[Ports]:
    """Run scans, some at a time."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(Scan.run, scans))


def ends(siege: Siege, server: Member, alices_port: int, version: int) -> Ends:
    which = version == 6
    mallory, alice = siege.mallory.addresses[which], siege.alice.addresses[which]
    return Ends(mallory, server.addresses[which], alice, alices_port)


def talking(member: Member, address: str) -> socket.socket:
    """Return a socket by which a member speaks with port 5060, and was answered."""
    talk = member.host.udp_socket("::" if ":" in address else "0.0.0.0")
    talk.settimeout(20)
    talk.sendto(b"hello", (address, 5060))
    assert talk.recv(99) == b"hello"
    return talk


def arrived(siege: Siege, server: Member, capture: Capture) -> list[bytes]:
    """Return what came out at a server's interface, but for a last word in each family.

    All that was sent before it has arrived then, or never will.
    """
    last = b"the last word"
    for address in server.addresses:
        assert answers(siege.mallory, address, last)
    return [
        packet
        for packet in capture.packets()
        if is_inbound(packet, siege, server) and not packet.endswith(last)
    ]


def is_inbound(packet: bytes, siege: Siege, server: Member) -> bool:
    """Tell whether a packet is for a server, or from another member."""
    source, destination = packet[12:16], packet[16:20]
    if packet[0] >> 4 == 6:
        source, destination = packet[8:24], packet[24:40]
    own = [ip_address(each).packed for each in server.addresses]
    members = siege.alice, siege.mallory
    others = [ip_address(each).packed for one in members for each in one.addresses]
    return destination in own or source in others
