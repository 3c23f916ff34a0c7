"""Discovery identifies every kind of NAT, in time, and never claims too much."""

import random

import pytest

from meshwg.nat.discovery import (
    BRISK,
    THOROUGH,
    NatDiscovery,
    Patience,
)
from meshwg.nattypes import Filtering, Mapping, NatType, PortAllocation
from meshwg.transmit import UDP, Endpoint
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, StunErrorCode
from tests.nat.discovering import (
    OTHERS,
    SECOND,
    SERVER,
    SERVER6,
    assert_not_wrong,
    behind,
    discover,
    fake,
    internet,
    plain_answer,
    plain_bytes,
    reply,
)
from tests.sim import KINDS, Kind, Nat, Network, Packet, Socket, Wire
from tests.sim.kinds import (
    FULL_CONE,
    LINUX,
    PUBLIC,
    SLOPPY_LINUX,
    SYMMETRIC_RANDOM,
    UDP_BLOCKED,
)
from tests.sim.servers import add_stun_server

MAPPINGS = (
    Mapping.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT,
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
)
FILTERINGS = (
    Filtering.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
)
SOON = 1.5
"""Seconds within which there is a report if something answers."""
BRISKLY = 0.7
"""The same where somebody waits for it."""


@pytest.mark.parametrize(
    ("patience", "soon"),
    [(THOROUGH, SOON), (BRISK, BRISKLY)],
    ids=["thorough", "brisk"],
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_network_is_recognised(
    kind: Kind, patience: Patience, soon: float
) -> None:
    network = internet()
    expected = kind.behaviour
    host = kind.add_to(network, "host", 1)

    report, took = discover(network, host, patience=patience)

    found = report.behavior
    assert (found.type, found.mapping) == (expected.type, expected.mapping)
    assert found.filtering is expected.filtering
    assert took < (soon if kind is not UDP_BLOCKED else 3.1)
    if expected.mapping is not Mapping.NONE:
        assert found.port_allocation is expected.port_allocation
        assert found.port_delta == expected.port_delta


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("filtering", FILTERINGS)
@pytest.mark.parametrize(
    ("allocation", "delta"),
    [
        (PortAllocation.PRESERVING, None),
        (PortAllocation.RANDOM, None),
        (PortAllocation.SEQUENTIAL, 1),
        (PortAllocation.SEQUENTIAL, -2),
    ],
)
def test_every_mapping_filtering_and_allocation_is_told_apart(
    mapping: Mapping,
    filtering: Filtering,
    allocation: PortAllocation,
    delta: int | None,
) -> None:
    nat = Nat(mapping, filtering, allocation, delta=delta or 1)
    network = internet()

    report, took = discover(network, behind(network, nat))

    found = report.behavior
    assert (found.mapping, found.filtering) == (mapping, filtering)
    assert found.port_preserving is (allocation is PortAllocation.PRESERVING)
    assert took < SOON
    keeps = found.port_preserving and mapping is not Mapping.ENDPOINT_INDEPENDENT
    # A port kept for the first destination says nothing of the next ones: those of
    # this NAT are random.
    if not keeps:
        assert (found.port_allocation, found.port_delta) == (allocation, delta)
    elif mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT:
        assert found.port_allocation is PortAllocation.RANDOM


@pytest.mark.parametrize("hairpin", [True, False])
@pytest.mark.parametrize("filtering", FILTERINGS)
def test_hairpinning_is_seen_through_every_filter(
    filtering: Filtering, hairpin: bool
) -> None:
    network = internet()
    laptop = behind(network, Nat(filtering=filtering, hairpin=hairpin))

    report, _ = discover(network, laptop)

    assert report.behavior.hairpinning is hairpin


def test_hairpinning_is_unknown_where_the_test_itself_is_filtered() -> None:
    network = internet()
    nat = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, hairpin=True)

    report, _ = discover(network, behind(network, nat))

    assert report.behavior.hairpinning is None


def test_the_public_endpoint_is_that_of_the_nodes_own_socket() -> None:
    network = internet()

    report, _ = discover(network, LINUX.add_to(network, "host", 1), port=41641)

    assert report.behavior.public == Endpoint("203.0.1.1", 41641)
    assert report.behavior.reachable


