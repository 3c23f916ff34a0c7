"""Hub and spoke: two laptops reach each other only through a public node.

::

    alice -- office --.              .-- office -- bob
                       internet ----'
                          |
                         hub

Both offices are symmetric NATs with random ports, so no hole can be punched between
them, and the coordinator offers no relay. The hub forwards. Unlike a blind relay, it
decrypts the traffic, and could read it.
"""

import socket
import threading
from dataclasses import dataclass

from netlab.capture import Capture
from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import Mesh, MeshNode
from netlab.presets import OFFICE
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way

INTERFACE = "meshwg0"
PINGS = 5
MARK = "6d65736877672d68756221"
"""The payload of the pings in hexadecimal, by which the hub's captures show them."""
HUB_MTU = 1300
"""Less than that of the spokes, whose TCP would send more than the hub can carry."""
HEADERS = {4: 40, 6: 60}
"""Bytes of the IP and TCP headers."""
TCP_BYTES = 200_000
TCP_TIMEOUT = 30.0
SYN, MSS_OPTION = 0x02, 2


@dataclass(slots=True)
class Spokes:
    """The hub and its spokes."""

    hub: MeshNode
    alice: MeshNode
    bob: MeshNode
    before: str
    """The hub's links, rules and settings before it joined."""
    outside: Capture
    """What the hub sends and receives."""


def build(lab: Lab) -> Spokes:
    public = lab.add_host("hub", lab.internet)
    alice = lab.add_host("alice", lab.add_router("office-a", OFFICE))
    bob = lab.add_host("bob", lab.add_router("office-b", OFFICE))
    before = system_state(public)
    outside = public.capture("eth0", "udp")
    mesh = Mesh(lab, relay=False)
    mesh.join_all(
        {public: ("--hub", "--mtu", str(HUB_MTU)), alice: (), bob: ()},
    )
    nodes = mesh.nodes
    return Spokes(nodes["hub"], nodes["alice"], nodes["bob"], before, outside)


def verify(spokes: Spokes, narrator: Narrator) -> None:
    hub, alice, bob = spokes.hub, spokes.alice, spokes.bob
    with narrator.step("alice and bob ping each other over IPv4 and IPv6"):
        for version in (4, 6):
            alice.ping(bob, version)
            bob.ping(alice, version)
    with narrator.step("alice's status says that the hub forwards, and why"):
        expect_forwarded(alice, bob)
    with narrator.step(
        "every packet passes the hub, and outside it is only ciphertext"
    ):
        inside = hub.host.capture(INTERFACE, "icmp or icmp6")
        for version in (4, 6):
            ping_marked(alice, bob.address(version))
        expect_all_forwarded(inside, 2 * PINGS)
        if any(bytes.fromhex(MARK) in frame for frame in spokes.outside.packets()):
            raise ScenarioFailed(
                f"The pings are in the clear in {spokes.outside.path}."
            )
    with narrator.step(f"TCP sends no packets larger than the hub's MTU of {HUB_MTU}"):
        for version in (4, 6):
            expect_clamped(alice, bob, version)
    with narrator.step(
        "without the hub there is no path, and it leaves nothing behind"
    ):
        hub.stop()
        if (after := system_state(hub.host)) != spokes.before:
            raise ScenarioFailed(f"The hub had {spokes.before}, and now has {after}.")
        expect_unreachable(alice, bob)


def expect_forwarded(node: MeshNode, other: MeshNode) -> None:
    """Check that a node says that it reaches another one through the hub.

    It says so when an echo of its own has come back, a moment after the first ping.
    """
    node.wait_until(
        lambda status: any(
            each["name"] == other.name and each["reason"].startswith("The hub hub ")
            for each in status["peers"]
        ),
        f"{node.name} has measured the hub",
    )
    peer = node.peer(other)
    kind, reason = peer["path"]["kind"], peer["reason"]
    if kind != "relay" or not reason.startswith("The hub hub forwards"):
        raise ScenarioFailed(f"{node.name} says of its path ({kind}): {reason}")


