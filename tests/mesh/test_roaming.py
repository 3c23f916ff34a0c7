"""Nodes change their place under traffic, in all pairs of networks that punching opens.

Without and with loss: how long nothing arrives, and when data goes directly again.

One side moves to another network, the other one does, a host gets another address in
its network, and a router another public address, which nobody tells its hosts.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from statistics import median

import pytest

from meshwg.nattypes import Mapping
from tests.mesh.test_nat_pairs import IPV6_FIREWALL, LOSSES, ORACLE, PAIRS
from tests.sim import kinds
from tests.world.contact import Contact
from tests.world.internet import routers_of
from tests.world.node import SimNode
from tests.world.world import World

LUCK = kinds.SYMMETRIC_TWO_ADDRESSES
"""Which of its addresses is seen is chance, and so is whether a path can be opened."""

DIRECT_PAIRS = [
    (a, b)
    for a, b in PAIRS
    if ORACLE[a.name][b.name] == "D" and not {a, b} & {IPV6_FIREWALL, LUCK}
]
INTERVAL = 0.1
LATENCY = 0.01
STEADY = 3.0
"""Seconds for which a direct path has to carry alone to count."""
LIMIT = 16.0
WORST = 6.0

Move = Callable[[SimNode, kinds.Kind], None]


@dataclass(frozen=True)
class Recovery:
    """What one change of place cost."""

    silence: float
    """The longest time without a packet, on the worse side."""
    direct: float
    """Seconds until data went directly, and only so, both ways."""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("a", "b"), DIRECT_PAIRS, ids=lambda kind: kind.name)
def test_a_change_of_place_costs_seconds(
    a: kinds.Kind, b: kinds.Kind, loss: float
) -> None:
    for move, recovery in recoveries(a, b, loss).items():
        assert recovery.direct < WORST, (move, recovery)
        assert recovery.silence < 2.5, (move, recovery)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_of_them_take_less_than_a_second_and_a_half(
    loss: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, list[Recovery]] = {}
    for a, b in DIRECT_PAIRS:
        for move, recovery in recoveries(a, b, loss).items():
            found.setdefault(move, []).append(recovery)
    with capsys.disabled():
        sys.stdout.write(f"\nSeconds after a change of place, {loss:.0%} loss\n")
        for move, group in found.items():
            sys.stdout.write(row(move, group) + "\n")
    for group in found.values():
        assert median(each.silence for each in group) < 1.5
        assert median(each.direct for each in group) < 1.5


def row(move: str, group: list[Recovery]) -> str:
    silences = sorted(each.silence for each in group)
    directs = sorted(each.direct for each in group)
    return (
        f"{move:22} silence median {median(silences):.2f} worst {silences[-1]:.2f}, "
        f"direct median {median(directs):.2f} worst {directs[-1]:.2f} ({len(group)})"
    )


@cache
def recoveries(a: kinds.Kind, b: kinds.Kind, loss: float) -> dict[str, Recovery]:
    world = World(seed=3, loss=loss, latency=LATENCY)
    one, other = world.add("a", a), world.add("b", b)
    world.settle()
    one.talk_to(other, INTERVAL)
    other.talk_to(one, INTERVAL)
    assert world.run(lambda: are_direct(one, other), 60.0)
    moves: dict[str, tuple[Move, SimNode, kinds.Kind]] = {
        "one side moves": (roam, one, a),
        "the other side moves": (roam, other, b),
        "another address": (change_address, one, a),
    }
    if b.routers and b.behaviour.mapping is Mapping.ENDPOINT_INDEPENDENT:
        moves["another public address"] = redial, other, b
    found = {}
    for name, (move, node, kind) in moves.items():
        world.advance(8.0)
        found[name] = after(world, one, other, partial(move, node, kind))
    return found


def after(
    world: World, one: SimNode, other: SimNode, move: Callable[[], None]
) -> Recovery:
    """Let somebody move; return what that cost."""
    at = bad = world.now
    move()
    while world.now < min(bad + STEADY, at + LIMIT):
        world.advance(0.05)
        if not are_direct(one, other) or world.now < at + 0.5:
            bad = world.now
    silence = max(
        longest_gap(contact, at, world.now)
        for contact in (one.contact(other), other.contact(one))
    )
    return Recovery(silence, max(bad - at, silence))


def roam(node: SimNode, kind: kinds.Kind) -> None:
    number = 101 if node.name == "a" else 102
    node.move_to(kind, number)


def change_address(node: SimNode, _: kinds.Kind) -> None:
    interface = node.host.interfaces[0]
    network = interface.address.rpartition(".")[0]
    node.move(f"{network}.99", behind=interface.realm.gateway)


def redial(node: SimNode, _: kinds.Kind) -> None:
    outermost = [each for each in routers_of(node.host) if each.translation][-1]
    outermost.change_addresses("203.99.99.1")


def are_direct(one: SimNode, other: SimNode) -> bool:
    return goes_directly(one.contact(other)) and goes_directly(other.contact(one))


def goes_directly(contact: Contact) -> bool:
    return contact.is_direct and not contact.changes[-1][1].doubted


def longest_gap(contact: Contact, since: float, until: float) -> float:
    times = [since, *(time for time in contact.heard if time > since), until]
    return max(later - earlier for earlier, later in pairwise(times))
