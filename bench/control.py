"""What coordinators carry: connections, memory, and how fast one change is known.

The coordinator is the program users run. The nodes are as light as the protocol allows
(:mod:`bench.lightmesh`). First there is one coordinator with its own database, and all
nodes see each other. Then there are three on one PostgreSQL with a fleet: a policy lets
each of its nodes reach ten servers, and a team of a thousand reach each other. So some
changes are seen by ten nodes, others by a thousand, and none by all.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.coordinators import Coordinator, alone, together
from bench.lightmesh import LightMesh, Timing, raise_limit
from bench.targets import Target, table

NODES = int(os.environ.get("BENCH_NODES", "5000"))
"""Connections that one coordinator is to hold."""
FLEET = int(os.environ.get("BENCH_FLEET", "50000"))
"""Connections that three of them are to hold; 0 leaves these out."""
WATCHERS = 1000
"""Nodes that see each other while changes are timed."""
SERVERS = 10
"""Nodes that all of the fleet may reach."""
CHANGES = int(os.environ.get("BENCH_CHANGES", "30"))
IDLE_SECONDS = 10.0
SMALL = 100
"""Nodes in the small mesh whose bytes per change are compared with the large one's."""
PER_TOKEN = 190
"""Nodes that join by one token: it lets in 200 at once."""
HOST = "127.53.0.1"
HOSTS = ("127.53.0.1", "127.53.0.2", "127.53.0.3")
DESCRIPTORS = 4096
"""Beside those of connections."""
POLICY = """
[tag-owners]
fleet = []
server = []
team = []

[[allow]]
from = ["tag:fleet"]
to = ["tag:server"]
ports = ["tcp/443"]

[[allow]]
from = ["tag:team"]
to = ["tag:team"]
"""


def run() -> dict[str, Any]:
    """Measure, print, and return the figures."""
    raise_limit(max(NODES, FLEET) + DESCRIPTORS)
    with alone(HOST) as coordinator:
        figures = asyncio.run(_measure_one(coordinator))
    if FLEET:
        with together(HOSTS) as coordinators:
            figures |= {"fleet": asyncio.run(_measure_fleet(coordinators))}
    return figures