def test_foreign_mappings_between_samples_hide_neither_sequence_nor_step() -> None:
    network = internet()
    nat = Nat(
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
        allocation=PortAllocation.SEQUENTIAL,
        delta=2,
    )
    laptop = behind(network, nat)
    router = laptop.interfaces[0].realm.gateway
    assert router is not None
    translation = router.translation
    assert translation is not None

    def interfere(packet: Packet) -> bool:
        translation.use_up_ports(network.random.randrange(3))
        return False

    network.lose = interfere

    report, _ = discover(network, laptop)

    assert report.behavior.port_allocation is PortAllocation.SEQUENTIAL
    assert report.behavior.port_delta == 2


def test_ipv6_behind_a_firewall_is_measured_like_ipv4() -> None:
    network = Network()
    add_stun_server(network, "stun", SERVER6.host, "2001:db8::2")
    router = network.add_router("home", "203.0.113.1", nat=Nat())
    laptop = network.add_host("laptop", "2001:db8:7::2", behind=router)

    report, _ = discover(network, laptop, servers=[SERVER6])

    assert report.behavior.type is NatType.SYMMETRIC_UDP_FIREWALL


def test_one_address_tells_that_the_mapping_depends_on_the_port() -> None:
    network = Network()
    add_stun_server(network, "stun", SERVER.host)

    report, took = discover(network, SYMMETRIC_RANDOM.add_to(network, "host", 1))

    assert report.behavior.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert report.behavior.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
    assert took < SOON


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_one_address_never_leads_to_a_wrong_claim(kind: Kind) -> None:
    network = Network()
    add_stun_server(network, "stun", SERVER.host)

    report, _ = discover(network, kind.add_to(network, "host", 1))

    assert_not_wrong(report, kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_several_servers_of_one_address_are_compared(kind: Kind) -> None:
    network = Network()
    for index, server in enumerate((SERVER, *OTHERS)):
        add_stun_server(network, f"stun-{index}", server.host)

    report, took = discover(
        network, kind.add_to(network, "host", 1), servers=[SERVER, *OTHERS]
    )

    assert report.behavior.mapping is kind.behaviour.mapping
    assert_not_wrong(report, kind)
    assert took < (SOON if kind is not UDP_BLOCKED else 3.1)


def test_servers_that_know_only_binding_still_show_a_symmetric_nat() -> None:
    network = Network()
    for index, server in enumerate(OTHERS):
        fake(network, f"old-{index}", server, plain_answer)

    report, _ = discover(
        network, SYMMETRIC_RANDOM.add_to(network, "host", 1), servers=OTHERS
    )

    assert report.behavior.mapping is Mapping.UNKNOWN
    assert report.behavior.type is NatType.SYMMETRIC


def test_a_dead_server_beside_a_good_one_costs_no_time_and_is_named() -> None:
    network = internet()
    dead = Endpoint("192.0.2.99", 3478)

    report, took = discover(
        network, LINUX.add_to(network, "host", 1), servers=[dead, SERVER]
    )

    assert report.behavior.type is NatType.PORT_RESTRICTED_CONE
    assert took < SOON
    errors = {server.address: server.error for server in report.servers}
    assert errors == {dead: "no answer", SERVER: None}


@pytest.mark.parametrize("patience", [THOROUGH, BRISK], ids=["thorough", "brisk"])
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_loss_jitter_and_distance_make_it_know_less_but_claim_nothing_wrong(
    kind: Kind, seed: int, patience: Patience
) -> None:
    network = Network(seed=seed)
    add_stun_server(network, "stun", SERVER.host, SECOND.host)
    host = kind.add_to(network, "host", 1)
    for interface in host.interfaces:
        interface.uplink = Wire(delay=seed * 0.005, jitter=0.01, loss=0.1)

    report, took = discover(network, host, patience=patience)

    assert took <= 4.8
    assert report.behavior.mapping in (kind.behaviour.mapping, Mapping.UNKNOWN)
    assert report.behavior.type in (kind.behaviour.type, NatType.UNKNOWN)


def test_a_server_that_does_not_answer_looks_like_blocked_udp() -> None:
    network = Network()
    network.add_host("server", SERVER.host)

    report, took = discover(network, PUBLIC.add_to(network, "host", 1))

    assert report.behavior.type is NatType.UDP_BLOCKED
    assert not report.behavior.reachable
    assert report.servers[0].error == "no answer"
    assert took < 5


def test_without_any_server_nothing_is_known_at_once() -> None:
    network = Network()

    report, took = discover(network, PUBLIC.add_to(network, "host", 1), servers=[])

    assert report.behavior.type is NatType.UNKNOWN
    assert took == 0


def test_without_a_network_there_is_a_report_in_time() -> None:
    network = internet()

    report, took = discover(network, network.add_host("host"))

    assert not report.behavior.reachable
    assert took < 5


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.0, 1.45])
def test_a_late_answer_is_used_within_the_limit(delay: float) -> None:
    network = Network()
    add_stun_server(network, "stun", SERVER.host, SECOND.host)
    host = LINUX.add_to(network, "host", 1)
    host.interfaces[0].uplink = Wire(delay)

    report, took = discover(network, host)

    assert report.behavior.reachable
    assert report.behavior.type in (NatType.PORT_RESTRICTED_CONE, NatType.UNKNOWN)
    assert took <= 4.8


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("a dead host", Endpoint("192.0.2.99", 3479)),
        ("its own host", Endpoint(SERVER.host, 3479)),
        ("its own port", Endpoint("192.0.2.99", SERVER.port)),
        ("another family", SERVER6),
        ("a multicast group", Endpoint("224.0.0.1", 3479)),
        ("loopback", Endpoint("127.0.0.1", 3479)),
        ("nothing", Endpoint("0.0.0.0", 3479)),
        ("everyone", Endpoint("255.255.255.255", 3479)),
        ("port zero", Endpoint("192.0.2.99", 0)),
    ],
)
def test_a_server_that_lies_about_its_other_address_proves_nothing(
    what: str, other: Endpoint
) -> None:
    network = Network()
    asked: list[Endpoint] = []

    def answer(request: Message, socket: Socket, source: Endpoint) -> None:
        plain_answer(request, socket, source, {Attribute.OTHER_ADDRESS: other})

    fake(network, "liar", SERVER, answer)
    host = FULL_CONE.add_to(network, "host", 1)

    def watch(packet: Packet) -> bool:
        asked.append(Endpoint(*packet.destination))
        return False

    network.lose = watch

    report, took = discover(network, host)

    assert report.behavior.mapping is Mapping.UNKNOWN
    assert report.behavior.filtering is Filtering.UNKNOWN
    assert report.behavior.public is not None
    assert took < SOON + 0.5
    if what not in ("a dead host",):
        assert other.host == SERVER.host or other.host not in {e.host for e in asked}


