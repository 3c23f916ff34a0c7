"""Bystanders, a lying coordinator and hostile peers: counted, bounded, harmless."""

from typing import Any

import pytest

from meshwg.keys import format_key
from meshwg.path.candidate import Candidate, CandidateKind, Rejection
from meshwg.path.check import CheckDrop
from meshwg.path.ledger import HOST_LIMIT, TOTAL_LIMIT
from meshwg.transmit import Endpoint, Source
from meshwg.wire import control, stun
from tests.mesh.meshnet import Mesh, MeshNode, honest
from tests.sim import kinds
from tests.sim.host import Host, Socket
from tests.sim.realm import Packet

VICTIM = "198.18.0.1"


def test_a_recorded_check_played_again_from_elsewhere_gets_no_answer() -> None:
    mesh, a, b = public_pair()
    recorded = record_checks(mesh, a, b)
    attacker = mesh.network.add_host("attacker", VICTIM)
    socket = attacker.open(4000)
    for data in recorded:
        socket.send(data, udp_endpoint(b))
    mesh.advance(2.0)
    assert socket.received == []
    assert b.sent[VICTIM] == 0
    assert b.contact(a).agent.drops[CheckDrop.REPLAYED] == len(recorded)


def test_a_check_that_comes_back_proves_nothing() -> None:
    mesh, a, b = public_pair()
    recorded = record_checks(mesh, a, b)
    attacker = mesh.network.add_host("attacker", VICTIM)
    socket = attacker.open(4000)
    for data in recorded:
        socket.send(data, udp_endpoint(a))
    mesh.advance(2.0)
    assert socket.received == []
    assert a.sent[VICTIM] == 0
    assert a.contact(b).agent.drops[CheckDrop.REFLECTED] == len(recorded)


def test_a_check_made_without_the_key_is_counted_and_ignored() -> None:
    mesh, a, b = public_pair()
    tag = b.contact(a).agent.checks.keys.incoming.tag
    attacker = mesh.network.add_host("attacker", VICTIM)
    socket = attacker.open(4000)
    for key in (None, b"", bytes(32)):
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, bytes(12))
        message.attributes[stun.Attribute.USERNAME] = tag
        socket.send(stun.encode(message, key, fingerprint=True), udp_endpoint(b))
    mesh.advance(2.0)
    assert socket.received == []
    assert b.contact(a).agent.drops[CheckDrop.FORGED] == 3


def test_a_bystander_who_passes_checks_on_carries_only_what_he_cannot_read() -> None:
    """A man in the middle can be a path, as any router is; he cannot be the peer."""
    mesh, a, b = public_pair()
    middle = mesh.network.add_host("middle", VICTIM)
    towards_a, towards_b = middle.open(4001), middle.open(4002, link=1)
    pass_on(towards_a, towards_b, udp_endpoint(b))
    pass_on(towards_b, towards_a, udp_endpoint(a))
    detour = Candidate(CandidateKind.HOST, VICTIM, 4001)
    mesh.coordinator.tamper = lambda offer: with_candidates(offer, detour)
    talk(mesh, a, b)
    mesh.advance(10.0)
    assert b.contact(a).agent.endpoint == Endpoint(VICTIM, 4002, source=pin(b))
    middle.stop()
    mesh.coordinator.tamper = honest
    mesh.advance(10.0)
    remote = b.contact(a).agent.endpoint
    assert remote is not None
    assert remote[:2] == udp_endpoint(a)[:2]


def test_a_peer_that_offers_a_strangers_address_makes_nobody_flood_it() -> None:
    mesh, a, b = public_pair()
    mesh.network.add_host("victim", VICTIM).open(80)
    talk(mesh, a, b)
    ports = [
        Candidate(CandidateKind.HOST, VICTIM, port).to_message()
        for port in range(80, 100)
    ]
    for number in range(590):
        offer(a, b, 1000 + number, ports)
        mesh.advance(0.1)
    assert 0 < a.sent[VICTIM] <= HOST_LIMIT
    assert a.contact(b).agent.drops[CheckDrop.OVER_BUDGET] > 0
    assert b.contact(a).received > 500


def test_a_peer_that_offers_many_strangers_reaches_a_limit_for_all() -> None:
    mesh, a, b = public_pair()
    talk(mesh, a, b)
    for number in range(590):
        strangers = [
            Candidate(
                CandidateKind.REFLEXIVE, f"198.18.{number % 200}.{n}", 80
            ).to_message()
            for n in range(1, 17)
        ]
        offer(a, b, 1000 + number, strangers)
        mesh.advance(0.1)
    sent = sum(count for host, count in a.sent.items() if host.startswith("198.18."))
    assert 0 < sent <= TOTAL_LIMIT