async def _measure_one(server: Coordinator) -> dict[str, Any]:
    base, watchers = server.resident, min(WATCHERS, NODES)
    tokens = [server.make_token() for _ in range(0, NODES, PER_TOKEN)]
    mesh = LightMesh(*tokens)
    beating = asyncio.create_task(mesh.beat())
    await mesh.grow(min(SMALL, watchers))
    small = await mesh.time_changes(3, mesh.nodes)
    await mesh.grow(watchers)
    large = await mesh.time_changes(CHANGES, mesh.nodes)
    print(
        f"one change to {watchers} nodes: median {large.median * 1000:.0f} ms, "
        f"p99 {large.p99 * 1000:.0f} ms (target: under 1 s)"
    )
    print(
        f"bytes of one change: {large.size} with {watchers} nodes, "
        f"{small.size} with {min(SMALL, watchers)}"
    )
    began = time.perf_counter()
    joined = await mesh.grow(NODES)
    rate = joined / (time.perf_counter() - began) if joined else 0.0
    await asyncio.sleep(2.0)
    share = await _idle_share([server])
    memory = (server.resident - base) / NODES
    held = server.metric("meshwg_connections")
    print(
        f"{held:.0f} of {NODES} nodes connected, {memory / 1000:.1f} kB each "
        f"(target: 5,000 under 40 kB), {share:.0%} of one core while idle, "
        f"{rate:.0f} joins/s"
    )
    beating.cancel()
    mesh.close()
    return {
        "nodes": NODES,
        "connected": held,
        "bytes_per_node": memory,
        "idle_cpu_share": share,
        "joins_per_second": rate,
        "watchers": watchers,
        "change_median_s": large.median,
        "change_p99_s": large.p99,
        "change_bytes": large.size,
        "change_bytes_small_mesh": small.size,
    }


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes cost that some nodes see."""

    timing: Timing
    cpu: float
    """Seconds of all coordinators for one change."""
    size: int
    """Bytes that all spectators are sent for one change."""


async def _measure_fleet(coordinators: Sequence[Coordinator]) -> dict[str, Any]:
    first = coordinators[0]
    base = sum(each.resident for each in coordinators)
    first.apply_policy(POLICY)
    team, servers, fleet = (_light(coordinators, tag) for tag in _sizes())
    beating = [asyncio.create_task(each.beat()) for each in (team, servers, fleet)]
    for mesh, size in zip((team, servers), list(_sizes().values())[:2], strict=True):
        await mesh.grow(size)
    alone_ = await _changes(coordinators, team, team)
    joins, join_cpu = await _join(coordinators, fleet, _sizes()["fleet"])
    held = sum(each.metric("meshwg_connections") for each in coordinators)
    memory = (sum(each.resident for each in coordinators) - base) / FLEET
    share = await _idle_share(coordinators)
    all_ = await _changes(coordinators, team, team)
    few = await _changes(coordinators, fleet, servers)
    for task in beating:
        task.cancel()
    for mesh in (team, servers, fleet):
        mesh.close()
    print(f"{held:.0f} of {FLEET} nodes connected to {len(coordinators)} coordinators")
    targets = [
        Target("memory of a node in a coordinator", 24, "kB", [memory / 1000]),
        Target("time between joins", 1.0, "ms", [1000 / joins]),
        _p99(f"change to {WATCHERS} nodes, p99", all_),
        _p99("the same before the others join, p99", alone_),
        _p99(f"change to {SERVERS} of {FLEET} nodes, p99", few),
    ]
    print(table(targets), flush=True)
    print(
        f"CPU of a join {join_cpu * 1000:.2f} ms; of a change that {WATCHERS} see "
        f"{all_.cpu * 1000:.1f} ms and {all_.size} bytes, that {SERVERS} see "
        f"{few.cpu * 1000:.1f} ms and {few.size} bytes; {share:.0%} of a core while "
        "idle"
    )
    return {
        "nodes": FLEET,
        "connected": held,
        "idle_cpu_share": share,
        "cpu_per_join_s": join_cpu,
        "cpu_per_change_of_many_s": all_.cpu,
        "cpu_per_change_of_few_s": few.cpu,
        "bytes_per_change_of_many": all_.size,
        "bytes_per_change_of_few": few.size,
        "targets": [target.to_json() for target in targets],
    }


def _sizes() -> dict[str, int]:
    """Return how many nodes have each tag."""
    rest = FLEET - WATCHERS - SERVERS
    return {"team": WATCHERS, "server": SERVERS, "fleet": rest}


def _light(coordinators: Sequence[Coordinator], tag: str) -> LightMesh:
    """Return nodes that will have a tag, and take the coordinators in turn."""
    count = 1 + _sizes()[tag] // PER_TOKEN
    tokens = [coordinators[0].make_token(tags=[tag]) for _ in range(count)]
    return LightMesh(*tokens, urls=[each.url for each in coordinators])


async def _join(
    coordinators: Sequence[Coordinator], mesh: LightMesh, size: int
) -> tuple[float, float]:
    """Let nodes join; return how many a second, and the CPU seconds of each."""
    began, cpu = time.perf_counter(), _cpu(coordinators)
    joined = await mesh.grow(size)
    seconds, used = time.perf_counter() - began, _cpu(coordinators) - cpu
    return joined / seconds, used / joined


async def _changes(
    coordinators: Sequence[Coordinator],
    changing: LightMesh,
    watching: LightMesh,
) -> Changes:
    await watching.quiet()
    idle = await _idle_share(coordinators)
    began, cpu = time.perf_counter(), _cpu(coordinators)
    timing = await watching.time_changes(CHANGES, changing.nodes)
    beside = idle * (time.perf_counter() - began)
    used = max(0.0, _cpu(coordinators) - cpu - beside)
    return Changes(timing, used / CHANGES, sum(timing.sizes) // CHANGES)


def _cpu(coordinators: Sequence[Coordinator]) -> float:
    return sum(each.cpu for each in coordinators)


async def _idle_share(coordinators: Sequence[Coordinator]) -> float:
    """Return the share of a core that coordinators take without any change."""
    cpu = _cpu(coordinators)
    await asyncio.sleep(IDLE_SECONDS)
    return (_cpu(coordinators) - cpu) / IDLE_SECONDS


def _p99(name: str, changes: Changes) -> Target:
    return Target(name, 0.1, "s", [changes.timing.p99])