def test_a_server_that_ignores_change_requests_proves_no_filtering() -> None:
    network = Network()
    fake(network, "plain", SERVER, plain_answer)
    fake(network, "plain-2", SECOND, plain_answer)

    report, _ = discover(network, LINUX.add_to(network, "host", 1))

    assert report.behavior.filtering is Filtering.UNKNOWN


def test_a_server_that_refuses_everything_is_named_and_udp_is_not_blocked() -> None:
    network = Network()

    def refuse(request: Message, socket: Socket, source: Endpoint) -> None:
        error = {Attribute.ERROR_CODE: StunErrorCode(403, "Forbidden")}
        reply(request, socket, source, error, Class.ERROR)

    fake(network, "angry", SERVER, refuse)

    report, _ = discover(network, LINUX.add_to(network, "host", 1))

    assert report.servers[0].error == "refused: 403 Forbidden"
    assert report.behavior.reachable
    assert report.behavior.type is NatType.UNKNOWN


def test_answers_with_another_transaction_are_not_accepted() -> None:
    network = Network()

    def answer(request: Message, socket: Socket, source: Endpoint) -> None:
        request.transaction_id = bytes(12)
        plain_answer(request, socket, source)

    fake(network, "confused", SERVER, answer)

    report, took = discover(network, LINUX.add_to(network, "host", 1))

    assert not report.behavior.reachable
    assert took < 5


def test_garbage_under_our_transaction_is_counted_and_not_accepted() -> None:
    network = Network()
    source = random.Random(1)

    def answer(request: Message, socket: Socket, client: Endpoint) -> None:
        data = bytearray(plain_bytes(request, client))
        data[20:] = source.randbytes(len(data) - 20)
        socket.send(bytes(data), client)

    fake(network, "broken", SERVER, answer)

    report, took = discover(network, LINUX.add_to(network, "host", 1))

    assert report.behavior.public is None
    assert took < 5


