"""Direct paths over TCP: how soon they are there, what they carry, what the port costs.

Nodes between which no datagram gets through meet for the first time. Then the same
transfer goes over a stream and, from a node beside the first that takes no part in
streams, through the relay, in turns. And two nodes are looked at that have nothing to
do, one of which accepts streams.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from bench.idle import MEGABYTE, cpu_seconds
from bench.targets import NEVER, Target
from netlab import matrix, presets
from netlab.errors import LabError
from netlab.lab import Lab
from netlab.matrix import Cell, Progress
from netlab.mesh import Mesh, MeshNode

KINDS = (
    presets.PUBLIC,
    presets.UDP_BLOCKED,
    presets.PORT_RESTRICTED,
    presets.DOUBLE_CONE,
    presets.OFFICE,
)
PAIRS = (
    (presets.UDP_BLOCKED, presets.PUBLIC),
    (presets.UDP_BLOCKED, presets.UDP_BLOCKED),
    (presets.UDP_BLOCKED, presets.PORT_RESTRICTED),
    (presets.UDP_BLOCKED, presets.DOUBLE_CONE),
    (presets.OFFICE, presets.OFFICE),
)
TRANSFERS = 3
SECONDS = 3
"""Both carry about the same where processors are the limit, as in a lab: a stream does
without the relay's work, and drops what waits for too long."""

SETTLING, IDLE = 5.0, 10.0
"""Seconds until a node has nothing to do any more, and for which it is watched then."""


def targets(lab: Lab, runs: int, say: Callable[[str], None]) -> list[Target]:
    """Measure it all; return the targets."""
    say(f"{len(KINDS)} kinds of networks with {runs} nodes each are joining")
    mesh = matrix.build(lab, KINDS, numbers=range(1, runs + 1))
    groups = list(_meetings(mesh, runs, say))
    ratios = list(_transfers(lab, mesh, say))
    say("two nodes without anything to do are watched")
    memory, cpu = _rest(lab, mesh)
    seconds = [each for group in groups for each in group]
    name = "direct by TCP, worst pair of kinds"
    return [
        Target(name, 2.0, "s", seconds, groups),
        Target("throughput of the relay to that of TCP", 1.25, "", ratios),
        Target("memory of a node for its TCP port", 1.0, "MB", [memory]),
        Target(f"CPU in {IDLE:g} s for its TCP port", 0.05, "s", [cpu]),
    ]


def _meetings(
    mesh: Mesh, runs: int, say: Callable[[str], None]
) -> Iterator[Sequence[float]]:
    """Yield for each pair of kinds the seconds to a stream."""
    cells = {
        pair: [Cell(*pair, _numbers(run, runs)) for run in range(runs)]
        for pair in PAIRS
    }

    def tell(progress: Progress) -> None:
        if progress.outcome is not None and progress.outcome.problem:
            say(f"{' and '.join(progress.cell.nodes)}: {progress.outcome.problem}")

    every = [cell for each in cells.values() for cell in each]
    outcomes = matrix.run(mesh, every, tell)
    for (one, other), each in cells.items():
        times = [outcomes[cell].direct for cell in each]
        seconds = [NEVER if when is None else when for when in times]
        say(f"{one.name} and {other.name}: {median(seconds):.2f} s")
        yield seconds


def _numbers(run: int, runs: int) -> tuple[int, int]:
    """Return two nodes' numbers; no two runs have the same two of one kind."""
    return run + 1, (run + 1) % runs + 1


def _transfers(lab: Lab, mesh: Mesh, say: Callable[[str], None]) -> Iterator[float]:
    """Yield how much less goes through the relay than over a stream."""
    cell = Cell(presets.UDP_BLOCKED, presets.PUBLIC, (1, 1))
    direct, server = matrix.nodes_of(cell, mesh)
    access = lab.add_access("relayed-nat", presets.UDP_BLOCKED)
    relayed = mesh.join(lab.add_host("relayed", access), "--no-tcp")
    for node, method in ((direct, "tcp"), (relayed, "relay")):
        node.ping(server)
        node.host.wait_until(
            partial(_goes_by, node, server, method),
            f"it reaches {server.name} by {method}",
        )
    for _ in range(TRANSFERS):
        by_stream, by_relay = (_throughput(each, server) for each in (direct, relayed))
        say(f"{by_stream:.0f} Mbit/s over TCP, {by_relay:.0f} through the relay")
        yield by_relay / by_stream


def _goes_by(node: MeshNode, peer: MeshNode, method: str) -> bool:
    return bool(node.peer(peer)["path"]["method"] == method)


def _throughput(node: MeshNode, server: MeshNode) -> float:
    """Return how many Mbit/s a node sends to another."""
    serving = server.host.popen(["iperf3", "-s", "-1", "--forceflush"])
    serving.wait_for_line("Server listening")
    command = ["iperf3", "-J", "-c", server.address(), "-t", str(SECONDS), "-O", "1"]
    done = node.host.run(command, timeout=SECONDS + 30)
    received: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    serving.wait(timeout=10)
    return received / 1e6


def _rest(lab: Lab, mesh: Mesh) -> tuple[float, float]:
    """Return the memory and the CPU by which nodes with and without the port differ."""
    nodes = [
        mesh.join(lab.add_host(name, lab.internet), *options)
        for name, options in (("with-port", ()), ("without", ("--no-tcp",)))
    ]
    time.sleep(SETTLING)
    before = [cpu_seconds(node.process.pid) for node in nodes]
    time.sleep(IDLE)
    used = [
        cpu_seconds(node.process.pid) - was
        for node, was in zip(nodes, before, strict=True)
    ]
    first, second = (_private_bytes(node.process.pid) for node in nodes)
    return max(0.0, (first - second) / MEGABYTE), max(0.0, used[0] - used[1])


def _private_bytes(pid: int) -> int:
    """Return the memory that a process shares with no other."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) << 10
    raise LabError(f"The kernel does not tell the memory of process {pid}.")