@pytest.mark.parametrize("method", ["birthday", "prediction"])
@pytest.mark.parametrize("role", ["fan", "probe"])
def test_a_peer_that_claims_a_strangers_address_gets_no_volley(
    method: str, role: str
) -> None:
    mesh, a, b = public_pair(kinds.LINUX, kinds.SYMMETRIC_RANDOM)
    while a.contact(b).agent.checks.keys.controlling:
        mesh, a, b = public_pair(kinds.LINUX, kinds.SYMMETRIC_RANDOM, mesh.seed + 1)
    claimed = [Candidate(CandidateKind.REFLEXIVE, VICTIM, 80).to_message()]
    ask = {"step": "ask", "id": 1, "method": method, "role": role, "peer_role": "fan"}
    go = {"step": "go", "id": 1, "port": 5000, "delta": 1}
    for number, step in enumerate((ask, go, {**ask, "id": 2}, {**go, "id": 2})):
        offer(a, b, 1000 + number, claimed, punch=step)
        mesh.advance(3.0)
    mesh.advance(10.0)
    assert a.sent[VICTIM] <= HOST_LIMIT
    assert a.sockets_opened == 0
    if role == "fan":
        details = [one.detail for one in attempts(a, b)]
        assert "nobody confirmed that the peer's public address is its own" in details


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
def test_a_nonsense_candidate_is_counted_and_never_sent_to(
    host: str, reason: Rejection
) -> None:
    mesh, a, b = public_pair()
    nonsense = Candidate(CandidateKind.HOST, host, 80)
    mesh.coordinator.tamper = lambda offer: with_candidates(offer, nonsense)
    talk(mesh, a, b)
    mesh.advance(10.0)
    assert a.sent[host] == b.sent[host] == 0
    assert a.contact(b).rejections[reason] > 0


def test_an_endless_stream_of_birthday_requests_opens_few_sockets() -> None:
    mesh, a, b = public_pair(kinds.SYMMETRIC_RANDOM, kinds.LINUX)
    while a.contact(b).agent.checks.keys.controlling:
        mesh, a, b = public_pair(kinds.SYMMETRIC_RANDOM, kinds.LINUX, mesh.seed + 1)
    own = [c.to_message() for c in b.candidates()]
    for number in range(200):
        ask = {"step": "ask", "id": number + 1, "method": "birthday"}
        roles = {"role": "fan", "peer_role": "probe"}
        offer(a, b, 1000 + number, own, punch={**ask, **roles})
        mesh.advance(1.0)
    assert 0 < a.sockets_opened <= 3 * 256
    assert len(a.host.sockets) <= 257


def public_pair(
    one: kinds.Kind = kinds.PUBLIC, other: kinds.Kind = kinds.PUBLIC, seed: int = 5
) -> tuple[Mesh, MeshNode, MeshNode]:
    mesh = Mesh(seed=seed)
    a, b = mesh.add_kind(one, 1), mesh.add_kind(other, 2)
    mesh.advance(1.0)
    mesh.introduce(a, b)
    return mesh, a, b


def talk(mesh: Mesh, a: MeshNode, b: MeshNode) -> None:
    a.ping(b, 0.1)
    b.ping(a, 0.1)


def pass_on(received_by: Socket, sent_by: Socket, destination: Endpoint) -> None:
    def forward(data: bytes, source: Endpoint, now: float) -> None:
        sent_by.send(data, destination)

    received_by.on_datagram = forward


def record_checks(mesh: Mesh, a: MeshNode, b: MeshNode) -> list[bytes]:
    """Let the nodes find their path, and return a's checks as a bystander saw them."""
    seen: list[bytes] = []

    def listen(packet: Packet) -> bool:
        is_request = packet.payload[:2] == b"\0\1" and len(packet.payload) > 20
        if is_request and packet.source[0] == a.host.addresses[0]:
            seen.append(packet.payload)
        return False

    mesh.network.lose = listen
    talk(mesh, a, b)
    mesh.advance(10.0)
    mesh.network.lose = lambda packet: False
    assert len(seen) > 3
    return seen


def pin(node: MeshNode) -> Source:
    return Source(node.host.addresses[0], node.host.interfaces[0].index)


def udp_endpoint(node: MeshNode) -> Endpoint:
    host: Host = node.host
    return Endpoint(host.addresses[0], host.sockets[0].port)


def offer(
    to: MeshNode,
    sender: MeshNode,
    sequence: int,
    candidates: list[control.ReportedCandidate],
    **extension: Any,
) -> None:
    message = control.OfferMessage(
        to=format_key(to.key.public_bytes),
        sequence=sequence,
        candidates=tuple(candidates),
        extension={"session": "hostile", **extension},
    )
    to.receive_offer(sender.name, message)


def with_candidates(
    offer: control.OfferMessage, *candidates: Candidate
) -> control.OfferMessage:
    """Return an offer that somebody has changed on its way."""
    changed = tuple(candidate.to_message() for candidate in candidates)
    return offer.model_copy(update={"candidates": changed})


def attempts(node: MeshNode, peer: MeshNode) -> list[Any]:
    return list(node.contact(peer).agent.status(node.mesh.network.now).attempts)
