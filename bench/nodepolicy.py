"""What a policy costs a node: one TCP stream and pings, with 500 rules and without.

Two pairs of nodes stand side by side, each with a coordinator of its own, and one of
the coordinators has a policy. They carry in turn, so that what the machine does beside
them falls on both. Before each turn, both pairs have 10,000 flows.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import traffic
from bench.idle import cpu_seconds
from bench.programs import data_path, data_paths
from bench.ratios import Ratio, table
from netlab.lab import Lab
from netlab.mesh import COORDINATOR, Mesh, MeshNode

ROUNDS = int(os.environ.get("BENCH_PAIRS", "9"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
RULES, FLOWS = 500, 10_000
PINGS = ("-c", "400", "-i", "0.01")
WITHIN = 60.0
"""Seconds for a direct path."""
GIGABYTE = 1e9
PORT = 9
"""The discard service's; a socket waits there, so that no error comes back."""
FIRST_SOURCE = 20_000
THROUGHPUT, PING = 0.97, 1.02
"""The part of the throughput that is left, and what a ping may take; at most that."""

Figures = dict[str, float]
Pair = tuple[MeshNode, MeshNode]


def run() -> dict[str, Any]:
    """Measure on each data path, print the table, and return the figures."""
    figures, ratios = {}, []
    for path in data_paths():
        with _nodes(path, policy=False) as plain, _nodes(path, policy=True) as ruled:
            rounds = [
                _round(path, number, plain, ruled) for number in range(1, ROUNDS + 1)
            ]
        figures[path] = rounds
        ratios += _ratios(path, rounds)
    print(table(ratios))
    return {"rounds": figures, "ratios": [ratio.to_json() for ratio in ratios]}


def _round(path: str, number: int, plain: Pair, ruled: Pair) -> list[Figures]:
    """Measure without the policy and with it, and say what was found."""
    turns = [plain, ruled] if number % 2 else [ruled, plain]
    measured = {id(pair): _measure(pair) for pair in turns}
    pairs = [measured[id(plain)], measured[id(ruled)]]
    for name, each in zip(("without", "500 rules"), pairs, strict=True):
        print(
            f"  {number}/{ROUNDS} {path:7}{name:10}{each['megabits']:8,.0f} Mbit/s"
            f"{each['cpu_per_gigabyte']:8.2f} CPU s/GB"
            f"{each['ping']:10.3f} ms a ping",
            flush=True,
        )
    return pairs


def _measure(pair: Pair) -> Figures:
    one, other = pair
    _begin_flows(one, other)
    pinged = traffic.ping(one.host, other.address(), *PINGS)
    pids = [node.process.pid for node in pair]
    before = sum(map(cpu_seconds, pids))
    load = traffic.streams(one.host, other.host, other.address(), seconds=SECONDS)
    cpu = sum(map(cpu_seconds, pids)) - before
    # The first second is not among what was received, but its CPU time is.
    carried = load.received * (SECONDS + 1) / SECONDS / GIGABYTE
    return {
        "megabits": load.megabits,
        "cpu_per_gigabyte": cpu / carried,
        "ping": pinged,
    }


def _ratios(path: str, rounds: list[list[Figures]]) -> list[Ratio]:
    """Return the medians of what pairs of turns say, each next to its target."""
    share = median(ruled["megabits"] / plain["megabits"] for plain, ruled in rounds)
    cost = median(
        ruled["cpu_per_gigabyte"] / plain["cpu_per_gigabyte"] for plain, ruled in rounds
    )
    ping = median(ruled["ping"] / plain["ping"] for plain, ruled in rounds)
    return [
        Ratio(f"{path}: throughput with / without", share, 1.0, THROUGHPUT, True),
        Ratio(f"{path}: CPU with / without", cost, 1.0, 1 / THROUGHPUT, False),
        Ratio(f"{path}: ping with / without", ping, 1.0, PING, False),
    ]


@contextmanager
def _nodes(path: str, *, policy: bool) -> Iterator[Pair]:
    """Start two nodes with a direct path, perhaps with a policy."""
    with Lab(title="bench nodepolicy") as lab, TemporaryDirectory() as folder:
        mesh = Mesh(lab)
        with data_path(path):
            one, other = (
                mesh.join(lab.add_host(name, lab.internet, ipv6=False)) for name in "ab"
            )
        if policy:
            _apply(mesh, Path(folder) / "policy.toml")
        one.ping(other)
        one.host.wait_until(
            lambda: one.peer(other)["path"]["kind"] == "direct",
            "its path is direct",
            WITHIN,
        )
        yield one, other


def _apply(mesh: Mesh, file: Path) -> None:
    """Let the members reach each other by the last of many rules."""
    rule = '[[allow]]\nfrom = ["any"]\nto = ["any"]\nports = ["{}"]\n'
    ports = [f"tcp/{number}" for number in range(1, RULES)]
    last = rule.replace('"{}"', '"tcp/*", "udp/*", "icmp"')
    file.write_text("".join(map(rule.format, ports)) + last)
    coordinator = mesh.coordinator
    where = ["--data-dir", str(coordinator.data_dir)]
    coordinator.host.run([*COORDINATOR, "policy", "apply", str(file), *where])


def _begin_flows(one: MeshNode, other: MeshNode) -> None:
    """Send a datagram of each of many flows, which somebody listens to."""
    far, near = other.address(), one.address()

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((far, PORT))
        return sock

    def send() -> None:
        for source in range(FIRST_SOURCE, FIRST_SOURCE + FLOWS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((near, source))
                sock.sendto(b"flow", (far, PORT))

    with other.host.call(listen):
        one.host.call(send)
