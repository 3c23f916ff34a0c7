"""Where a node is: its candidates, and when it looks at its NAT."""

import random

import pytest

from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.discovery import FRESH_SOCKETS, NO_ROUTE
from meshwg.nattypes import NatType
from meshwg.path.candidate import CandidateKind
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.whereabouts import (
    INTERVAL,
    MIN_INTERVAL,
    RETRY_INTERVAL,
    CandidatesChanged,
    FreshSocketsWanted,
    PublicAddressChanged,
    SocketsUnused,
    Whereabouts,
)
from tests.sim.kinds import (
    PORT_RESTRICTED,
    PUBLIC,
    SLOPPY_LINUX,
    SYMMETRIC_RANDOM,
    UDP_BLOCKED,
)
from tests.sim.kinds import Kind as Network
from tests.sim.network import START
from tests.sim.network import Network as Internet
from tests.sim.servers import STUN_PORT, add_stun_server

NOW = START
PORT = 41641
HOST, OTHER_HOST, HOST6 = "192.168.1.2", "10.0.0.7", "2001:db8::7"
STUN_HOSTS = ("198.51.100.1", "198.51.100.2")
SERVERS = [Endpoint(host, STUN_PORT) for host in STUN_HOSTS]

# Candidates


def test_its_host_addresses_are_candidates_at_its_port() -> None:
    whereabouts = make()

    whereabouts.set_hosts([HOST, HOST6], NOW)

    assert shown(whereabouts) == [("host", HOST, PORT), ("host", HOST6, PORT)]
    assert whereabouts.next_event() == CandidatesChanged()


def test_an_unchanged_value_is_not_reported() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST], NOW)
    whereabouts.next_event()

    whereabouts.set_hosts([HOST], NOW)
    whereabouts.set_mapped(None)
    whereabouts.set_relayed(None)

    assert whereabouts.next_event() is None


def test_mapped_and_relayed_addresses_come_after_the_hosts() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST], NOW)
    whereabouts.set_mapped(Endpoint("203.0.113.1", 5000))
    whereabouts.set_relayed(Endpoint("198.51.100.9", 50000))

    kinds = [candidate.kind for candidate in whereabouts.candidates]
    assert kinds == [
        CandidateKind.HOST,
        CandidateKind.PORT_MAPPED,
        CandidateKind.RELAYED,
    ]

    whereabouts.set_mapped(None)
    whereabouts.set_relayed(None)
    assert shown(whereabouts) == [("host", HOST, PORT)]


def test_an_address_is_a_candidate_once() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST], NOW)
    whereabouts.set_mapped(Endpoint(HOST, PORT))

    assert shown(whereabouts) == [("host", HOST, PORT)]


# Discovery


@pytest.mark.parametrize(
    ("kind", "expected", "public"),
    [
        (PUBLIC, NatType.OPEN_INTERNET, "203.0.1.2"),
        (PORT_RESTRICTED, NatType.PORT_RESTRICTED_CONE, "203.0.1.1"),
    ],
    ids=["public", "port-restricted"],
)
def test_the_nat_is_discovered_and_its_address_is_a_candidate(
    kind: Network, expected: NatType, public: str
) -> None:
    stage = Stage(kind)
    stage.run(5)

    nat = stage.nat()
    assert nat.type is expected
    assert nat.public is not None
    assert nat.public.host == public
    assert public in [candidate.host for candidate in stage.whereabouts.candidates]
    assert stage.sockets == {UDP}


def test_a_public_address_is_offered_before_the_report() -> None:
    stage = Stage(PORT_RESTRICTED)
    stage.run(0.2)
    assert "203.0.1.1" in hosts(stage)
    assert stage.whereabouts.is_looking


def test_another_public_address_takes_the_place_of_the_old_one_as_early() -> None:
    stage = Stage(PORT_RESTRICTED)
    stage.run(5)
    redial(stage)
    assert "203.0.99.1" in hosts(stage)
    assert "203.0.1.1" not in hosts(stage)
    assert stage.whereabouts.is_looking
    assert stage.seen.count(PublicAddressChanged()) == 1
    stage.run(5)
    assert stage.seen.count(PublicAddressChanged()) == 1


def test_where_each_server_sees_another_port_only_the_report_counts() -> None:
    stage = Stage(SYMMETRIC_RANDOM)
    stage.run(5)
    before = hosts(stage)
    redial(stage)
    assert hosts(stage) == before
    stage.run(5)
    assert "203.0.99.1" in hosts(stage)
    assert stage.seen.count(PublicAddressChanged()) == 1


