"""Boxes that inspect packets: checks pass on a direct path, and the tunnel does not.

Laptops ping a server through routers that begin to drop data messages, or handshakes.
Those who lose data are let through again after a while, and should notice; a session
needs no handshake for three minutes, so the others are watched for longer.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from bench.pinging import STEADY, Pinging, is_direct
from bench.targets import NEVER, Target
from netlab import presets
from netlab.lab import Lab
from netlab.mesh import Mesh, MeshNode
from netlab.router import Router

DATA_TARGET = 15.0
"""Seconds that data may stay unanswered while checks are answered."""

HANDSHAKE_TARGET = 10.0
"""Seconds: two handshakes of WireGuard without an answer."""

AGAIN_TARGET = 120.0
"""Seconds: the direct path is tried again after minutes, and not every few seconds."""

DEMOTED_WITHIN = 30.0
SESSION = 185.0
"""Seconds after which a session is at its end that could not be renewed."""

POLL = 0.1
DATA, HANDSHAKES = ("0x04000000",), ("0x01000000", "0x02000000")
"""How messages begin; those that a relay carries begin otherwise."""


@dataclass(frozen=True, slots=True)
class InspectedPair:
    """A laptop behind a router that becomes such a box, and the server it talks to."""

    laptop: MeshNode
    server: MeshNode
    router: Router

    @property
    def is_direct(self) -> bool:
        return is_direct(self.laptop, self.server) and is_direct(
            self.server, self.laptop
        )

    @property
    def is_relayed(self) -> bool:
        ends = (self.laptop, self.server), (self.server, self.laptop)
        return all(one.peer(other)["path"]["kind"] == "relay" for one, other in ends)

    def drop(self, beginnings: Sequence[str]) -> None:
        """Let the router drop what begins so."""
        rules = [f"meta l4proto udp @th,64,32 {each} drop" for each in beginnings]
        chain = "\n".join(["type filter hook forward priority 0;", *rules])
        table = f"table inet box {{\nchain forward {{\n{chain}\n}}\n}}\n"
        self.router.run(["nft", "-f", "-"], stdin=table)

    def let_pass(self) -> None:
        """Let the router drop nothing any more."""
        self.router.run(["nft", "delete", "table", "inet", "box"])


def targets(lab: Lab, runs: int, say: Callable[[str], None]) -> list[Target]:
    """Measure both kinds of boxes; return their targets."""
    say("laptops join whose routers will inspect what they send")
    pairs = _join(lab, 2 * runs)
    say(f"{runs} boxes drop data, and {runs} handshakes, for {SESSION:.0f} s")
    with ThreadPoolExecutor(len(pairs)) as pool:
        without_data = [pool.submit(_lose_data, pair) for pair in pairs[:runs]]
        without_handshakes = [
            pool.submit(_lose_handshakes, pair) for pair in pairs[runs:]
        ]
    losses = [future.result() for future in without_data]
    silences = [future.result() for future in without_handshakes]
    return [
        Target("data blocked: traffic", DATA_TARGET, "s", [one for one, _ in losses]),
        Target(
            "data let pass: direct", AGAIN_TARGET, "s", [again for _, again in losses]
        ),
        Target("handshakes blocked: traffic", HANDSHAKE_TARGET, "s", silences),
    ]


def _lose_data(pair: InspectedPair) -> tuple[float, float]:
    """Return the longest silence, and the seconds until the path was tried again."""
    pinging = Pinging(pair.laptop, pair.server)
    time.sleep(STEADY)
    since = time.time()
    pair.drop(DATA)
    relayed_after = _seconds_until(lambda: pair.is_relayed, DEMOTED_WITHIN)
    time.sleep(STEADY)
    silence = pinging.outage(since).length
    pair.let_pass()
    again = _seconds_until(lambda: pair.is_direct, AGAIN_TARGET)
    pinging.stop()
    return (NEVER if relayed_after == NEVER else silence), again


def _lose_handshakes(pair: InspectedPair) -> float:
    """Return the longest silence before and after the end of the session."""
    pinging = Pinging(pair.laptop, pair.server)
    time.sleep(STEADY)
    since = time.time()
    pair.drop(HANDSHAKES)
    time.sleep(SESSION)
    silence = pinging.outage(since).length
    pinging.stop()
    return silence


def _seconds_until(holds: Callable[[], bool], limit: float) -> float:
    started = time.monotonic()
    while not holds():
        if time.monotonic() > started + limit:
            return NEVER
        time.sleep(POLL)
    return time.monotonic() - started


def _join(lab: Lab, count: int) -> list[InspectedPair]:
    mesh = Mesh(lab)
    server = mesh.join(lab.add_host("server", lab.internet, ipv6=False))
    routers = [
        lab.add_router(f"box-{number}", presets.PORT_RESTRICTED)
        for number in range(count)
    ]
    hosts = [
        lab.add_host(f"laptop-{number}", router, ipv6=False)
        for number, router in enumerate(routers)
    ]
    mesh.join_all(hosts)
    pairs = [
        InspectedPair(mesh.nodes[host.name], server, router)
        for host, router in zip(hosts, routers, strict=True)
    ]
    for pair in pairs:
        pair.laptop.ping(server)
        pair.laptop.host.wait_until(
            partial(lambda one: one.is_direct, pair), "its path is direct", 60.0
        )
    return pairs
