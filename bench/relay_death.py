"""Relays that die under traffic: how long it takes until another one has taken over.

Two of Debian's coturn serve as relays, and pairs of nodes that can have no direct path
ping each other. One relay after the other is killed, and started again.
"""

import time
from collections.abc import Callable, Iterable

from bench.pinging import STEADY, Pinging
from netlab import coturn, presets
from netlab.errors import LabError
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import Coordinator, MeshNode
from netlab.process import Process

SECRET = "shared-by-the-relays"
PAIRS = 3
DEATHS_LIMIT = 4
OBSERVED = 10.0
"""Seconds for which the pairs are watched after a death."""


def outages(lab: Lab, wanted: int, say: Callable[[str], None]) -> list[float]:
    """Return the lengths of outages in seconds: ``wanted`` or more, if enough occur.

    Only pairs count of which at least one node was reached through the dead relay.
    """
    hosts = [lab.add_host(f"relay-{n}", lab.internet, ipv6=False) for n in (1, 2)]
    relays = {host.address(): (host, _start(host)) for host in hosts}
    say("nodes behind symmetric routers join, with two relays")
    nodes = _join(lab, relays)
    pairs = list(zip(nodes[::2], nodes[1::2], strict=True))
    found: list[float] = []
    for death in range(DEATHS_LIMIT):
        if len(found) >= wanted:
            break
        address = _home(nodes[0])
        hit = [pair for pair in pairs if address in map(_home, pair)]
        say(f"relay {address} dies, which {len(hit)} of {PAIRS} pairs use")
        host, process = relays[address]
        found += _outages(hit, process)
        if death + 1 < DEATHS_LIMIT:
            relays[address] = host, _start(host)
    return found


def _outages(pairs: list[tuple[MeshNode, MeshNode]], relay: Process) -> list[float]:
    pings = [Pinging(*pair) for pair in pairs]
    time.sleep(STEADY)
    since = time.time()
    relay.kill()
    time.sleep(OBSERVED)
    longest = [pinging.outage(since).length for pinging in pings]
    for pinging in pings:
        pinging.stop()
    return longest


def _start(host: Host) -> Process:
    options = ["--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=bench"]
    return coturn.start(host, options)


def _join(lab: Lab, relays: Iterable[str]) -> list[MeshNode]:
    """Return nodes that reach each other through these relays only."""
    host = lab.add_host("coordinator", lab.internet, count4=2, ipv6=False)
    urls = [f"turn:{address}:{coturn.PORT}?transport=udp" for address in relays]
    coordinator = Coordinator(host, relay=False, relays=urls, turn_secret=SECRET)
    token = coordinator.token()
    nodes = []
    for number in range(2 * PAIRS):
        name = f"office-{number}"
        host = lab.add_host(name, lab.add_access(f"{name}-nat", presets.ALL_SYMMETRIC))
        nodes.append(MeshNode(host, token))
    for node in nodes:
        node.wait_until_joined()
    for one, other in zip(nodes[::2], nodes[1::2], strict=True):
        one.ping(other)
        if one.peer(other)["path"]["kind"] != "relay":
            raise LabError(f"{one.name} reaches {other.name} without a relay.")
    return nodes


def _home(node: MeshNode) -> str:
    """Return the address of the relay that a node can be reached through."""
    url: str = node.status()["self"]["relay"]["url"]
    return url.split(":")[1]
