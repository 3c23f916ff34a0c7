"""Every kind of network against every other: what is possible is what happens.

The oracle below was measured in network namespaces with real NATs: D is opened by plain
punching, P by prediction, B by the birthday method, and - cannot be opened. Each pair
runs in virtual time with lossless and with lossy wires; the last test prints, for all
of them, when the first packet arrived (always by the relay) and when data went direct.

A symmetric NAT over two addresses against a filter by address is luck unless both
addresses are known; here the coordinator has seen both.
"""

import sys
from dataclasses import dataclass
from functools import cache

import pytest

from meshwg.path.candidate import CandidateKind
from tests.mesh.meshnet import Contact, Mesh, MeshNode
from tests.sim import kinds

LOSSES = (0.0, 0.05)
PING_INTERVAL = 0.2
PATIENCE = 100.0
"""Seconds for three birthday attempts, one of which fails in 60."""

HOPELESS_PATIENCE = 15.0
SETTLING = 3.0

IPV6_FIREWALL = kinds.Kind("ipv6-firewall", kinds.SYMMETRIC_RANDOM.behaviour)
"""IPv6 behind a stateful firewall; the IPv4 part is a symmetric NAT."""

ALL = (*kinds.KINDS, IPV6_FIREWALL)

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
        ),
        strict=True,
    )
}

SHOWN_AS = {
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
    direct: float | None
    """Seconds until data went directly, the later side."""
    missing: int
    """Packets sent and never delivered, both sides."""
    reasons: list[str]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=lambda kind: kind.name)
def test_a_pair_gets_the_best_path_that_is_possible(
    a: kinds.Kind, b: kinds.Kind, loss: float
) -> None:
    cell = outcome(a, b, loss)
    assert cell.method == ORACLE[a.name][b.name], cell.reasons
    assert cell.first < 1.0, "the relay carries the first packet"
    if not loss:
        assert cell.missing == 0, "no packet is lost when the path changes"


@pytest.mark.parametrize(
    ("a", "b"), [p for p in PAIRS if ORACLE[p[0].name][p[1].name] == "-"], ids=str
)
def test_a_relayed_pair_is_told_why(a: kinds.Kind, b: kinds.Kind) -> None:
    blocked = kinds.UDP_BLOCKED in (a, b)
    word = "UDP is blocked" if blocked else "symmetric NATs"
    assert all(word in reason for reason in outcome(a, b, 0.0).reasons)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sloppy_router_is_punched_through_by_the_opener(loss: float) -> None:
    for kind in (kinds.LINUX, kinds.PORT_RESTRICTED, kinds.SLOPPY_LINUX):
        assert outcome(kinds.SLOPPY_LINUX, kind, loss).method == "D"
        assert outcome(kind, kinds.SLOPPY_LINUX, loss).method == "D"


def test_the_times_are_shown_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        for loss in LOSSES:
            show(loss)


@cache
def outcome(a: kinds.Kind, b: kinds.Kind, loss: float) -> Cell:
    mesh = Mesh(seed=7, loss=loss)
    nodes = add(mesh, a, 1), add(mesh, b, 2)
    mesh.advance(2.0)
    mesh.introduce(*nodes)
    start = mesh.network.now
    contacts = nodes[0].contact(nodes[1]), nodes[1].contact(nodes[0])
    for node, peer in (nodes, nodes[::-1]):
        node.ping(peer, PING_INTERVAL)
    hopeless = ORACLE.get(a.name, {}).get(b.name) == "-"
    mesh.run(
        lambda: all(contact.is_direct for contact in contacts),
        HOPELESS_PATIENCE if hopeless else PATIENCE,
    )
    mesh.advance(SETTLING)
    for node, peer in (nodes, nodes[::-1]):
        node.ping(peer, None)
    mesh.advance(0.5)
    return Cell(
        method=method_of(contacts),
        first=max(contact.heard[0] for contact in contacts) - start,
        direct=latest([contact.direct_at() for contact in contacts], start),
        missing=sum(contact.sequence - contact.received for contact in contacts),
        reasons=[c.agent.status(mesh.network.now).reason for c in contacts],
    )


def add(mesh: Mesh, kind: kinds.Kind, number: int) -> MeshNode:
    if kind is not IPV6_FIREWALL:
        return mesh.add_kind(kind, number)
    node = mesh.add_kind(kinds.SYMMETRIC_RANDOM, number)
    interface = node.host.interfaces[0]
    node.host.add_interface(f"2001:db8:{number}::2", behind=interface.realm.gateway)
    return node


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