def ping_marked(node: MeshNode, address: str) -> None:
    """Send pings that carry the mark; all must be answered."""
    options = ["-n", "-c", str(PINGS), "-i", "0.05", "-W", "5", "-p", MARK]
    node.host.run(["ping", *options, address])


def expect_all_forwarded(inside: Capture, pings: int) -> None:
    """Check that each request and each answer entered and left the hub."""
    mark = bytes.fromhex(MARK)
    seen = sum(mark in packet for packet in inside.packets())
    if seen != 4 * pings:
        raise ScenarioFailed(
            f"The hub saw {seen} packets of {pings} pings, not four of each."
        )


def expect_clamped(sender: MeshNode, receiver: MeshNode, version: int) -> None:
    """Check that TCP through the hub is clamped to its MTU, and arrives."""
    # The tunnel carries raw IP, where a filter cannot find TCP after an IPv6 header.
    wire = receiver.host.capture(INTERFACE, "ip6" if version == 6 else "tcp")
    received = transfer(sender, receiver, version)
    if received != TCP_BYTES:
        raise ScenarioFailed(f"{received} of {TCP_BYTES} bytes arrived over TCP.")
    sizes = [size for packet in wire.packets() if (size := announced_mss(packet))]
    allowed = HUB_MTU - HEADERS[version]
    if not sizes or sizes[0] > allowed:
        raise ScenarioFailed(
            f"Over IPv{version} bob was offered segments of {sizes[:1]} bytes, "
            f"and the hub carries {allowed}."
        )


def transfer(sender: MeshNode, receiver: MeshNode, version: int) -> int:
    """Send bytes over a TCP connection and return how many arrived."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    address = receiver.address(version)
    server = receiver.host.call(
        lambda: socket.create_server((address, 0), family=family)
    )
    client = sender.host.call(lambda: socket.socket(family, socket.SOCK_STREAM))
    with server, client:
        server.settimeout(TCP_TIMEOUT)
        client.settimeout(TCP_TIMEOUT)
        client.connect(server.getsockname()[:2])
        arriving, _ = server.accept()
        with arriving:
            arriving.settimeout(TCP_TIMEOUT)
            writer = threading.Thread(target=_send_and_end, args=(client,))
            writer.start()
            received = 0
            while part := arriving.recv(65536):
                received += len(part)
            writer.join()
    return received


def _send_and_end(client: socket.socket) -> None:
    client.sendall(bytes(TCP_BYTES))
    client.shutdown(socket.SHUT_WR)


def announced_mss(packet: bytes) -> int | None:
    """Return the maximum segment size in a first SYN (raw IP), if it is one."""
    if packet[0] >> 4 == 6:
        protocol, segment = packet[6], packet[40:]
    else:
        protocol, segment = packet[9], packet[(packet[0] & 15) * 4 :]
    if protocol != 6 or segment[13] != SYN:
        return None
    options = segment[20 : (segment[12] >> 4) * 4]
    while options and options[0] != MSS_OPTION:
        # A no-operation is one byte; every other option has a length.
        options = options[1:] if options[0] == 1 else options[options[1] :]
    return int.from_bytes(options[2:4]) if options else None


def expect_unreachable(node: MeshNode, other: MeshNode) -> None:
    """Check that pings are not answered."""
    request = ["ping", "-n", "-c", "2", "-W", "1", other.address()]
    if node.host.run(request, check=False).returncode == 0:
        raise ScenarioFailed(f"{node.name} reaches {other.name} without the hub.")


def system_state(host: Host) -> str:
    """Return the part of the system that a hub changes."""
    commands = (
        "ip -brief link; nft list ruleset; "
        "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding; ip route; ip rule"
    )
    return host.run(["sh", "-c", commands]).stdout


HUB = Scenario(
    "hub",
    "Hub and spoke, without a relay",
    build,
    verify,
    (Way(("alice", "hub", "bob"), "relay"),),
)
