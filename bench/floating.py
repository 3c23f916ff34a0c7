"""A floating address moves: for how long a client that asks all the time has no answer.

Two machines compete for the address, each with a service that answers with its name.
The program that has it is stopped, killed with SIGKILL, its whole node is killed with
it, or its service ends, in turns; then all is put right, and the next round is the
other one's. A client in the mesh asks with curl, again and again. Of each round, the
time from the last answer of the one to the first of the other counts.
"""

import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, Mesh, MeshNode
from netlab.process import Process

ROUNDS = int(os.environ.get("BENCH_PAIRS", "20"))
KINDS = ("stopped", "killed", "service", "node")
WORST_TARGETS = {"stopped": 1.0, "killed": 5.0, "service": 5.0, "node": 6.0}
"""Seconds without an answer, at worst. Where the whole node dies, clients find out that
it is silent only when another one announces the address."""
ADDRESS, PORT = "10.60.0.10", 8000
STEADY = 3.0
MOVED_WITHIN = 60.0
K8S = (sys.executable, "-c", "from meshwg.cli.kubernetes import main; main()")
_SERVICE = f"""
import http.server, sys

class Names(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", {PORT}), Names).serve_forever()
"""
_ASKING = (
    f"while :; do echo $(date +%s.%N) $(curl -s -m 0.2 http://{ADDRESS}:{PORT}/); "
    "sleep 0.02; done"
)


@dataclass(slots=True)
class Competitor:
    """A machine that may have the address."""

    node: MeshNode
    service: Process
    program: Process

    @property
    def host(self) -> Host:
        return self.node.host


def run() -> dict[str, Any]:
    with Lab(title="bench floating") as lab:
        mesh = Mesh(lab)
        user = mesh.join(lab.add_host("user", lab.internet))
        competitors = [_competitor(lab, mesh, name) for name in ("one", "two")]
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(ROUNDS):
            kind = KINDS[number % len(KINDS)]
            found[kind].append(_round(user.host, competitors, kind))
    return _shown(found)


def _competitor(lab: Lab, mesh: Mesh, name: str) -> Competitor:
    node = mesh.join(lab.add_host(name, lab.internet))
    where = ("--data-dir", str(mesh.coordinator.data_dir))
    approve = [*COORDINATOR, "route", "approve", name, f"{ADDRESS}/32", *where]
    mesh.coordinator.host.run(approve)
    return Competitor(node, _serve(node.host), _compete(node.host))


def _serve(host: Host) -> Process:
    command = [sys.executable, "-c", _SERVICE, host.name]
    return host.popen(command, log="service.log")


def _compete(host: Host) -> Process:
    words = ["vip", "--arbiter", "coordinator", "--address", ADDRESS]
    words += ["--name", host.name, "--check", f"http://127.0.0.1:{PORT}/"]
    return host.popen([*K8S, *words], log="vip.log")


def _round(user: Host, competitors: list[Competitor], kind: str) -> float:
    """Do something to the one that has the address; return how long nobody did."""
    asking = user.popen(["sh", "-c", _ASKING], log="curl.log")
    user.wait_until(lambda: _answers(asking) != [], "somebody answers", MOVED_WITHIN)
    time.sleep(STEADY)
    name = _answers(asking)[-1][1]
    holder = next(each for each in competitors if each.host.name == name)
    _disturb(holder, kind)
    user.wait_until(
        lambda: _answers(asking)[-1][1] != name, f"{name} has it no more", MOVED_WITHIN
    )
    answers = _answers(asking)
    asking.kill()
    _mend(holder, kind)
    return next(
        after[0] - before[0]
        for before, after in pairwise(answers)
        if before[1] == name != after[1]
    )


def _disturb(holder: Competitor, kind: str) -> None:
    match kind:
        case "stopped":
            holder.program.stop()
        case "killed":
            holder.program.kill()
        case "service":
            holder.service.kill()
        case "node":
            holder.program.kill()
            holder.node.process.kill()


def _mend(holder: Competitor, kind: str) -> None:
    if kind == "service":
        holder.service = _serve(holder.host)
        return
    if kind == "node":
        holder.node.start()
        holder.node.wait_until_joined()
    holder.program = _compete(holder.host)
    holder.program.wait_for_line("The lease of the floating address is with")


def _answers(asking: Process) -> list[tuple[float, str]]:
    """Return when somebody answered, and who."""
    found = []
    for line in asking.output().splitlines():
        at, _, name = line.partition(" ")
        if name:
            found.append((float(at), name))
    return found


def _shown(found: dict[str, list[float]]) -> dict[str, Any]:
    """Print a table; return its figures."""
    figures: dict[str, Any] = {}
    for kind, gaps in found.items():
        if not gaps:
            continue
        middle, worst, target = median(gaps), max(gaps), WORST_TARGETS[kind]
        verdict = "as wanted" if worst <= target else "not as wanted"
        print(
            f"  {kind:8} {len(gaps):3} times: median {middle:.2f} s, "
            f"worst {worst:.2f} s, {verdict} (below {target:g} s)",
            flush=True,
        )
        figures[kind] = {"gaps": gaps, "median": middle, "worst": worst}
    return figures
