"""What a node carries next to the bare engine, and what it costs with 1,000 peers.

What it carries is :mod:`bench.nodepath`; the rest is here: the cost of one node that
knows 1,000 peers and talks to 50 of them.

The node is the real program, behind a home router, in a mesh with the real coordinator
and real peers at public addresses; the members that it only knows have joined and left.
It is measured before it ever talked, with 50 peers that it said something to lately, so
that all their paths are watched, and while data goes to all of them.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bench import nodepath
from bench.idle import MEGABYTE, cpu_seconds, resident_bytes
from bench.lightmesh import LightMesh
from meshwg.wire.token import JoinToken
from netlab import presets
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import Mesh, MeshNode

KNOWN = int(os.environ.get("BENCH_KNOWN", "1000"))
ACTIVE = int(os.environ.get("BENCH_ACTIVE", "50"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "30"))
"""For each of the three measurements."""

WORD_INTERVAL = 20.0
"""Seconds between two packets that keep a peer active; it falls asleep after 45."""

RATE = 20
"""Packets a second to each peer while there is traffic."""

SIZE = 1000
PORT = 9
"""The discard service's; a socket waits there, so that no error comes back."""

SETTLING = 15.0
LOOPBACK = "http://127.53.0.1:8443"
"""Where light nodes reach the coordinator on its own machine."""
DIRECT_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one measurement found."""

    resident: int
    """Bytes."""
    cpu: float
    """Share of one core."""
    sent: float
    received: float
    """Datagrams a second on the node's interface to its router."""

    def row(self, name: str) -> str:
        return (
            f"{name:<34} {self.resident / MEGABYTE:7.1f} MB {self.cpu:8.2%}"
            f" {self.sent:9.1f}/s {self.received:9.1f}/s"
        )


def run() -> dict[str, Any]:
    """Measure, print the tables, and return the figures."""
    return {"paths": nodepath.run(), **_run_with_many_peers()}


def _run_with_many_peers() -> dict[str, Any]:
    with Lab(title="bench node") as lab:
        mesh = Mesh(lab)
        print(f"  {KNOWN - ACTIVE} members join and leave", flush=True)
        _fill(mesh, KNOWN - ACTIVE)
        print(f"  {ACTIVE} real nodes join", flush=True)
        hosts = [lab.add_host(f"peer-{n}", lab.internet) for n in range(ACTIVE)]
        mesh.join_all(hosts)
        node = mesh.join(lab.add_host("node", lab.add_router("nat", presets.LINUX)))
        peers = [mesh.nodes[host.name] for host in hosts]
        return _measure(node, peers)


def _fill(mesh: Mesh, count: int) -> None:
    """Let light nodes join the mesh and leave it again, as members."""
    # A token lets in 200 nodes at once.
    tokens = [JoinToken.parse(mesh.coordinator.token()) for _ in range(0, count, 200)]

    async def join_and_leave() -> None:
        light = LightMesh(*tokens, urls=[LOOPBACK])
        await light.grow(count)
        light.close()

    mesh.coordinator.host.call(lambda: asyncio.run(join_and_leave()))


def _measure(node: MeshNode, peers: list[MeshNode]) -> dict[str, Any]:
    known = len(node.status()["peers"])
    time.sleep(SETTLING)
    print(f"{'':<34} {'resident':>10} {'CPU':>8} {'sent':>11} {'received':>11}")
    costs = {"known": _cost(node, lambda: time.sleep(SECONDS))}
    print(costs["known"].row(f"{known} known, none active"), flush=True)
    speaker = _Speaker(node.host, peers)
    speaker.say_something()
    for peer in peers:
        _wait_until_direct(node, peer)
    _keep_active(speaker, SETTLING)
    costs["active"] = _cost(node, lambda: _keep_active(speaker, SECONDS))
    print(costs["active"].row(f"{len(peers)} of them active"), flush=True)
    costs["busy"] = _cost(node, lambda: speaker.talk(SECONDS))
    rate = RATE * len(peers)
    print(costs["busy"].row(f"{rate} packets/s to all of these"), flush=True)
    return {
        "known": known,
        "active": len(peers),
        "seconds": SECONDS,
        "data_rate": rate,
        "data_size": SIZE,
        "costs": {
            name: {
                "resident_bytes": cost.resident,
                "cpu_share": cost.cpu,
                "sent_per_second": cost.sent,
                "received_per_second": cost.received,
            }
            for name, cost in costs.items()
        },
    }


def _wait_until_direct(node: MeshNode, peer: MeshNode) -> None:
    node.host.wait_until(
        lambda: node.peer(peer)["path"]["kind"] == "direct",
        f"its path to {peer.name} is direct",
        DIRECT_WITHIN,
    )


def _keep_active(speaker: "_Speaker", seconds: float) -> None:
    """Send a packet to every peer now and then."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        speaker.say_something()
        time.sleep(min(left, WORD_INTERVAL))


def _cost(node: MeshNode, during: Callable[[], object]) -> Cost:
    """Return what the node costs while something goes on."""
    pid = node.process.pid
    began, cpu, packets = time.monotonic(), cpu_seconds(pid), _packets(node.host)
    during()
    seconds = time.monotonic() - began
    cpu = cpu_seconds(pid) - cpu
    received, sent = (
        after - before
        for before, after in zip(packets, _packets(node.host), strict=True)
    )
    return Cost(resident_bytes(pid), cpu / seconds, sent / seconds, received / seconds)


def _packets(host: Host) -> tuple[int, int]:
    """Return how many packets a host has received and sent on its first interface."""
    lines = host.run(["cat", "/proc/net/dev"]).stdout.splitlines()
    name = f"{host.first_interface}:"
    fields = next(line.split() for line in lines if line.split()[0] == name)
    return int(fields[2]), int(fields[10])


class _Speaker:
    """Sends packets from a host to the mesh addresses of peers, who listen."""

    def __init__(self, host: Host, peers: list[MeshNode]) -> None:
        self._socket = host.udp_socket()
        with ThreadPoolExecutor(8) as pool:
            addresses = list(pool.map(MeshNode.address, peers))
        self._targets = [(address, PORT) for address in addresses]
        self._listeners: list[socket.socket] = [
            peer.host.udp_socket(port=PORT) for peer in peers
        ]

    def say_something(self) -> None:
        """Send one packet to everybody."""
        for target in self._targets:
            self._socket.sendto(bytes(SIZE), target)

    def talk(self, seconds: float) -> None:
        """Send to everybody in turn, evenly, at :data:`RATE`."""
        due = time.monotonic()
        gap = 1 / (RATE * len(self._targets))
        for number in range(int(seconds / gap)):
            self._socket.sendto(bytes(SIZE), self._targets[number % len(self._targets)])
            due += gap
            time.sleep(max(0.0, due - time.monotonic()))