def test_a_socket_that_a_router_has_moved_is_offered_where_it_is_now() -> None:
    """Only its flow to the first server, which is never idle, has the old port."""
    stage = Stage(SLOPPY_LINUX)
    stage.run(5)
    peer = stage.internet.add_host("peer", "192.0.2.77").open(9)
    peer.send(b"unasked", Endpoint("203.0.1.1", PORT))
    stage.run(1)
    stage.keep_open(SERVERS[0], Endpoint("192.0.2.77", 9), seconds=INTERVAL)
    moved = peer.received[-1][1].port
    assert (CandidateKind.REFLEXIVE.value, "203.0.1.1", moved) in shown(
        stage.whereabouts
    )
    assert not stage.nat().varies

    seen = len(stage.seen)
    stage.keep_open(SERVERS[0], Endpoint("192.0.2.77", 9), seconds=INTERVAL)
    assert len(stage.looks) == 3
    assert CandidatesChanged() not in stage.seen[seen:]


def test_the_first_public_address_is_no_change() -> None:
    stage = Stage(PORT_RESTRICTED)
    stage.run(5)
    assert PublicAddressChanged() not in stage.seen


def test_it_looks_again_after_a_while() -> None:
    stage = Stage(PUBLIC)
    stage.run(5)
    before = len(stage.looks)

    stage.run(INTERVAL)

    assert len(stage.looks) == before + 1


def test_without_an_answer_it_looks_again_sooner() -> None:
    stage = Stage(UDP_BLOCKED)
    stage.run(RETRY_INTERVAL)
    assert stage.nat().type is NatType.UDP_BLOCKED
    before = len(stage.looks)

    stage.run(2 * RETRY_INTERVAL)

    assert len(stage.looks) in (before + 1, before + 2)
    assert stage.sockets == {UDP}


def test_without_servers_or_addresses_it_does_not_look() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST], NOW)
    whereabouts.next_event()
    whereabouts.handle_timer(NOW)
    assert whereabouts.next_event() is None

    whereabouts = make()
    whereabouts.set_stun_servers(SERVERS, NOW)
    whereabouts.handle_timer(NOW)
    assert whereabouts.next_event() is None


def test_it_knows_since_when_it_knows() -> None:
    stage = Stage(PORT_RESTRICTED)
    stage.run(0.5)
    assert stage.looked_at() == float("-inf")

    stage.run(5)

    assert NOW < stage.looked_at() < stage.internet.now


def test_what_it_knows_stands_while_it_looks_again() -> None:
    stage = Stage(PORT_RESTRICTED)
    stage.run(10)
    before = stage.looked_at()

    stage.whereabouts.refresh(stage.internet.now)
    stage.run(0.2)
    assert stage.whereabouts.is_looking
    assert stage.looked_at() == before

    stage.run(5)
    assert stage.looked_at() > before


def test_of_another_network_it_knows_nothing_yet() -> None:
    stage = Stage(PORT_RESTRICTED)
    stage.run(5)

    stage.whereabouts.refresh(stage.internet.now, at_once=True)

    assert stage.whereabouts.looked_at is None


def test_both_families_belong_to_a_look() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST, HOST6], NOW)
    whereabouts.set_stun_servers([*SERVERS, Endpoint("2001:db8:1::1", 3478)], NOW)
    whereabouts.handle_timer(NOW)
    whereabouts.sockets_opened(4, {5: 1005}, NOW)
    later = NOW + 60
    whereabouts.handle_timer(later)
    assert whereabouts.nat[4] is not None
    assert whereabouts.looked_at is None

    whereabouts.sockets_opened(6, {6: 1006}, later)
    whereabouts.handle_timer(later + 10)

    assert whereabouts.looked_at == later + 10


def test_without_an_address_it_knows_that_no_server_can_be_reached() -> None:
    whereabouts = make()
    whereabouts.set_stun_servers(SERVERS, NOW)
    whereabouts.handle_timer(NOW)

    assert whereabouts.looked_at == NOW
    assert [each.error for each in whereabouts.servers[4]] == [NO_ROUTE] * 2
    assert not whereabouts.has(4)


def test_without_servers_it_knows_nothing() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST], NOW)
    whereabouts.handle_timer(NOW)

    assert whereabouts.looked_at is None


def test_frequent_refreshes_are_limited() -> None:
    stage = Stage(PUBLIC)
    stage.run(5)
    before = len(stage.looks)

    for _ in range(100):
        stage.whereabouts.refresh(stage.internet.now)
        stage.run(0.2)

    assert len(stage.looks) - before <= 20 / MIN_INTERVAL + 1


