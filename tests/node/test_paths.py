"""Path agents of one node: made when needed, steered, woken in time, and let go."""

import random
from collections import deque
from ipaddress import ip_network

import pytest

from meshwg.control.client import ControlClient, Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.node.events import NodeEvent, SocketsClosed, SocketsWanted
from meshwg.node.hubs import Diversions
from meshwg.node.paths import DERIVED_AT_ONCE, ORPHAN_INTERVAL, Paths
from meshwg.path.candidate import CandidateKind, Rejection
from meshwg.path.check import Asked, CheckKeys, Checks
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.relay.pool import FIRST_LINK, RelayPool
from meshwg.transmit import Endpoint, Random
from meshwg.whereabouts import Whereabouts
from meshwg.wire import control, stun
from meshwg.wireguard.device import Device

NOW = 1000.0
LOW_ORDER_KEY = bytes(32)
RELAY_LINK = FIRST_LINK
SOURCE = Endpoint("192.0.2.1", 1)
RELAYED = control.ReportedCandidate(kind="relay", host="198.51.100.9", port=50000)
RELAYED_ENDPOINT = Endpoint("198.51.100.9", 50000, RELAY_LINK)

# Agents


def test_an_agent_is_made_once() -> None:
    stage = Stage()
    peer = stage.add_peer()

    agent = stage.paths.begin(peer, NOW)

    assert agent is not None
    assert stage.paths.begin(peer, NOW) is agent


def test_a_peer_whose_key_is_of_low_order_gets_none() -> None:
    stage = Stage()
    peer = stage.add_peer(LOW_ORDER_KEY)

    stage.paths.receive_offer(peer, stage.offer_of(peer), NOW)

    assert stage.paths.begin(peer, NOW) is None
    assert peer.agent is None


def test_checks_find_their_agent_until_the_peer_is_forgotten() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.begin(peer, NOW)

    stage.paths.receive_check(stage.check_of(peer), SOURCE, NOW)
    assert stage.paths.drops["unknown-check"] == 0
    assert stage.paths.datagrams_to_send()[0].destination == SOURCE

    stage.paths.remove(peer)
    stage.paths.receive_check(stage.check_of(peer), SOURCE, NOW)
    assert stage.paths.drops["unknown-check"] == 1


def test_a_check_of_a_member_that_was_never_needed_makes_its_agent() -> None:
    stage = Stage()
    peer = stage.add_peer()

    stage.paths.receive_check(stage.check_of(peer), SOURCE, NOW)

    assert peer.agent is not None
    assert stage.paths.datagrams_to_send()[0].destination == SOURCE


def test_each_unknown_check_pays_for_a_few_members_and_all_have_their_turn() -> None:
    stage = Stage()
    peers = [stage.add_peer() for _ in range(DERIVED_AT_ONCE + 1)]

    stage.paths.receive_check(stage.check_of(peers[-1]), SOURCE, NOW)
    assert stage.paths.drops["unknown-check"] == 1
    stage.paths.receive_check(stage.check_of(peers[-1]), SOURCE, NOW)

    assert stage.paths.drops["unknown-check"] == 1
    assert [peer for peer in peers if peer.agent is not None] == [peers[-1]]


def test_a_check_of_nobody_makes_no_agent() -> None:
    stage = Stage()
    peers = [stage.add_peer(), stage.add_peer(LOW_ORDER_KEY)]
    stranger = stun.parse(stun.binding_request(bytes(12)))

    stage.paths.receive_check(stranger, SOURCE, NOW)

    assert stage.paths.drops["unknown-check"] == 1
    assert [peer.agent for peer in peers] == [None, None]


def test_a_session_that_this_node_has_lost_is_begun_anew() -> None:
    stage = Stage()
    peer, other = stage.add_peer(), stage.add_peer()
    for each in (peer, other):
        stage.paths.begin(each, NOW)
    stage.device.set_endpoint(peer.tunnel, SOURCE)

    stage.paths.session_unknown(SOURCE._replace(port=9), NOW)
    assert stage.device.datagrams_to_send() == []
    stage.paths.session_unknown(SOURCE, NOW + ORPHAN_INTERVAL)

    (initiation,) = stage.device.datagrams_to_send()
    assert initiation.destination == SOURCE


def test_a_flood_of_unknown_sessions_is_looked_at_a_few_times_a_second() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.begin(peer, NOW)
    stage.paths.session_unknown(SOURCE, NOW)
    stage.device.set_endpoint(peer.tunnel, SOURCE)

    stage.paths.session_unknown(SOURCE, NOW + ORPHAN_INTERVAL / 2)

    assert stage.device.datagrams_to_send() == []


