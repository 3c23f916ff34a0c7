"""Private to private: holes are punched where possible; the relay carries the rest.

::

    anna -- port-restricted --.              .-- port-restricted -- ben
    olga -- office (random) --+-- internet --+-- symmetric, TCP too - otto
    sara -- sequential -------'      |       '-- sequential ------- sven
                                     |------------- UDP blocked --- gus
                                coordinator
                         (two addresses, relay, STUN)

The path of each pair follows from its routers alone, and the program says which it is.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from netlab import presets, truth
from netlab.capture import Capture, Datagram
from netlab.encounter import meet
from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.mesh import Mesh, MeshNode
from netlab.pings import unanswered
from netlab.presets import Preset
from netlab.process import Process
from netlab.router import Router
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way
from netlab.wireguard import message_type

ACCESS: dict[str, Preset] = {
    "sara": presets.SEQUENTIAL,
    "sven": presets.SEQUENTIAL,
    "ben": presets.PORT_RESTRICTED,
    "anna": presets.PORT_RESTRICTED,
    "olga": presets.OFFICE,
    "otto": presets.ALL_SYMMETRIC,
    "omar": presets.OFFICE,
    "gus": presets.UDP_BLOCKED,
}
ENCOUNTERS = (
    ("anna", "ben", "two port-restricted routers are punched through"),
    ("sara", "sven", "two sequential routers are predicted"),
    ("olga", "otto", "two symmetric routers stay on the relay, and status says why"),
    ("olga", "omar", "two of them whose TCP mappings are kept are opened over TCP"),
    ("gus", "anna", "where UDP is blocked TCP gets through"),
)
PING_INTERVAL = 0.02
"""Seconds between the system's pings during the upgrade."""
UNDER_WAY = 25
"""Pings of the last half second, whose answers a busy machine may still owe."""
SHOWN = 20
"""Lost pings whose numbers are named."""
DIRECT_WITHIN = 100.0
RECOVERED_WITHIN = 30.0
PROOF = 20
"""Data messages from the right address that prove a direct path."""
DATA = 4
"""WireGuard's message type."""
SETTLING = 1.0
"""Seconds for which pings continue over the new path."""


@dataclass(slots=True)
class Neighbourhood:
    """The mesh, and the routers of its nodes by the names of the nodes."""

    mesh: Mesh
    routers: dict[str, Router]

    def node(self, name: str) -> MeshNode:
        return self.mesh.nodes[name]


def build(lab: Lab) -> Neighbourhood:
    mesh = Mesh(lab)
    routers = {name: lab.add_router(f"{name}-nat", ACCESS[name]) for name in ACCESS}
    mesh.join_all([lab.add_host(name, router) for name, router in routers.items()])
    return Neighbourhood(mesh, routers)


def verify(world: Neighbourhood, narrator: Narrator) -> None:
    anna, ben, olga = world.node("anna"), world.node("ben"), world.node("olga")
    for one, other, sentence in ENCOUNTERS:
        with narrator.step(sentence):
            expect_best_path(world, one, other)
    with narrator.step("gus's relay is reached over TCP"):
        expect_relay_over_tcp(world.node("gus"))
    with narrator.step("a symmetric router is opened by birthday, and no ping is lost"):
        expect_lossless_upgrade(olga, anna)
    with narrator.step("ben's router reboots and forgets: the path is direct again"):
        expect_recovery(world, world.routers["ben"].reboot_nat)
    with narrator.step("ben's router gets another address: the path is direct again"):
        expect_recovery(world, world.routers["ben"].renumber)
    with narrator.step("meshwg ping says that it is direct"):
        said = anna.meshwg("ping", ben.name, "-c", "1")
        if "over direct" not in said:
            raise ScenarioFailed(f"anna's ping says: {said}")


def expect_best_path(world: Neighbourhood, one: str, other: str) -> None:
    """Check that two nodes find the path that the truth table names."""
    expected = truth.method(ACCESS[one], ACCESS[other])
    outcome = meet(world.node(one), world.node(other), expected)
    if outcome.problem is not None:
        raise ScenarioFailed(
            f"{one} and {other}: {outcome.problem} {one} says: {outcome.reason}"
        )


def expect_relay_over_tcp(node: MeshNode) -> None:
    """Check that a node reaches its relay over TCP."""
    relay = node.status()["self"]["relay"]
    if (relay["state"], relay["transport"]) != ("allocated", "tcp"):
        raise ScenarioFailed(f"{node.name}'s relay is {relay}.")


def expect_lossless_upgrade(one: MeshNode, other: MeshNode) -> None:
    """Check that no ping is lost between the first packet and the direct path."""
    pinging = start_pinging(one, other)
    wait_until_direct(one, other, DIRECT_WITHIN)
    wait_until_direct(other, one, DIRECT_WITHIN)
    method = one.peer(other)["path"]["method"]
    time.sleep(SETTLING)
    stop_pinging(pinging)
    lost, sent = unanswered(pinging.output(), UNDER_WAY)
    if lost or method != "birthday":
        raise ScenarioFailed(
            f"{len(lost)} of {sent} pings were lost on the way to the path that "
            f"{one.name} calls {method}: {lost[:SHOWN]}"
        )


def start_pinging(one: MeshNode, other: MeshNode) -> Process:
    """Start the system's ping; return after the first answer."""
    options = ["-n", "-i", str(PING_INTERVAL)]
    pinging = one.host.popen(["ping", *options, other.address()], log="ping.log")
    pinging.wait_for_line("icmp_seq=")
    return pinging


def stop_pinging(pinging: Process) -> None:
    """Let the system's ping print its summary, and end."""
    pinging.send_signal(signal.SIGINT)
    pinging.wait(timeout=5)


def wait_until_direct(one: MeshNode, other: MeshNode, within: float) -> None:
    """Wait until a node's path to another one is direct."""
    one.host.wait_until(
        lambda: one.peer(other)["path"]["kind"] == "direct",
        f"its path to {other.name} is direct",
        within,
    )


def expect_recovery(world: Neighbourhood, change: Callable[[], object]) -> None:
    """Check that the path is direct again after a change of ben's router."""
    anna, ben = world.node("anna"), world.node("ben")
    pinging = start_pinging(anna, ben)
    change()
    address = world.routers["ben"].address()
    wire = anna.host.capture("eth0", f"udp and src host {address}")
    anna.host.wait_until(
        lambda: len(data_in(wire)) >= PROOF,
        f"data comes from {address}, ben's router",
        RECOVERED_WITHIN,
    )
    wait_until_direct(anna, ben, RECOVERED_WITHIN)
    stop_pinging(pinging)


def data_in(wire: Capture) -> list[Datagram]:
    """Return the datagrams that are data messages of the tunnel."""
    return [each for each in wire.datagrams() if message_type(each.payload) == DATA]


PUNCH = Scenario(
    "punch",
    "Private to private, through every kind of NAT",
    build,
    verify,
    (
        Way(("anna", "ben"), "direct"),
        Way(("sara", "sven"), "prediction"),
        Way(("anna", "olga"), "birthday"),
        Way(("olga", "coordinator", "otto"), "relay"),
        Way(("gus", "anna"), "tcp"),
    ),
)
