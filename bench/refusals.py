"""First packets of one member while another one sends what is refused.

The first packet of each flow is judged before it passes, and judging takes time. A
member whose node was tampered with sends a server as much as it can of what no rule
allows; beside it, another one begins a flow every few milliseconds, as the rules allow,
and waits for an answer to its first packet. On each data path of the server.
"""

import os
import socket
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.flood import RATE
from bench.targets import NEVER, Target, table
from meshwg.runtime.core import CORE, PYTHON, find_core
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, MESHWG, Mesh, MeshNode
from netlab.process import Process

ROOT = Path(__file__).parents[1]
PAIRS = int(os.environ.get("BENCH_PAIRS", "3"))
FLOWS = 100
"""That are begun in each round, before the flood and during it."""
PAUSE = 0.02
PATIENCE = 1.0
"""Seconds that somebody waits for an answer."""
ALLOWED, REFUSED = 5060, 9
LOST = 5.0
"""Per cent of first packets that may be lost beside the flood."""
POLICY = f"""
[[allow]]
from = ["any"]
to = ["node:server"]
ports = ["udp/{ALLOWED}"]
"""
ECHO = f"""
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", {ALLOWED}))
print("listening", flush=True)
while True:
    sock.sendto(*sock.recvfrom(99))
"""


class Participant(MeshNode):
    """A node over some data path, or one that enforces nothing."""

    def __init__(
        self, host: Host, token: str, datapath: str, *, is_lawless: bool = False
    ) -> None:
        self._environment = {
            "MESHWG_DATAPATH": datapath,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'netns-lab'}",
        }
        self._program = [*MESHWG]
        if is_lawless:
            self._program = [sys.executable, "-m", "bench.lawless"]
        super().__init__(host, token)

    def start(self, *options: str) -> Process:
        words = [*self._program, *self._command[len(MESHWG) :], *options]
        self.process = self.host.popen(words, log="node.log", env=self._environment)
        return self.process


def run() -> dict[str, Any]:
    """Measure on each data path, print the table, and return the figures."""
    kinds = [PYTHON] + ([CORE] if find_core() is not None else [])
    targets = [target for kind in kinds for target in measure(kind)]
    print(table(targets), flush=True)
    return {"rate": RATE, "targets": [each.to_json() for each in targets]}


def measure(kind: str) -> list[Target]:
    """Return what became of first packets, and how long their answers took."""
    with Lab(title=f"bench refusals: {kind}") as lab:
        server, quiet, greedy = _mesh(lab, kind)
        waits: dict[str, list[float]] = {"alone": [], "beside": []}
        for _ in range(PAIRS):
            waits["alone"] += begin_flows(quiet.host, server.address())
            flood = _flood(greedy.host, server.address())
            waits["beside"] += begin_flows(quiet.host, server.address())
            flood.stop()
        refused = server.status()["counters"]["drops"]
    answered = {when: [w for w in each if w < NEVER] for when, each in waits.items()}
    print(f"  {kind}: {refused.get('denied-inbound', 0):,} packets refused", flush=True)
    lost = 100 - 100 * len(answered["beside"]) / len(waits["beside"])
    took = median(answered["beside"] or [NEVER]) * 1000
    usual = median(answered["alone"] or [NEVER]) * 1000
    return [
        Target(f"{kind}: first packets lost beside a flood", LOST, "%", [lost]),
        Target(f"{kind}: answer beside a flood", PATIENCE * 1000, "ms", [took]),
        Target(f"{kind}: answer without one", PATIENCE * 1000, "ms", [usual]),
    ]


def begin_flows(host: Host, address: str, count: int = FLOWS) -> list[float]:
    """Begin flows; return the seconds until the first packet of each is answered."""

    def begin() -> list[float]:
        waits = []
        for _ in range(count):
            waits.append(_begin_flow(address))
            time.sleep(PAUSE)
        return waits

    return host.call(begin)


def _begin_flow(address: str) -> float:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        begun = time.monotonic()
        try:
            sock.connect((address, ALLOWED))
            sock.send(b"first")
            sock.recv(99)
        except OSError:
            return NEVER
        return time.monotonic() - begun


def _mesh(lab: Lab, kind: str) -> tuple[MeshNode, MeshNode, MeshNode]:
    """Return the server, who listens, and both members, whom it knows."""
    mesh = Mesh(lab)
    coordinator = mesh.coordinator
    nodes = [
        Participant(
            lab.add_host(name, lab.internet),
            coordinator.token(),
            kind,
            is_lawless=name == "greedy",
        )
        for name in ("server", "quiet", "greedy")
    ]
    for node in nodes:
        node.wait_until_joined()
    policy = coordinator.host.write_file("policy.toml", POLICY)
    where = ["--data-dir", str(coordinator.data_dir)]
    coordinator.host.run([*COORDINATOR, "policy", "apply", str(policy), *where])
    server, quiet, greedy = nodes
    server.host.popen([sys.executable, "-c", ECHO]).wait_for_line("listening")
    for each in (quiet, greedy):
        while begin_flows(each.host, server.address(), 1) == [NEVER]:
            time.sleep(PAUSE)
    return server, quiet, greedy


def _flood(host: Host, address: str) -> Process:
    words = [sys.executable, "-m", "bench.flood", address, str(REFUSED), "60"]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'netns-lab'}"}
    return host.popen(words, env=environment)
