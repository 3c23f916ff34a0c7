"""Two routers of one network, killed, cut off and stopped: for how long nobody answers.

A host behind both is pinged all the time, beside a stream of UDP to it. The router in
use is killed, the cable to its network pulled out, or it is stopped, in turns; then it
is brought back, and the next round is the other one's. Of each round, the longest time
between two answers counts, less what lies between two pings.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, Mesh, MeshNode
from netlab.process import Process

ROUNDS = int(os.environ.get("BENCH_PAIRS", "50"))
KINDS = ("killed", "network", "stopped")
MEDIAN_TARGETS = {"killed": 3.0, "network": 5.0, "stopped": 0.0}
WORST_TARGETS = {"killed": 5.0, "network": 5.0, "stopped": 0.0}
"""Seconds without an answer, in the middle and at worst."""
NETWORK = "10.77.1.0/24"
INTERVAL = 0.02
"""Seconds between two pings."""
STEADY, OBSERVED = 2.0, 3.0
MOVED_WITHIN = 60.0
RATE = "2M"
"""Bits per second of the stream beside the pings."""


@dataclass(slots=True)
class Site:
    """The routers, who uses them, and the host behind them."""

    user: MeshNode
    routers: dict[str, MeshNode]
    behind: Host

    def gateway(self) -> str:
        """Return the name of the router in use."""
        peers = self.user.status()["peers"]
        return next((e["name"] for e in peers if NETWORK in e["routes"]), "")


def run() -> dict[str, Any]:
    with Lab(title="bench routers") as lab:
        site = _build(lab)
        site.user.host.ping(site.behind.address(4))
        stream = _stream(site)
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(ROUNDS):
            kind = KINDS[number % len(KINDS)]
            found[kind].append(_round(site, kind))
        stream.kill()
    return _shown(found)


def _build(lab: Lab) -> Site:
    mesh = Mesh(lab)
    cable = lab.add_switch("cable", NETWORK)
    behind = lab.add_host("behind", cable)
    option = f"{NETWORK},probe={behind.address(4)}"
    user = mesh.join(lab.add_host("user", lab.internet))
    routers = {}
    where = ("--data-dir", str(mesh.coordinator.data_dir))
    for name in ("first", "second"):
        host = lab.add_host(name, lab.internet)
        host.attach(cable, "eth1")
        routers[name] = mesh.join(host, "--route", option)
        approve = [*COORDINATOR, "route", "approve", name, NETWORK, *where]
        mesh.coordinator.host.run(approve)
    return Site(user, routers, behind)


def _stream(site: Site) -> Process:
    """Begin to send."""
    server = site.behind.popen(
        ["iperf3", "-s", "--forceflush"], log="iperf3-server.log"
    )
    server.wait_for_line("listening")
    sending = ["iperf3", "-c", site.behind.address(4), "-u", "-b", RATE, "-t", "86400"]
    return site.user.host.popen(sending, log="iperf3.log")


def _ping(site: Site) -> Process:
    """Begin to ping.

    Each round has pings of its own. While a cable is out, a router has its system send
    by the way that is left, and Linux's masquerading drops the first packet of a flow
    that comes back from there, long after the round that was at fault.
    """
    options = ["-n", "-D", "-i", str(INTERVAL), "-W", "1"]
    address = site.behind.address(4)
    return site.user.host.popen(["ping", *options, address], log="pings.log")


def _round(site: Site, kind: str) -> float:
    """Do something to the router in use; return the seconds without an answer."""
    ping = _ping(site)
    name = site.gateway()
    router = site.routers[name]
    cable = ["ip", "link", "set", "eth1"]
    actions: dict[str, Callable[[], object]] = {
        "killed": router.process.kill,
        "network": lambda: router.host.run([*cable, "down"]),
        "stopped": router.process.stop,
    }
    time.sleep(STEADY)
    since = time.time()
    actions[kind]()
    other = next(each for each in site.routers if each != name)
    _wait_for(site, other)
    time.sleep(OBSERVED)
    longest = _longest(ping, since)
    ping.kill()
    if kind == "network":
        router.host.run([*cable, "up"])
    else:
        router.start()
        router.wait_until_joined()
    site.user.wait_until(
        lambda status: _is_in_reserve(status, name),
        f"{name} is in reserve",
        MOVED_WITHIN,
    )
    return longest


def _wait_for(site: Site, name: str) -> None:
    site.user.host.wait_until(
        lambda: site.gateway() == name, f"{name} is used", MOVED_WITHIN
    )


def _is_in_reserve(status: dict[str, Any], name: str) -> bool:
    entry = {"prefix": NETWORK, "state": "reserve"}
    return any(e["name"] == name and entry in e["reserve"] for e in status["peers"])


def _longest(ping: Process, since: float) -> float:
    """Return the longest time without a ping that was answered, 0 if all were."""
    found = re.findall(r"\[(\d+\.\d+)\] .*icmp_seq=(\d+) ttl", ping.output())
    # In the order of the pings: while the way changes, answers overtake each other.
    numbers = sorted(int(number) for at, number in found if float(at) >= since - 1)
    gaps = [
        (after - before - 1) * INTERVAL
        for before, after in pairwise(numbers)
        if after > before + 1
    ]
    return max(gaps, default=0.0)


def _shown(found: dict[str, list[float]]) -> dict[str, Any]:
    """Print a table; return its figures."""
    figures: dict[str, Any] = {}
    for kind, gaps in found.items():
        if not gaps:
            continue
        middle, worst = median(gaps), max(gaps)
        good = middle <= MEDIAN_TARGETS[kind] and worst <= WORST_TARGETS[kind]
        verdict = "as wanted" if good else "not as wanted"
        wanted = f"{MEDIAN_TARGETS[kind]:g} and {WORST_TARGETS[kind]:g} s"
        print(
            f"  {kind:8} {len(gaps):3} times: median {middle:.2f} s, "
            f"worst {worst:.2f} s, {verdict} ({wanted})",
            flush=True,
        )
        figures[kind] = {"gaps": gaps, "median": middle, "worst": worst, "good": good}
    return figures
