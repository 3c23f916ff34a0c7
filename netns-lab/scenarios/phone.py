"""Phone: plain WireGuard behind a symmetric NAT is a member of the mesh.

::

    phone -- carrier --.             .-- office -- laptop
    (wg-quick)          internet ----+
    tablet -- hotel ---'   |         '-- site, names
    (wg-quick)             |
                          hub -- 192.168.77.0/24, cellar

Neither runs meshwg: they have a file, or have scanned a code. All routers are symmetric
NATs with random ports. The hub can be reached from outside and passes on what the phone
and the mesh have to say to each other, and nothing into its other networks. All that
the tablet sends goes to the hub, which is an exit.
"""

import json
from dataclasses import dataclass

from netlab.capture import Capture
from netlab.errors import NotReady, ScenarioFailed
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, Json, Mesh, MeshNode
from netlab.presets import OFFICE
from netlab.router import Router
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way
from netlab.wireguard import message_type
from scenarios import fulltunnel
from scenarios.exit import approve
from scenarios.fulltunnel import Tablet

HUB_PORT = 51820
SECRET_NETWORK = "192.168.77.1"
"""An address of the hub in a network that is none of the mesh's business."""
PINGS = 5
MARK = "6d65736877672d70686f6e65"
"""The payload of the pings in hexadecimal, by which captures would show them."""
CUT_WITHIN = 5.0
"""Seconds from the command to the hub's silence; a coordinator that runs notices within
one what commands have changed."""


@dataclass(slots=True)
class Travels:
    """A phone, its router, and the mesh it belongs to."""

    mesh: Mesh
    hub: MeshNode
    laptop: MeshNode
    phone: Host
    carrier: Router
    wire: Capture
    """What the phone sends and receives outside of its tunnel."""
    tablet: Tablet

    def coordinator(self, *arguments: str) -> Json:
        """Run a command of the coordinator and return its JSON."""
        coordinator = self.mesh.coordinator
        where = ("--data-dir", str(coordinator.data_dir), "--json")
        done = coordinator.host.run([*COORDINATOR, *arguments, *where])
        answer: Json = json.loads(done.stdout)
        return answer


def build(lab: Lab) -> Travels:
    public = lab.add_host("hub", lab.internet)
    laptop = lab.add_host("laptop", lab.add_router("office", OFFICE))
    carrier = lab.add_router("carrier", OFFICE)
    phone = lab.add_host("phone", carrier)
    public.run(["ip", "address", "add", f"{SECRET_NETWORK}/24", "dev", "lo"])
    wire = phone.capture("eth0", "udp")
    tablet = fulltunnel.build(lab, public)
    mesh = Mesh(lab, relay=False)
    options = ("--hub", "--exit", "--listen-port", str(HUB_PORT))
    mesh.join_all({public: options, laptop: ()})
    approve(mesh, "hub")
    nodes = mesh.nodes
    return Travels(mesh, nodes["hub"], nodes["laptop"], phone, carrier, wire, tablet)


def verify(travels: Travels, narrator: Narrator) -> None:
    hub, laptop, phone = travels.hub, travels.laptop, travels.phone
    with narrator.step("'peer add phone' prints a QR code and a file for wg-quick"):
        peer = add_phone(travels)
        addresses = peer["addresses"]
    with narrator.step("the phone reaches the hub and the laptop, and they reach it"):
        for node in (hub, laptop):
            for version in (4, 6):
                phone.ping(node.address(version))
                node.host.ping(addresses[version == 6])
    with narrator.step("the laptop says that its packets go by the hub"):
        expect_shown(laptop, "relay", "packets go by its hub hub")
        expect_shown(hub, "direct", "this node is its hub")
    with narrator.step("outside of the tunnel there is only WireGuard"):
        ping_marked(phone, laptop.address())
        expect_only_wireguard(travels.wire)
    with narrator.step("the carrier's NAT forgets the phone, and it is found again"):
        travels.carrier.reboot_nat()
        phone.ping(laptop.address())
        laptop.host.ping(addresses[0])
    with narrator.step("the hub's other network is closed to the phone"):
        expect_silence(phone, SECRET_NETWORK)
    with narrator.step("'peer remove phone' cuts it off at once, and for good"):
        travels.coordinator("peer", "remove", "phone")
        expect_cut(phone, hub.address())
        expect_silence(phone, laptop.address())
    verify_tablet(travels, narrator)


