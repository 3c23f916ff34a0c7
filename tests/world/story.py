"""One life of a mesh with everything in it, as the wires saw it.

As a program it prints that, one datagram a line: ``python -m tests.world.story SEED``.
"""

import hashlib
import sys

from tests.sim.kinds import (
    LINUX,
    PORT_RESTRICTED,
    PUBLIC,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    UDP_BLOCKED,
)
from tests.sim.realm import Packet
from tests.world.world import World

KINDS = (
    PUBLIC,
    PORT_RESTRICTED,
    LINUX,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    UDP_BLOCKED,
)
DIGEST = 8


def story(seed: int) -> list[str]:
    """Return every datagram of the story, in the order in which they were sent."""
    world = World(seed, relays=2, transports=("udp", "tcp"), loss=0.05)
    seen: list[str] = []

    def listen(packet: Packet) -> bool:
        digest = hashlib.sha256(packet.payload).hexdigest()[:DIGEST]
        ends = f"{packet.source} {packet.destination}"
        seen.append(f"{world.now:.6f} {ends} {len(packet.payload)} {digest}")
        return False

    world.network.lose = listen
    nodes = [world.add(kind.name, kind, routes=routes(kind.name)) for kind in KINDS]
    hub = world.add("hub", PUBLIC, role="hub")
    world.settle()
    for node in nodes:
        for peer in (*nodes, hub):
            if peer is not node:
                node.talk_to(peer, 1.0)
    world.advance(10)
    public, restricted, linux, hard, stepping, _ = nodes
    restricted.router.reboot()
    linux.move_to(SYMMETRIC_RANDOM, 99)
    world.relays[0].is_dead = True
    world.advance(10)
    world.coordinator.stop()
    hard.restart()
    stepping.leave()
    world.advance(10)
    world.coordinator.start()
    public.carrier.cut()
    world.advance(10)
    return seen


def routes(name: str) -> list[str]:
    """Return networks for a node to announce, some of them the same for all."""
    return [f"10.{len(name)}.0.0/16", "192.168.77.0/24"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(story(int(sys.argv[1]))) + "\n")