def test_answers_find_their_agent_though_two_drew_the_same_route() -> None:
    stage = Stage()
    stage.paths = stage.make_paths(lambda length: bytes(length))
    peers = [stage.add_peer() for _ in range(3)]
    for peer in peers:
        stage.paths.begin(peer, NOW)

    for peer in peers:
        stage.paths.receive_check(stage.answer_of(peer), SOURCE, NOW)

    assert stage.paths.drops["unknown-check"] == 0
    for peer in peers:
        assert peer.agent is not None
        assert peer.agent.drops.total() == 0, "everybody got their own answer"


def test_an_offer_makes_an_agent_that_answers() -> None:
    stage = Stage()
    peer = stage.add_peer()

    stage.paths.receive_offer(peer, stage.offer_of(peer, RELAYED), NOW)

    assert peer.agent is not None
    assert stage.paths.get_timer() is not None
    assert stage.paths.has_asked


def test_the_tunnel_goes_where_its_agent_says() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.receive_offer(peer, stage.offer_of(peer, RELAYED), NOW)

    assert peer.tunnel.endpoint == RELAYED_ENDPOINT


def test_what_waits_for_a_peer_leaves_as_soon_as_there_is_a_way() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.device.allowed_ips.insert(ip_network("100.64.0.9"), peer.tunnel.lane)
    stage.device.receive_packets([packet_to("100.64.0.9")], NOW)
    assert stage.device.datagrams_to_send() == []
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.receive_offer(peer, stage.offer_of(peer, RELAYED), NOW)

    (initiation,) = stage.device.datagrams_to_send()
    assert initiation.destination == RELAYED_ENDPOINT


# The relay


def test_a_peer_is_reached_through_the_relay_that_both_have() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))

    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)

    assert peer.relayed == RELAYED_ENDPOINT
    assert stage.relays.opened == [RELAYED_ENDPOINT]


def test_another_relay_replaces_the_way_through_the_old_one() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.relay_changed(RELAY_LINK + 1, NOW)
    assert peer.relayed == RELAYED_ENDPOINT._replace(link=RELAY_LINK + 1)
    assert stage.relays.closed == [RELAYED_ENDPOINT]


def test_without_a_relay_there_is_no_way_through_it() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.relay_changed(None, NOW)

    assert peer.relayed is None
    assert peer.tunnel.endpoint is None


def test_a_peer_without_agent_costs_the_relay_nothing() -> None:
    stage = Stage()
    stage.add_peer(candidates=(RELAYED,))

    stage.paths.relay_changed(RELAY_LINK, NOW)

    assert stage.relays.opened == []


def test_a_peer_that_speaks_from_elsewhere_on_the_relay_is_answered_there() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    moved = RELAYED_ENDPOINT._replace(port=50001)

    stage.paths.receive_check(stage.check_of(peer), moved, NOW)

    assert peer.relayed == moved