def test_an_answer_from_another_address_is_reported_and_not_accepted() -> None:
    network = Network()
    elsewhere = network.add_host("elsewhere", SECOND.host).open(3478)

    def answer(request: Message, socket: Socket, source: Endpoint) -> None:
        plain_answer(request, elsewhere, source.unpinned())

    fake(network, "asymmetric", SERVER, answer)

    report, _ = discover(network, FULL_CONE.add_to(network, "host", 1))

    assert report.behavior.public is None
    assert report.behavior.type is NatType.UNKNOWN
    assert report.servers[0].error == "answered from another address"


def test_an_answer_of_another_family_is_not_accepted() -> None:
    network = Network()

    def answer(request: Message, socket: Socket, source: Endpoint) -> None:
        mapped = {Attribute.XOR_MAPPED_ADDRESS: SERVER6}
        reply(request, socket, source, mapped)

    fake(network, "odd", SERVER, answer)

    report, _ = discover(network, PUBLIC.add_to(network, "host", 1))

    assert report.behavior.public is None


def test_a_host_with_two_ways_out_is_measured_on_the_one_in_use() -> None:
    network = internet()
    host = LINUX.add_to(network, "host", 1)
    lte = network.add_router("lte", "203.0.113.200", nat=Nat())
    host.add_interface("10.0.0.5", behind=lte)

    report, _ = discover(network, host)

    assert report.behavior.public is not None
    assert report.behavior.public.host == "203.0.1.1"
    assert report.behavior.type is NatType.PORT_RESTRICTED_CONE


@pytest.mark.parametrize("fresh", [0, 1, 2])
def test_with_fewer_sockets_less_is_known_but_nothing_is_wrong(fresh: int) -> None:
    network = internet()

    report, _ = discover(network, LINUX.add_to(network, "host", 1), fresh=fresh)

    assert_not_wrong(report, LINUX)
    assert report.behavior.mapping is Mapping.ENDPOINT_INDEPENDENT
    if not fresh:
        assert report.behavior.filtering is Filtering.UNKNOWN


def test_a_shorter_limit_is_kept() -> None:
    network = internet()

    report, took = discover(network, LINUX.add_to(network, "host", 1), limit=0.4)

    assert took == pytest.approx(0.4)
    assert report.behavior.reachable
    assert report.behavior.mapping is Mapping.UNKNOWN


def test_a_socket_that_a_sloppy_router_has_moved_makes_no_symmetric_nat() -> None:
    """Its flow to the first server is an old one, and later ones have another port."""
    network = internet()
    host = SLOPPY_LINUX.add_to(network, "host", 1)
    own = host.open()
    peer = network.add_host("peer", "192.0.2.77").open(9)
    own.send(stun.binding_request(bytes(12)), SERVER)
    network.run(until=network.now + 1)
    peer.send(b"unasked", Endpoint("203.0.1.1", own.port))
    network.run(until=network.now + 1)
    for _ in range(2):
        own.send(b"later", Endpoint("192.0.2.77", 9))
        own.send(stun.binding_request(bytes(12)), SERVER)
        network.run(until=network.now + 20)
    moved = peer.received[-1][1]
    assert moved.port != own.port

    found = discover(network, host)[0].behavior

    assert found.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert not found.varies
    assert found.public is not None
    assert (found.public.host, found.public.port) == (moved.host, moved.port)


def test_nothing_is_sent_to_the_alternate_address_before_filtering_was_tested() -> None:
    network = internet()
    sent: list[tuple[float, str]] = []

    def watch(packet: Packet) -> bool:
        sent.append((network.now - start, packet.destination[0]))
        return False

    network.lose = watch
    start = network.now
    discover(network, LINUX.add_to(network, "host", 1))

    to_second = [when for when, host in sent if host == SECOND.host]
    assert min(to_second) > 0.5


def test_no_server_is_asked_more_than_ten_things() -> None:
    network = internet()
    asked: set[bytes] = set()

    def watch(packet: Packet) -> bool:
        if packet.destination[0] in (SERVER.host, SECOND.host):
            asked.add(packet.payload[8:20])
        return False

    network.lose = watch
    discover(network, SYMMETRIC_RANDOM.add_to(network, "host", 1))

    assert len(asked) <= 10


def test_messages_for_others_are_left_alone() -> None:
    discovery = NatDiscovery(
        [SERVER], {UDP: 1}, random=random.Random(1).randbytes, now=5
    )

    assert not discovery.receive_stun(stun.binding_request(bytes(12)), SERVER, 5)
