"""What a node costs its machine, and how long people wait for it.

Two real nodes behind routers of their own, in a mesh with the real coordinator: how
soon they list each other, the CPU of a start, how soon a restarted node answers again,
its memory with two peers, and how long the commands take that people type.
"""

import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench.idle import MEGABYTE, cpu_seconds, resident_bytes
from bench.pinging import Pinging
from bench.targets import Target, table
from netlab import presets
from netlab.errors import LabError
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import MESHWG, Mesh, MeshNode

RUNS = max(7, int(os.environ.get("BENCH_RUNS", "7")))
SETTLING = 5.0
"""Seconds from a node's first answer until its memory is looked at."""
POLL = 0.005
LISTED_WITHIN = 60.0


def run() -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    with Lab(title="bench start") as lab:
        mesh = Mesh(lab)
        listed = [_listing(lab, mesh, number) for number in range(RUNS)]
        one, other = mesh.nodes["one-0"], mesh.nodes["other-0"]
        third = mesh.join(lab.add_host("third", lab.internet))
        one.ping(third)
        restarts = [_restart(one, other) for _ in range(RUNS)]
        targets = [
            Target("two new nodes list each other", 1.5, "s", listed),
            Target("first answer after a restart", 0.7, "s", [r[0] for r in restarts]),
            Target("CPU of a start", 0.8, "s", [r[1] for r in restarts]),
            Target("resident with two peers", 45, "MB", [_resident(one, other, third)]),
            *_commands(lab, mesh, one),
        ]
    print(table(targets), flush=True)
    return {"targets": [target.to_json() for target in targets]}


def _listing(lab: Lab, mesh: Mesh, number: int) -> float:
    """Start two new nodes at once; return after how many seconds both list both."""
    hosts = [
        lab.add_host(f"{name}-{number}", lab.add_access(f"{name}-{number}-nat", kind))
        for name, kind in (("one", presets.LINUX), ("other", presets.HOME_ROUTER))
    ]
    began = time.monotonic()
    nodes = [mesh.start(host) for host in hosts]
    one, other = nodes
    _poll(lambda: _lists(one, other) and _lists(other, one), f"{nodes} are listed")
    seconds = time.monotonic() - began
    for node in nodes:
        node.wait_until_joined()
    if number:
        for node in nodes:
            node.process.stop()
    return seconds


def _lists(one: MeshNode, other: MeshNode) -> bool:
    with suppress(LabError):
        peers = one.status()["peers"]
        return any(each["name"] == other.name and each["online"] for each in peers)
    return False


def _restart(one: MeshNode, other: MeshNode) -> tuple[float, float]:
    """Restart a node that another pings; return the seconds and its CPU until then."""
    one.ping(other)
    pinging = Pinging(other, one)
    one.process.kill()
    time.sleep(1)
    process, began = one.start(), time.time()
    _poll(lambda: pinging.answered_after(began) is not None, f"{one.name} answers")
    cpu = cpu_seconds(process.pid)
    answered = pinging.answered_after(began)
    pinging.stop()
    one.wait_until_joined()
    assert answered is not None
    return answered - began, cpu


def _resident(one: MeshNode, other: MeshNode, third: MeshNode) -> float:
    for peer in (other, third):
        one.ping(peer)
    time.sleep(SETTLING)
    return resident_bytes(one.process.pid) / MEGABYTE


def _commands(lab: Lab, mesh: Mesh, one: MeshNode) -> list[Target]:
    """Return how long commands take, and how much CPU of it is their own."""
    alone = lab.add_host("alone", lab.add_access("alone-nat", presets.HOME_ROUTER))
    server = f"{mesh.coordinator.host.address()}:3478"
    cases: tuple[tuple[str, float, Host, list[str]], ...] = (
        ("status", 0.15, one.host, ["status"]),
        ("netcheck with a daemon", 0.3, one.host, ["netcheck"]),
        ("netcheck without one", 1.0, alone, ["netcheck", "--stun", server]),
    )
    targets = []
    for name, limit, host, arguments in cases:
        timed = [_timed(host, arguments) for _ in range(RUNS)]
        targets.append(Target(name, limit, "s", [wall for wall, _ in timed]))
        targets.append(Target(f"{name}, its CPU", limit, "s", [c for _, c in timed]))
    return targets


def _timed(host: Host, arguments: list[str]) -> tuple[float, float]:
    """Return the seconds that a command takes, and its CPU seconds."""
    before, began = _children(), time.monotonic()
    host.run([*MESHWG, *arguments])
    return time.monotonic() - began, _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _poll(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LISTED_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"It is not true within {LISTED_WITHIN:g} s that {what}.")
        time.sleep(POLL)
