"""Subnet routers: a LAN with two of them, of which one dies.

::

    alice --.                .-- first ---.
             internet ------'              lan -- printer
            '------------------ second ---'

The printer knows nothing of the mesh. Both routers offer its network, and an
administrator has approved both; alice goes by the first one, because that has the lower
priority number. She goes by the other when it dies, when its cable to the LAN is pulled
out, and when it stops, and nobody in the middle has a part in that.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, Mesh, MeshNode
from netlab.process import Process
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way

LAN = "10.77.1.0/24"
INTERVAL = 0.05
"""Seconds between two pings."""
KILLED_WITHIN, DEAD_WITHIN = 3.0, 5.0
"""Seconds without an answer at most, when a router is killed and when its LAN dies."""
MOVED_WITHIN = 30.0
SETTLED = 40
"""Pings that are answered before something else is done."""


@dataclass(slots=True)
class RoutedLan:
    """The LAN's two routers, the printer behind them, and alice elsewhere."""

    alice: MeshNode
    first: MeshNode
    second: MeshNode
    printer: Host

    @property
    def gateway(self) -> str:
        """The name of the router that alice's packets go to."""
        peers = self.alice.status()["peers"]
        return ", ".join(each["name"] for each in peers if LAN in each["routes"])


def build(lab: Lab) -> RoutedLan:
    mesh = Mesh(lab)
    lan = lab.add_switch("lan", LAN)
    hosts = [lab.add_host(name, lab.internet) for name in ("alice", "first", "second")]
    printer = lab.add_host("printer", lan)
    for host in hosts[1:]:
        host.attach(lan, "eth1")
    route = f"{LAN},probe={printer.address(4)}"
    options: tuple[tuple[str, ...], ...] = (
        (),
        ("--route", f"{route},priority=50"),
        ("--route", route),
    )
    mesh.join_all(dict(zip(hosts, options, strict=True)))
    where = ("--data-dir", str(mesh.coordinator.data_dir))
    for name in ("first", "second"):
        command = (*COORDINATOR, "route", "approve", name, LAN, *where)
        mesh.coordinator.host.run(list(command))
    nodes = mesh.nodes
    return RoutedLan(nodes["alice"], nodes["first"], nodes["second"], printer)


def verify(site: RoutedLan, narrator: Narrator) -> None:
    with narrator.step("alice reaches the printer, by the router that is preferred"):
        site.alice.host.ping(site.printer.address(4))
        expect_gateway(site, "first")
    ping = start_pings(site)
    with narrator.step(
        f"the first router is killed: alice goes by the other in {KILLED_WITHIN:g} s"
    ):
        expect_blackout(site, ping, KILLED_WITHIN, site.first.process.kill, "second")
    with narrator.step("it starts again, and has the network again after a while"):
        site.first.start()
        site.first.wait_until_joined()
        expect_gateway(site, "first")
    cable = ["ip", "link", "set", "eth1"]
    with narrator.step(
        f"its cable to the LAN is pulled out: she knows it in {DEAD_WITHIN:g} s"
    ):
        expect_blackout(
            site,
            ping,
            DEAD_WITHIN,
            lambda: site.first.host.run([*cable, "down"]),
            "second",
        )
    with narrator.step("it is put in again, and the network goes by the first router"):
        site.first.host.run([*cable, "up"])
        expect_gateway(site, "first")
    with narrator.step("the first router is stopped: not one packet is lost"):
        expect_blackout(site, ping, 0, site.first.stop, "second")
    with narrator.step("it leaves neither rules nor forwarding behind"):
        expect_nothing_left(site.first.host)


def start_pings(site: RoutedLan) -> Process:
    """Ping the printer from alice's machine from now on."""
    address = site.printer.address(4)
    options = ["-n", "-i", str(INTERVAL), "-W", "1"]
    ping = site.alice.host.popen(["ping", *options, address], log="pings.log")
    wait_for_pings(site, ping)
    return ping


def answered(ping: Process) -> set[int]:
    """Return the numbers of the pings that were answered."""
    return {int(each) for each in re.findall(r"icmp_seq=(\d+) ttl", ping.output())}


def wait_for_pings(site: RoutedLan, ping: Process) -> None:
    """Wait until some more pings are answered."""
    count = len(answered(ping)) + SETTLED
    site.alice.host.wait_until(
        lambda: len(answered(ping)) >= count, "pings of the printer are answered"
    )


def longest_gap(numbers: set[int]) -> int:
    """Return how many pings in a row were not answered at most."""
    ordered = sorted(numbers)
    pairs = pairwise(ordered)
    return max((after - before - 1 for before, after in pairs), default=0)


def expect_blackout(
    site: RoutedLan,
    ping: Process,
    within: float,
    act: Callable[[], object],
    gateway: str,
) -> None:
    """Do something, and see for how long pings are not answered, and who answers."""
    wait_for_pings(site, ping)
    before = max(answered(ping))
    act()
    expect_gateway(site, gateway)
    wait_for_pings(site, ping)
    lost = longest_gap({each for each in answered(ping) if each >= before})
    if lost * INTERVAL > within:
        raise ScenarioFailed(
            f"{lost} pings in a row were not answered, {lost * INTERVAL:.1f} s."
        )


def expect_gateway(site: RoutedLan, name: str) -> None:
    """Wait until alice's packets to the LAN go to a router."""
    site.alice.host.wait_until(
        lambda: site.gateway == name,
        f"packets to the LAN go to {name}",
        MOVED_WITHIN,
    )


def expect_nothing_left(host: Host) -> None:
    """Check that the system is as it was."""
    rules = host.run(["nft", "list", "ruleset"]).stdout
    switch = host.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip()
    if rules or switch != "0":
        raise ScenarioFailed(f"ip_forward is {switch}, and there is: {rules}")


ROUTER = Scenario(
    "router",
    "Subnet routers: two of one LAN, one dies",
    build,
    verify,
    (Way(("alice", "first", "printer"), "direct"),),
)