def test_another_network_ends_a_look_at_the_old_one() -> None:
    whereabouts = make()
    whereabouts.set_hosts([HOST], NOW)
    whereabouts.set_stun_servers(SERVERS, NOW)
    whereabouts.handle_timer(NOW)
    whereabouts.sockets_opened(4, {5: 1005, 6: 1006}, NOW)
    events(whereabouts)

    whereabouts.set_hosts([OTHER_HOST], NOW)
    whereabouts.handle_timer(NOW)

    assert events(whereabouts) == [
        CandidatesChanged(),
        SocketsUnused((5, 6)),
        FreshSocketsWanted(4, FRESH_SOCKETS),
    ]


def test_sockets_that_come_too_late_are_returned() -> None:
    whereabouts = make()

    whereabouts.sockets_opened(4, {5: 1005}, NOW)

    assert events(whereabouts) == [SocketsUnused((5,))]


def test_answers_from_strangers_are_not_accepted() -> None:
    stage = Stage(PUBLIC)
    garbage = b"\1\1\0\0\x21\x12\xa4\x42" + bytes(12)

    assert not stage.whereabouts.receive_stun(garbage, SERVERS[0], NOW)


def test_the_report_for_peers_is_that_of_ipv4() -> None:
    stage = Stage(PORT_RESTRICTED)
    assert stage.whereabouts.report.mapping.value == "unknown"

    stage.run(5)

    assert stage.whereabouts.report.mapping.value == "endpoint-independent"
    assert stage.whereabouts.stun_server() == SERVERS[0]


class Stage:
    """A host of the simulated internet that only wants to know where it is."""

    def __init__(self, kind: Network) -> None:
        self.internet = Internet(seed=5)
        add_stun_server(self.internet, "stun", *STUN_HOSTS)
        self.host = kind.add_to(self.internet, "host", 1)
        self.whereabouts = Whereabouts(
            random=self.internet.random.randbytes, listen_port=PORT
        )
        self.looks: list[float] = []
        self.seen: list[object] = []
        """All events so far."""
        self._links = 0
        self.whereabouts.set_hosts(self.host.addresses, NOW)
        self.whereabouts.set_stun_servers(SERVERS, NOW)
        self.host.run(self, PORT)

    @property
    def sockets(self) -> set[int]:
        """The links of the sockets that are open."""
        return set(self.host.sockets)

    def run(self, seconds: float) -> None:
        self.host.drain()
        self.internet.advance(seconds)

    def keep_open(self, *destinations: Endpoint, seconds: float) -> None:
        """Send to some destinations often enough that no NAT forgets."""
        for _ in range(int(seconds // 20)):
            for destination in destinations:
                self.host.sockets[UDP].send(bytes(20), destination)
            self.run(20)

    def looked_at(self) -> float:
        at = self.whereabouts.looked_at
        return float("-inf") if at is None else at

    def nat(self) -> NatBehavior:
        nat = self.whereabouts.nat[4]
        assert nat is not None
        return nat

    # The machine that the host runs.

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        self.whereabouts.receive_stun(data, source, now)

    def datagrams_to_send(self) -> list[Transmit]:
        for event in events(self.whereabouts):
            self.seen.append(event)
            if isinstance(event, FreshSocketsWanted):
                self._open(event)
            elif isinstance(event, SocketsUnused):
                for link in event.links:
                    self.host.close(link)
        return self.whereabouts.datagrams_to_send()

    def get_timer(self) -> float | None:
        return self.whereabouts.get_timer()

    def handle_timer(self, now: float) -> None:
        self.whereabouts.handle_timer(now)

    def _open(self, event: FreshSocketsWanted) -> None:
        self.looks.append(self.internet.now)
        ports = {}
        for _ in range(event.count):
            self._links += 1
            ports[self._links] = self.host.open(link=self._links).port
        self.whereabouts.sockets_opened(event.family, ports, self.internet.now)


def redial(stage: Stage) -> None:
    """Give the router another address, and let the node look for a moment."""
    router = stage.host.interfaces[0].realm.gateway
    assert router is not None
    router.change_addresses("203.0.99.1")
    stage.whereabouts.refresh(stage.internet.now, at_once=True)
    stage.run(0.2)


def hosts(stage: Stage) -> list[str]:
    return [candidate.host for candidate in stage.whereabouts.candidates]


def make() -> Whereabouts:
    return Whereabouts(random=random.Random(4).randbytes, listen_port=PORT)


def shown(whereabouts: Whereabouts) -> list[tuple[str, str, int]]:
    return [
        (candidate.kind.value, candidate.host, candidate.port)
        for candidate in whereabouts.candidates
    ]


def events(whereabouts: Whereabouts) -> list[object]:
    found: list[object] = []
    while (event := whereabouts.next_event()) is not None:
        found.append(event)
    return found
