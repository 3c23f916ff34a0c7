"""Bystanders, a lying coordinator and hostile peers: counted, bounded, harmless."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from meshwg.nat.discovery import FRESH_SOCKETS
from meshwg.node import SocketsWanted
from meshwg.path.candidate import Candidate, CandidateKind, Rejection
from meshwg.path.check import CheckDrop, CheckKeys
from meshwg.path.ledger import HOST_LIMIT, TOTAL_LIMIT
from meshwg.path.room import CANARIES
from meshwg.status import all_drops
from meshwg.transmit import Endpoint, Source
from meshwg.wire import control, stun
from tests.sim import kinds
from tests.sim.host import Socket
from tests.sim.realm import Packet
from tests.world.daemon import NOTICE
from tests.world.internet import NODE_PORT, address_outside
from tests.world.node import SimNode
from tests.world.world import World

VICTIM = "198.18.0.1"

sequences = count(10_000)
"""Numbers of offers, beyond those of any agent."""


def test_a_check_replayed_from_elsewhere_gets_no_answer() -> None:
    world, a, b = public_pair()
    recorded = record_checks(world, a, b)
    attacker = world.network.add_host("attacker", VICTIM)
    socket = attacker.open(4000)
    for data in recorded:
        socket.send(data, udp_endpoint(b))
    world.advance(2.0)
    assert socket.received == []
    assert b.log.by_host()[VICTIM] == 0
    assert b.agent(a).drops[CheckDrop.REPLAYED] == len(recorded)


def test_a_check_reflected_to_its_sender_proves_nothing() -> None:
    world, a, b = public_pair()
    recorded = record_checks(world, a, b)
    before = all_drops(a.node)["unknown-check"]
    attacker = world.network.add_host("attacker", VICTIM)
    socket = attacker.open(4000)
    for data in recorded:
        socket.send(data, udp_endpoint(a))
    world.advance(2.0)
    assert socket.received == []
    assert a.log.by_host()[VICTIM] == 0
    assert all_drops(a.node)["unknown-check"] - before == len(recorded)


def test_a_check_made_without_the_key_is_counted_and_ignored() -> None:
    world, a, b = public_pair()
    talk(world, a, b)
    world.advance(1.0)
    tag = b.agent(a).checks.keys.incoming.tag
    attacker = world.network.add_host("attacker", VICTIM)
    socket = attacker.open(4000)
    for key in (None, b"", bytes(32)):
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, bytes(12))
        message.attributes[stun.Attribute.USERNAME] = tag
        socket.send(stun.encode(message, key, fingerprint=True), udp_endpoint(b))
    world.advance(2.0)
    assert socket.received == []
    assert b.agent(a).drops[CheckDrop.FORGED] == 3


def test_a_bystander_follows_nobody_by_its_checks() -> None:
    world, a, b = public_pair(kinds.LINUX, kinds.LINUX)
    talk(world, a, b)
    world.advance(5.0)
    seen: list[set[bytes]] = []
    for number in (7, 8, 9):
        seen.append(set())
        a.move_to(kinds.LINUX, number)
        world.advance(NOTICE)
        world.network.lose = eavesdrop(seen[-1], address_outside(a.host))
        world.advance(20.0)
        assert a.contact(b).is_direct

    assert all(len(words) > 10 for words in seen)
    # Tags are the only words that are said twice; no tag is said in two networks.
    assert seen[0].isdisjoint(seen[1] | seen[2])
    assert seen[1].isdisjoint(seen[2])


@pytest.mark.parametrize("old", [("home",), ("other",), ("home", "other")])
def test_nodes_that_know_no_tags_but_the_derived_ones_are_peers_too(
    old: tuple[str, ...],
) -> None:
    world, a, b = public_pair(kinds.LINUX, kinds.LINUX)
    for coordinator in world.coordinators:
        if coordinator.home in old:
            coordinator.tamper = without_tags
    talk(world, a, b)
    world.advance(10.0)

    assert a.contact(b).is_direct
    assert b.contact(a).is_direct


def test_a_node_that_was_started_anew_knows_the_tags_of_before() -> None:
    world, a, b = public_pair()
    talk(world, a, b)
    world.advance(5.0)
    tag = a.agent(b).checks.tag
    assert tag != a.agent(b).checks.keys.outgoing.tag
    for coordinator in world.coordinators:
        coordinator.stop()
    b.restart()
    world.advance(5.0)

    assert a.agent(b).checks.tag == tag
    assert b.agent(a).checks.drops[CheckDrop.FORGED] == 0
    assert a.contact(b).is_direct


def test_a_bystander_who_forwards_checks_carries_only_what_it_cannot_read() -> None:
    """A man in the middle can be a path, as any router is; he cannot be the peer."""
    world, a, b = public_pair()
    middle = world.network.add_host("middle", VICTIM)
    towards_a, towards_b = middle.open(4001), middle.open(4002, link=1)
    pass_on(towards_a, towards_b, udp_endpoint(b))
    pass_on(towards_b, towards_a, udp_endpoint(a))
    lie(world, [candidate(CandidateKind.HOST, VICTIM, 4001)])
    world.advance(1.0)
    talk(world, a, b)
    world.advance(10.0)
    assert b.agent(a).endpoint == Endpoint(VICTIM, 4002, source=pin(b))
    middle.stop()
    for coordinator in world.coordinators:
        coordinator.tamper = lambda offer: offer
    world.advance(10.0)
    remote = b.agent(a).endpoint
    assert remote is not None
    assert remote[:2] == udp_endpoint(a)[:2]


def test_a_peer_that_offers_a_strangers_address_causes_no_flood() -> None:
    world, a, b = public_pair()
    world.network.add_host("victim", VICTIM).open(80)
    talk(world, a, b)
    ports = [candidate(CandidateKind.HOST, VICTIM, port) for port in range(80, 100)]
    for _ in range(590):
        offer(a, b, ports)
        world.advance(0.1)
    assert 0 < a.log.by_host()[VICTIM] <= HOST_LIMIT
    assert a.agent(b).drops[CheckDrop.OVER_BUDGET] > 0
    assert b.contact(a).received > 500


def test_a_peer_that_offers_many_strangers_reaches_a_limit_for_all() -> None:
    world, a, b = public_pair()
    talk(world, a, b)
    for number in range(590):
        strangers = [
            candidate(CandidateKind.REFLEXIVE, f"198.18.{number % 200}.{n}", 80)
            for n in range(1, 17)
        ]
        offer(a, b, strangers)
        world.advance(0.1)
    sent = sum(n for host, n in a.log.by_host().items() if host.startswith("198.18."))
    assert 0 < sent <= TOTAL_LIMIT


@pytest.mark.parametrize("method", ["birthday", "prediction"])
@pytest.mark.parametrize("role", ["fan", "probe"])
def test_a_peer_that_claims_a_strangers_address_gets_no_volley(
    method: str, role: str
) -> None:
    world, a, b = led_by_b(kinds.LINUX, kinds.SYMMETRIC_RANDOM)
    claimed = [candidate(CandidateKind.REFLEXIVE, VICTIM, 80)]
    ask = {"step": "ask", "id": 1, "method": method, "role": role, "peer_role": "fan"}
    go = {"step": "go", "id": 1, "port": 5000, "delta": 1}
    for step in (ask, go, {**ask, "id": 2}, {**go, "id": 2}):
        offer(a, b, claimed, punch=step)
        world.advance(3.0)
    world.advance(10.0)
    assert a.log.by_host()[VICTIM] <= HOST_LIMIT
    # The peer is where the coordinator sees it: probes go there, and are watched.
    is_watched = (role, method) == ("probe", "birthday")
    assert sockets_for_punching(a) == (CANARIES if is_watched else 0)
    if role == "fan":
        details = [one.detail for one in a.status(b).attempts]
        assert "the peer's public address was not confirmed as its own" in details


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", Rejection.LOOPBACK),
        ("::ffff:127.0.0.1", Rejection.LOOPBACK),
        ("224.0.0.1", Rejection.MULTICAST),
        ("255.255.255.255", Rejection.MULTICAST),
        ("0.0.0.0", Rejection.UNSPECIFIED),
        ("fe80::1", Rejection.LINK_LOCAL),
    ],
)
def test_an_invalid_candidate_is_counted_and_never_sent_to(
    host: str, reason: Rejection
) -> None:
    world, a, b = public_pair()
    lie(world, [candidate(CandidateKind.HOST, host, 80)])
    talk(world, a, b)
    world.advance(10.0)
    assert a.log.by_host()[host] == b.log.by_host()[host] == 0
    assert all_drops(a.node)[reason.value] > 0


def test_an_endless_stream_of_birthday_requests_opens_few_sockets() -> None:
    world, a, b = led_by_b(kinds.SYMMETRIC_RANDOM, kinds.LINUX)
    own = [candidate(c.kind, c.host, c.port) for c in candidates_of(b)]
    for number in range(200):
        ask = {"step": "ask", "id": number + 1, "method": "birthday"}
        roles = {"role": "fan", "peer_role": "probe"}
        offer(a, b, own, punch={**ask, **roles})
        world.advance(1.0)
    assert 0 < sockets_for_punching(a) <= 3 * 256
    assert len(a.host.sockets) <= 257


def public_pair(
    one: kinds.Kind = kinds.PUBLIC, other: kinds.Kind = kinds.PUBLIC, seed: int = 5
) -> tuple[World, SimNode, SimNode]:
    """Return two nodes that have joined by different coordinators of one mesh."""
    world = World(seed)
    world.add_coordinator("other")
    a = world.add("a", one)
    b = world.add("b", other, home="other")
    world.settle()
    return world, a, b


def led_by_b(one: kinds.Kind, other: kinds.Kind) -> tuple[World, SimNode, SimNode]:
    """Return the same, where the second node is the one that asks for punching."""
    for seed in count():
        world, a, b = public_pair(one, other, seed)
        keys = CheckKeys.derive(b.private_key, a.private_key.public_bytes)
        if keys is not None and keys.controlling:
            return world, a, b
    raise AssertionError


def lie(world: World, candidates: list[control.ReportedCandidate]) -> None:
    """Let the coordinators say that everybody is at these addresses."""
    for coordinator in world.coordinators:
        coordinator.tamper = lambda offer: replace(offer, candidates=tuple(candidates))
    for node in world.nodes.values():
        world.coordinator.misreport(node.key, candidates)


def eavesdrop(words: set[bytes], host: str) -> Callable[[Packet], bool]:
    """Return what collects the tags and the starts of ids of checks at an address."""

    def listen(packet: Packet) -> bool:
        is_there = host in (packet.source[0], packet.destination[0])
        if is_there and packet.tcp is None and stun.is_stun(packet.payload):
            message = stun.parse(packet.payload)
            tag = message.attributes.get(stun.Attribute.USERNAME)
            if message.method is stun.Method.BINDING and isinstance(tag, str):
                words.update((tag.encode(), message.transaction_id[:4]))
        return False

    return listen


def without_tags(offer: control.OfferMessage) -> control.OfferMessage:
    extension = {key: each for key, each in offer.extension.items() if key != "tags"}
    return replace(offer, extension=extension)


def talk(world: World, a: SimNode, b: SimNode) -> None:
    a.talk_to(b, 0.1)
    b.talk_to(a, 0.1)


def pass_on(received_by: Socket, sent_by: Socket, destination: Endpoint) -> None:
    def forward(data: bytes, source: Endpoint, now: float) -> None:
        sent_by.send(data, destination)

    received_by.on_datagram = forward


def record_checks(world: World, a: SimNode, b: SimNode) -> list[bytes]:
    """Let the nodes find their path, and return a's checks as a bystander saw them."""
    seen: list[bytes] = []

    def listen(packet: Packet) -> bool:
        is_request = packet.payload[:2] == b"\0\1" and len(packet.payload) > 20
        ends = packet.source[0], packet.destination[0]
        if is_request and ends == (a.host.addresses[0], b.host.addresses[0]):
            seen.append(packet.payload)
        return False

    world.network.lose = listen
    talk(world, a, b)
    world.advance(10.0)
    world.network.lose = lambda packet: False
    assert len(seen) > 3
    return seen


def pin(node: SimNode) -> Source:
    return Source(node.host.addresses[0], node.host.interfaces[0].index)


def udp_endpoint(node: SimNode) -> Endpoint:
    return Endpoint(node.host.addresses[0], NODE_PORT)


def candidate(kind: CandidateKind, host: str, port: int) -> control.ReportedCandidate:
    return control.ReportedCandidate(kind=kind.value, host=host, port=port)


def candidates_of(node: SimNode) -> tuple[Candidate, ...]:
    return node.node.whereabouts.candidates


def offer(
    to: SimNode,
    sender: SimNode,
    candidates: list[control.ReportedCandidate],
    **extension: Any,
) -> None:
    """Let a node offer what it likes to a peer."""
    message = control.OfferMessage(
        to=to.key,
        sequence=next(sequences),
        candidates=tuple(candidates),
        extension={"session": "hostile", **extension},
    )
    sender.client.offer(message, sender.now)
    sender.host.drain()


def sockets_for_punching(node: SimNode) -> int:
    """Return how many were opened so far, but for those of NAT discovery."""
    counts = [event.count for event in node.found(SocketsWanted)]
    return sum(count for count in counts if count > FRESH_SOCKETS)
