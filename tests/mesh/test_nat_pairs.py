"""Every kind of network against every other: what is possible is what happens.

The oracle below was measured in network namespaces with real NATs: D is opened by plain
punching, P by prediction, B by the birthday method, and - cannot be opened with
datagrams: there a stream is (T), since all these NATs map TCP by the port alone. Each
pair is two whole nodes, which find out about their NATs themselves. It runs in virtual
time with lossless and with lossy wires; the last test prints, for all of them, when the
first packet arrived (always by the relay) and when data went direct.

A symmetric NAT over two addresses against a filter by address is luck unless both
addresses are known; here the coordinator has seen both.
"""

import sys
from dataclasses import dataclass
from functools import cache

import pytest

from meshwg.path.candidate import CandidateKind
from tests.mesh.addresses import let_both_addresses_be_seen
from tests.sim import kinds
from tests.world.contact import Contact
from tests.world.node import SimNode
from tests.world.sendlog import Sent
from tests.world.world import World

LOSSES = (0.0, 0.05)
PING_INTERVAL = 0.2
PATIENCE = 100.0
"""Seconds for three birthday attempts, one of which fails in 60."""

HOPELESS_PATIENCE = 15.0
SETTLING = 3.0
HANDSHAKE_PATIENCE = 30.0
"""Seconds for WireGuard to repeat a lost handshake message, each time after five."""

IPV6_FIREWALL = kinds.Kind("ipv6-firewall", kinds.SYMMETRIC_RANDOM.behaviour)
"""IPv6 behind a stateful firewall; the IPv4 part is a symmetric NAT."""

ALL = (*kinds.KINDS, IPV6_FIREWALL, kinds.SLOPPY_LINUX)

ORACLE = {
    kind.name: dict(zip((other.name for other in ALL), row.split(), strict=False))
    for kind, row in zip(
        ALL,
        (
            "D",  # public
            "D D",  # firewalled-public
            "D D D",  # full-cone
            "D D D D",  # address-restricted
            "D D D D D",  # port-restricted
            "D D D D D D",  # linux
            "D B D D B B -",  # address-dependent-mapping
            "D D D D D D D D",  # symmetric-eif
            "D B D D B B B D B",  # symmetric-adf
            "D P D D P P - D B P",  # symmetric-sequential
            "D P D D P P - D B P P",  # symmetric-sequential-down
            "D B D D B B - D B - - -",  # symmetric-random
            "D B D D B B - D B - - - -",  # symmetric-two-addresses
            "D D D D D D B D B P P B B D",  # double-nat-cone
            "D B D D B B - D B - - - - B -",  # double-nat-symmetric
            "- - - - - - - - - - - - - - - -",  # udp-blocked
            "D B D D B B - D B - - - - B - - D",  # ipv6-firewall
            "D D D D D D B D B P P B B D B - B D",  # sloppy-linux
        ),
        strict=True,
    )
}

BEST = {"D": "D", "P": "P", "B": "BT", "-": "T"}
"""What becomes of the pairs: without a path for datagrams a stream, and sometimes where
the birthday method misses at first."""

SHOWN_AS = {
    CandidateKind.TCP: "T",
    CandidateKind.PREDICTED: "P",
    CandidateKind.BIRTHDAY: "B",
    CandidateKind.RELAYED: "-",
}
"""What the oracle calls a path; all others are D."""

PAIRS = [(a, b) for index, a in enumerate(ALL) for b in ALL[: index + 1]]


@dataclass(frozen=True)
class Cell:
    """What became of one pair."""

    method: str
    first: float
    """Seconds from the first packet sent to the first one delivered, the later side."""
    shaking_hands: float
    """Seconds of these before the handshake that was not lost, the later side."""
    direct: float | None
    """Seconds until data went directly, the later side."""
    missing: int
    """Packets sent and never delivered, both sides."""
    reasons: list[str]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=lambda kind: kind.name)
def test_a_pair_gets_the_best_possible_path(
    a: kinds.Kind, b: kinds.Kind, loss: float
) -> None:
    cell = outcome(a, b, loss)
    assert cell.method in BEST[ORACLE[a.name][b.name]], cell.reasons
    assert cell.first - cell.shaking_hands < 1.0, "the relay carries the first packet"
    if not loss:
        assert cell.shaking_hands == 0
        assert cell.missing == 0, "no packet is lost when the path changes"