def verify_tablet(travels: Travels, narrator: Narrator) -> None:
    tablet, laptop = travels.tablet, travels.laptop
    with narrator.step("'peer add tablet --full-tunnel' sends all of it to the hub"):
        answer = travels.coordinator("peer", "add", "tablet", "--full-tunnel")
        tablet.addresses = tuple(answer["peer"]["addresses"])
        fulltunnel.bring_up(tablet.host, answer["config"], "tablet")
    with narrator.step("it reaches a site by name, over IPv4 and IPv6, as the hub"):
        fulltunnel.expect_reached_as_hub(tablet)
    with narrator.step("it finds the laptop by its name, and the laptop reaches it"):
        tablet.host.ping("laptop.mesh.internal")
        laptop.host.ping(tablet.addresses[0])
    with narrator.step("the longest packets pass, and downloads over both"):
        fulltunnel.expect_room(tablet)
    with narrator.step("in its own network there is WireGuard and nothing else"):
        fulltunnel.expect_only_wireguard(tablet, HUB_PORT)
    with narrator.step("the hub's networks are closed to it"):
        expect_silence(tablet.host, SECRET_NETWORK)
        expect_silence(tablet.host, tablet.neighbour.address())
    with narrator.step("nobody reaches it from the internet, or from beside the hub"):
        fulltunnel.expect_closed(tablet)
    with narrator.step("when it is removed, nothing of it passes, in whatever way"):
        travels.coordinator("peer", "remove", "tablet")
        expect_cut(tablet.host, travels.hub.address())
        fulltunnel.expect_nothing_passes(tablet)
        fulltunnel.expect_only_wireguard(tablet, HUB_PORT)


def add_phone(travels: Travels) -> Json:
    """Add the phone to the mesh and bring its tunnel up; return what it is."""
    answer = travels.coordinator("peer", "add", "phone")
    if "▀" not in answer["qr"]:
        raise ScenarioFailed("There is no QR code.")
    more = f"AllowedIPs = {SECRET_NETWORK}/32, "
    config = answer["config"].replace("AllowedIPs = ", more)
    fulltunnel.bring_up(travels.phone, config, "phone")
    peer: Json = answer["peer"]
    return peer


def expect_shown(node: MeshNode, kind: str, words: str) -> None:
    """Check what a node says of its way to the phone."""
    peers = {each["name"]: each for each in node.status()["peers"]}
    path, reason = peers["phone"]["path"]["kind"], peers["phone"]["reason"]
    if path != kind or words not in reason:
        raise ScenarioFailed(f"{node.name} says of the phone ({path}): {reason}")


def ping_marked(phone: Host, address: str) -> None:
    """Send pings that carry the mark; all must be answered."""
    options = ["-n", "-c", str(PINGS), "-i", "0.05", "-W", "5", "-p", MARK]
    phone.run(["ping", *options, address])


def expect_only_wireguard(wire: Capture) -> None:
    """Check that nothing that left the phone could be read, or was anything else."""
    seen = wire.datagrams()
    strange = [each for each in seen if message_type(each.payload) is None]
    if not seen or strange:
        raise ScenarioFailed(f"{len(strange)} of {len(seen)} are no WireGuard.")
    if any(bytes.fromhex(MARK) in each.payload for each in seen):
        raise ScenarioFailed(f"The pings are in the clear in {wire.path}.")


def expect_silence(phone: Host, address: str) -> None:
    """Check that pings are not answered."""
    request = ["ping", "-n", "-c", "2", "-W", "1", address]
    if phone.run(request, check=False).returncode == 0:
        raise ScenarioFailed(f"The phone reaches {address}.")


def expect_cut(phone: Host, address: str) -> None:
    """Check that pings soon remain without an answer."""
    request = ["ping", "-n", "-c", "1", "-W", "1", address]
    try:
        phone.wait_until(
            lambda: phone.run(request, check=False).returncode != 0,
            "the hub does not answer any more",
            CUT_WITHIN,
        )
    except NotReady:
        raise ScenarioFailed("The hub still answers the phone.") from None


PHONE = Scenario(
    "phone",
    "A phone with plain WireGuard",
    build,
    verify,
    (Way(("phone", "hub", "laptop"), "relay"),),
)