def test_the_hosts_of_peers_relays_are_permitted_once_and_forbidden_after() -> None:
    stage = Stage()
    one, two = (
        stage.add_peer(candidates=(RELAYED,)),
        stage.add_peer(candidates=(RELAYED,)),
    )

    stage.paths.permit_relays([one, two], NOW)
    stage.paths.permit_relays([one], NOW)
    assert stage.relays.permitted == [RELAYED.host]
    assert stage.relays.forbidden == []

    stage.paths.permit_relays([], NOW)
    assert stage.relays.forbidden == [RELAYED.host]


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", Rejection.LOOPBACK),
        ("224.0.0.1", Rejection.MULTICAST),
        ("0.0.0.0", Rejection.UNSPECIFIED),
        ("100.64.0.7", Rejection.MESH),
    ],
)
def test_a_relayed_address_that_leads_nowhere_is_counted_and_not_opened(
    host: str, why: Rejection
) -> None:
    stage = Stage()
    stage.overlay.set_mesh([ip_network("100.64.0.0/16")])
    nowhere = RELAYED.model_copy(update={"host": host})
    peer = stage.add_peer(candidates=(nowhere,))

    stage.paths.permit_relays([peer], NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    stage.paths.receive_offer(peer, stage.offer_of(peer, nowhere), NOW)

    assert peer.relayed is None
    assert stage.relays.opened == []
    assert stage.relays.permitted == []
    assert stage.paths.drops[why.value] > 0


# Sockets


def test_sockets_that_nobody_waits_for_any_more_are_closed() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.begin(peer, NOW)
    stage.paths.want_sockets(peer, 4, 2)
    assert stage.events.popleft() == SocketsWanted(1, 4, 2)
    stage.paths.remove(peer)

    stage.paths.sockets_opened(1, {5: 1000, 6: 1001}, NOW)
    stage.paths.sockets_opened(99, {7: 1002}, NOW)
    stage.paths.sockets_opened(98, {}, NOW)

    assert list(stage.events) == [SocketsClosed((5, 6)), SocketsClosed((7,))]


# Time


def test_an_agent_that_was_let_go_is_not_woken() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.receive_offer(peer, stage.offer_of(peer), NOW)
    assert stage.paths.get_timer() is not None

    stage.paths.remove(peer)

    assert stage.paths.get_timer() is None


def packet_to(address: str) -> bytes:
    """Return an empty IPv4 packet to an address."""
    return bytes([0x45, 0, 0, 20, *bytes(12), *map(int, address.split("."))])


class Recorder(RelayPool):
    """A relay pool that writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__(random=random.Random(8).randbytes)
        self.opened: list[Endpoint] = []
        self.closed: list[Endpoint] = []
        self.permitted: list[str] = []
        self.forbidden: list[str] = []

    def open(self, peer: Endpoint, now: float) -> None:
        self.opened.append(peer)

    def close(self, peer: Endpoint) -> None:
        self.closed.append(peer)

    def permit(self, host: str, now: float) -> None:
        self.permitted.append(host)

    def forbid(self, host: str) -> None:
        self.forbidden.append(host)


class Stage:
    """The paths of one node."""

    def __init__(self) -> None:
        self.random = random.Random(7).randbytes
        self.key = PrivateKey.generate(self.random)
        self.device = Device(
            random=self.random, unix_time=lambda now: now, roaming=False
        )
        self.device.set_private_key(self.key)
        self.device.up(NOW)
        coordinator = PrivateKey.generate(self.random).public_bytes
        membership = Identity(self.key, coordinator, "node")
        self.relays = Recorder()
        self.events: deque[NodeEvent] = deque()
        self.overlay = Overlay()
        self._control = ControlClient(membership, now=NOW, random=self.random)
        self.paths = self.make_paths(self.random)
        self._keys: dict[MeshPeer, PrivateKey] = {}

    def make_paths(self, source: Random) -> Paths:
        """Return new paths that draw from a source."""
        return Paths(
            self.key,
            self.device,
            self._control,
            self.relays,
            Whereabouts(random=self.random, listen_port=41641),
            Diversions(self.device),
            self.overlay,
            self.events,
            random=source,
            birthday=True,
        )

    def add_peer(
        self,
        key: bytes | None = None,
        candidates: tuple[control.ReportedCandidate, ...] = (),
    ) -> MeshPeer:
        private_key = PrivateKey.generate(self.random)
        key = key or private_key.public_bytes
        entry = control.PeerEntry(
            public_key=format_key(key),
            name="peer",
            addresses=("100.64.0.9",),
            version=1,
            candidates=candidates,
        )
        peer = MeshPeer(entry, self.device.add_peer(key))
        self._keys[peer] = private_key
        self.paths.add(peer)
        return peer

    def offer_of(
        self, peer: MeshPeer, *candidates: control.ReportedCandidate
    ) -> control.OfferMessage:
        return control.OfferMessage(
            to=format_key(self.key.public_bytes),
            sender=peer.key,
            sequence=1,
            candidates=candidates,
        )

    def check_of(self, peer: MeshPeer) -> stun.Message:
        """Return a check that the peer makes."""
        return stun.parse(self._checks_of(peer).ask(SOURCE, CandidateKind.HOST, NOW))

    def answer_of(self, peer: MeshPeer) -> stun.Message:
        """Return the peer's answer to a check that its agent makes."""
        assert peer.agent is not None
        check = peer.agent.checks.ask(SOURCE, CandidateKind.HOST, NOW)
        asked = self._checks_of(peer).receive(stun.parse(check), SOURCE, NOW)
        assert isinstance(asked, Asked)
        return stun.parse(asked.answer)

    def _checks_of(self, peer: MeshPeer) -> Checks:
        keys = CheckKeys.derive(self._keys[peer], self.key.public_bytes)
        assert keys is not None
        return Checks(keys, self.random)