@pytest.mark.parametrize(
    ("a", "b"), [p for p in PAIRS if ORACLE[p[0].name][p[1].name] == "-"], ids=str
)
def test_a_pair_without_datagrams_says_why(a: kinds.Kind, b: kinds.Kind) -> None:
    blocked = kinds.UDP_BLOCKED in (a, b)
    word = "UDP is blocked" if blocked else "symmetric NATs"
    assert all(word in reason for reason in outcome(a, b, 0.0).reasons)
    relayed = outcome(a, b, 0.0, tcp=False)
    assert relayed.method == "-"
    assert all(word in reason for reason in relayed.reasons)
    assert all("no direct path can be opened" in each for each in relayed.reasons)


def test_the_times_are_shown_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for loss in LOSSES:
            show(loss)


@cache
def outcome(a: kinds.Kind, b: kinds.Kind, loss: float, tcp: bool = True) -> Cell:
    world = World(seed=7, loss=loss, transports=("udp", "tcp"), tcp=tcp)
    nodes = add(world, a), add(world, b)
    world.settle()
    for node in nodes:
        let_both_addresses_be_seen(world, node)
    start = world.now
    contacts = nodes[0].contact(nodes[1]), nodes[1].contact(nodes[0])
    for node, peer in (nodes, nodes[::-1]):
        node.talk_to(peer, PING_INTERVAL)
    hopeless = not tcp and ORACLE.get(a.name, {}).get(b.name) == "-"
    world.run(
        lambda: all(contact.is_direct for contact in contacts),
        HOPELESS_PATIENCE if hopeless else PATIENCE,
    )
    world.run(lambda: all(contact.heard for contact in contacts), HANDSHAKE_PATIENCE)
    world.advance(SETTLING)
    for node, peer in (nodes, nodes[::-1]):
        node.hush(peer)
    world.advance(0.5)
    first = max(contact.heard[0] for contact in contacts)
    return Cell(
        method=method_of(contacts),
        first=first - start,
        shaking_hands=last_initiation(nodes, first) - start,
        direct=latest([contact.direct_at() for contact in contacts], start),
        missing=sum(contact.sent - contact.received for contact in contacts),
        reasons=[nodes[0].status(nodes[1]).reason, nodes[1].status(nodes[0]).reason],
    )


def add(world: World, kind: kinds.Kind) -> SimNode:
    number = len(world.nodes) + 1
    name = f"node-{number}"
    if kind is not IPV6_FIREWALL:
        return world.add(name, kind)
    host = kinds.SYMMETRIC_RANDOM.add_to(world.network, name, number)
    router = host.interfaces[0].realm.gateway
    host.add_interface(f"2001:db8:{number}::2", behind=router)
    return world.add_on(host)


def last_initiation(nodes: tuple[SimNode, SimNode], before: float) -> float:
    """Return when the last handshake began, on either side."""
    return max(
        at
        for node in nodes
        for at, kind, _ in node.log.entries
        if kind is Sent.INITIATION and at < before
    )


def method_of(contacts: tuple[Contact, Contact]) -> str:
    """Return what the side that had to do more calls the path.

    A probe may meet the mapping of the very socket that was there before, which is a
    plain path to its owner.
    """
    found = {SHOWN_AS.get(contact.kind, "D") for contact in contacts if contact.kind}
    special = found - {"D"}
    return "/".join(sorted(special or found))


def latest(times: list[float | None], start: float) -> float | None:
    known = [time - start for time in times if time is not None]
    return max(known) if len(known) == len(times) else None


def show(loss: float) -> None:
    lines = [f"\nSeconds from the first packet to a direct path, {loss:.0%} loss"]
    for row, a in enumerate(ALL):
        cells = [outcome(a, b, loss) for b in ALL[: row + 1]]
        times = [
            "-" if c.direct is None else f"{c.method}{c.direct:.1f}" for c in cells
        ]
        lines.append(f"{a.name:26}" + "".join(f"{time:>6}" for time in times))
    first = sorted(outcome(a, b, loss).first for a, b in PAIRS)
    median, worst = first[len(first) // 2], first[-1]
    lines.append(f"First packet: median {median:.2f} s, worst {worst:.2f} s")
    sys.stdout.write("\n".join(lines) + "\n")
