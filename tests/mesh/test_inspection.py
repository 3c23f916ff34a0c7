"""Boxes that let checks pass and drop WireGuard: the tunnel goes by the relay.

All pairs run with a box that drops data once they are direct, a few of them also with
boxes of other kinds. What each side does is decided by what the other side says has
arrived, so that also a box for one direction is found.
"""

from itertools import pairwise

import pytest

from tests.mesh.addresses import let_both_addresses_be_seen
from tests.mesh.test_nat_pairs import ALL, ORACLE, PAIRS, add
from tests.sim import kinds
from tests.world.boxes import DATA, HANDSHAKES, Box
from tests.world.contact import Contact
from tests.world.node import SimNode
from tests.world.sendlog import Sent
from tests.world.world import World

DIRECT = [
    (a, b)
    for a, b in PAIRS
    # Two of the last kind have a second direct path, over IPv4 and TCP.
    if ORACLE[a.name][b.name] != "-" and (a, b) != (ALL[-1], ALL[-1])
]
FEW = [
    (kinds.LINUX, kinds.PUBLIC),
    (kinds.LINUX, kinds.PORT_RESTRICTED),
    (kinds.SYMMETRIC_RANDOM, kinds.FULL_CONE),
]
INTERVAL = 0.1
BOUND = 10.0
"""Seconds of silence at most, in either direction. Packets come ten times a second;
with one a second it takes five."""

REKEYING = 130.0
"""Seconds in which a session is renewed."""


def named(what: set[Sent]) -> str:
    """Return the name of a case: a set has no order that two processes share."""
    return "-".join(sorted(each.value for each in what))


@pytest.mark.parametrize(("one", "other"), DIRECT, ids=lambda kind: kind.name)
def test_data_that_is_dropped_goes_by_the_relay(
    one: kinds.Kind, other: kinds.Kind
) -> None:
    world, a, b = direct_pair(one, other)
    Box(world, DATA)
    at = world.now
    world.advance(6.0)
    for node, peer in ((a, b), (b, a)):
        assert silence(node.contact(peer), at) < 4.0
        assert node.status(peer).kind == "relay"
        assert "answers checks but does not carry" in node.status(peer).reason


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("sender", ["a", None])
@pytest.mark.parametrize(
    "what", [DATA, HANDSHAKES, {Sent.RESPONSE}, DATA | HANDSHAKES], ids=named
)
@pytest.mark.parametrize(("one", "other"), FEW, ids=lambda kind: kind.name)
def test_whatever_is_dropped_the_tunnel_goes_on(
    one: kinds.Kind, other: kinds.Kind, what: set[Sent], sender: str | None, loss: float
) -> None:
    world, a, b = direct_pair(one, other, loss)
    box = Box(world, what, only_from=world.nodes[sender] if sender else None)
    at = world.now
    world.advance(20.0 if DATA & what else REKEYING)
    for node, peer in ((a, b), (b, a)):
        assert silence(node.contact(peer), at) < BOUND
    if DATA & what:
        assert (a.status(b).kind, b.status(a).kind) == ("relay", "relay")
    if not DATA & what:
        assert session_age(a, b) < 20.0, "it has been renewed"
    box.is_on = False
    assert world.run(lambda: both_direct(a, b), 700.0)


def test_the_reasons_tell_whose_packets_are_dropped() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.PUBLIC)
    Box(world, DATA, only_from=a)
    world.advance(BOUND)
    carries = "The direct path answers checks but does not carry"
    assert a.status(b).reason == f"{carries} the tunnel's packets."
    assert b.status(a).reason == f"{carries} the tunnel's packets from the peer."
    lost = a.status(b).attempts[-1]
    assert lost.detail == "checks are answered, but the tunnel's packets do not arrive"
    assert a.status(b).next_attempt_in is not None


def test_without_a_relay_the_direct_path_is_kept_and_the_loss_is_shown() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.PUBLIC, relays=0)
    box = Box(world, DATA)
    world.advance(20.0)
    status = a.status(b)
    assert status.kind == "direct"
    assert status.loss > 0.5
    assert status.reason.endswith("packets, and there is no relay.")
    box.is_on = False
    at = world.now
    world.advance(5.0)
    assert silence(b.contact(a), at) < 1.0
    assert "does not carry" not in a.status(b).reason


def test_loss_is_that_of_the_data() -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.PUBLIC)
    chance = world.network.random.random
    world.network.lose = lambda packet: packet.payload[:1] == b"\4" and chance() < 0.05
    world.advance(40.0)
    for node, peer in ((a, b), (b, a)):
        assert node.status(peer).kind == "direct"
        assert 0.03 < node.status(peer).loss < 0.2


@pytest.mark.parametrize("what", [DATA, DATA | HANDSHAKES], ids=named)
def test_a_peer_that_answers_checks_and_drops_data_costs_a_probe_a_minute(
    what: set[Sent],
) -> None:
    world, a, b = direct_pair(kinds.LINUX, kinds.PUBLIC)
    Box(world, what)
    world.advance(20.0)
    at, sent = world.now, a.log.by_kind()[Sent.DATA]
    heard = b.contact(a).received
    changes = len(a.contact(b).changes)
    world.advance(900.0)
    by_host = [
        1
        for when, kind, host in a.log.entries
        if when > at and kind in what and host == "203.0.2.2"
    ]
    assert len(by_host) <= 15
    assert len(a.contact(b).changes) == changes, "the probe is not the traffic"
    assert b.contact(a).received - heard >= 900.0 / INTERVAL - 2
    assert a.log.by_kind()[Sent.DATA] > sent


def direct_pair(
    one: kinds.Kind, other: kinds.Kind, loss: float = 0.0, relays: int = 1
) -> tuple[World, SimNode, SimNode]:
    # The boxes look at datagrams; streams would be another way round them.
    world = World(
        seed=7, loss=loss, relays=relays, transports=("udp", "tcp"), tcp=False
    )
    a, b = add(world, one), add(world, other)
    world.nodes = {"a": a, "b": b}
    world.settle()
    for node in (a, b):
        let_both_addresses_be_seen(world, node)
    a.talk_to(b, INTERVAL)
    b.talk_to(a, INTERVAL)
    assert world.run(lambda: both_direct(a, b), 100.0)
    world.advance(5.0)
    return world, a, b


def both_direct(a: SimNode, b: SimNode) -> bool:
    return a.status(b).kind == b.status(a).kind == "direct"


def silence(contact: Contact, since: float) -> float:
    """Return the longest time without a packet since a moment."""
    times = [since, *(time for time in contact.heard if time > since)]
    return max((after - before for before, after in pairwise(times)), default=1e9)


def session_age(node: SimNode, peer: SimNode) -> float:
    handshake = node.peer(peer).tunnel.last_handshake
    assert handshake is not None
    return node.network.unix_time - handshake
