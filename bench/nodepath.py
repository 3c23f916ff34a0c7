"""What a mesh node costs next to the bare engine: one TCP stream, direct and relayed.

In each round, and on each data path: a bare ``meshwg-wg`` between two hosts; two nodes
with public addresses, which are direct; and two nodes that the relay in the coordinator
connects, on the same machine as everything else, because they drop what comes from each
other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from bench import traffic
from bench.idle import cpu_seconds
from bench.programs import Program, data_path, data_paths, ours
from bench.ratios import Ratio, table
from bench.twohosts import tunnel
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import Mesh, MeshNode

ROUNDS = int(os.environ.get("BENCH_PAIRS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
UNDER_LOAD = 0.02
"""Seconds between pings while a stream runs."""
WITHIN = 60.0
"""Seconds for a path to become what is measured."""
GIGABYTE = 1e9

BARE, DIRECT, RELAYED = "bare meshwg-wg", "node, direct", "node, relayed"
FLOORS = {DIRECT: 0.95, RELAYED: 0.5}
"""The parts of the bare engine's throughput that nodes have to reach."""

Figures = dict[str, float]


def run() -> dict[str, Any]:
    """Measure all rounds, print the table and the ratios, and return the figures."""
    runs: dict[str, dict[str, list[Figures]]] = {
        path: {BARE: [], DIRECT: [], RELAYED: []} for path in data_paths()
    }
    print(f"  {'':26}{'Mbit/s':>8}{'CPU s/GB':>10}{'ping beside':>14}", flush=True)
    for number in range(1, ROUNDS + 1):
        for program, path in zip(ours(), data_paths(), strict=True):
            measured = {BARE: _bare(program), DIRECT: _node(path, is_direct=True)}
            measured[RELAYED] = _node(path, is_direct=False)
            for kind, figures in measured.items():
                runs[path][kind].append(figures)
                print(f"  {number}/{ROUNDS} {path:7}{_row(kind, figures)}", flush=True)
    medians = {
        path: {kind: _medians(measured) for kind, measured in kinds.items()}
        for path, kinds in runs.items()
    }
    ratios = [ratio for path in medians for ratio in _ratios(path, medians[path])]
    print(table(ratios))
    return {
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "median": medians,
        "ratios": [ratio.to_json() for ratio in ratios],
        "runs": runs,
    }


def _bare(program: Program) -> Figures:
    with tunnel(program) as pair:
        pids = [end.process.pid for end in (pair.left, pair.right)]
        return _measure(pair.left.host, pair.right.host, pair.right.address, pids)


def _node(path: str, *, is_direct: bool) -> Figures:
    with _nodes(path, is_direct=is_direct) as (one, other):
        pids = [node.process.pid for node in (one, other)]
        return _measure(one.host, other.host, other.address(), pids)


@contextmanager
def _nodes(path: str, *, is_direct: bool) -> Iterator[tuple[MeshNode, MeshNode]]:
    """Start two nodes, and wait until the path is what is to be measured."""
    with Lab(title="bench nodepath") as lab:
        mesh = Mesh(lab)
        hosts = [lab.add_host(name, lab.internet, ipv6=False) for name in "ab"]
        if not is_direct:
            _separate(*hosts)
        with data_path(path):
            one, other = (mesh.join(host) for host in hosts)
        one.ping(other)
        for node, peer in ((one, other), (other, one)):
            _wait_until(node, peer, "direct" if is_direct else "relay")
        yield one, other


def _wait_until(node: MeshNode, peer: MeshNode, kind: str) -> None:
    node.host.wait_until(
        lambda: node.peer(peer)["path"]["kind"] == kind, f"its path is {kind}", WITHIN
    )


def _separate(one: Host, other: Host) -> None:
    """Let two hosts reach all but each other."""
    rules = f"ip saddr {other.address(4)} drop; ip daddr {other.address(4)} drop;"
    for hook in ("input", "output"):
        chain = f"type filter hook {hook} priority 0; {rules}"
        one.run(["nft", "add", "table", "inet", "apart"])
        one.run(["nft", f"add chain inet apart {hook} {{ {chain} }}"])


def _measure(client: Host, server: Host, address: str, pids: list[int]) -> Figures:
    before = sum(map(cpu_seconds, pids))
    with traffic.pinging(client, address, UNDER_LOAD) as pings:
        load = traffic.streams(client, server, address, seconds=SECONDS)
        cpu = sum(map(cpu_seconds, pids)) - before
    # The first second is not among what was received, but its CPU time is.
    carried = load.received * (SECONDS + 1) / SECONDS / GIGABYTE
    return {
        "megabits": load.megabits,
        "cpu_per_gigabyte": cpu / carried,
        "ping_under_load": pings.mean(),
    }


def _medians(runs: list[Figures]) -> Figures:
    return {key: median(run[key] for run in runs) for key in runs[0]}


def _ratios(path: str, medians: dict[str, Figures]) -> list[Ratio]:
    bare = medians[BARE]["megabits"]
    return [
        Ratio(f"{path}: {kind} / {BARE}", medians[kind]["megabits"], bare, floor, True)
        for kind, floor in FLOORS.items()
    ]


def _row(kind: str, figures: Figures) -> str:
    return (
        f"{kind:15}{figures['megabits']:8,.0f}{figures['cpu_per_gigabyte']:10.1f}"
        f"{figures['ping_under_load']:11.1f} ms"
    )
