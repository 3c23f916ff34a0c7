"""Path agents of one node: created when needed, steered, woken in time, discarded."""

from ipaddress import ip_network
from typing import cast

from meshwg.node.events import SocketsClosed, SocketsWanted
from meshwg.node.orphans import INTERVAL
from meshwg.wire import control
from meshwg.wireguard.session import Session
from tests.node.path_stage import (
    LOW_ORDER_KEY,
    NOW,
    RELAY_LINK,
    RELAYED,
    RELAYED_ENDPOINT,
    SOURCE,
    Stage,
)

# Agents


def test_an_agent_is_created_once() -> None:
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


def test_a_check_from_a_member_not_needed_before_creates_its_agent() -> None:
    stage = Stage()
    peer = stage.add_peer()

    stage.paths.receive_check(stage.check_of(peer), SOURCE, NOW)

    assert peer.agent is not None
    assert stage.paths.datagrams_to_send()[0].destination == SOURCE


def test_a_session_that_this_node_has_lost_is_replaced() -> None:
    stage = Stage()
    peer, other = stage.add_peer(), stage.add_peer()
    for each in (peer, other):
        stage.paths.begin(each, NOW)
    stage.device.set_endpoint(peer.tunnel, SOURCE)

    stage.paths.session_unknown(SOURCE._replace(port=9), NOW)
    assert stage.device.datagrams_to_send() == []
    stage.paths.session_unknown(SOURCE, NOW + INTERVAL)

    (initiation,) = stage.device.datagrams_to_send()
    assert initiation.destination == SOURCE


def test_a_flood_for_unknown_sessions_is_handled_a_few_times_a_second() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.begin(peer, NOW)
    stage.paths.session_unknown(SOURCE, NOW)
    stage.device.set_endpoint(peer.tunnel, SOURCE)

    stage.paths.session_unknown(SOURCE, NOW + INTERVAL / 2)

    assert stage.device.datagrams_to_send() == []


def test_a_peer_that_goes_on_with_a_lost_session_is_checked_where_it_is_known() -> None:
    stage = Stage()
    candidate = control.ReportedCandidate(kind="srflx", host=SOURCE.host, port=1)
    stage.add_peer()
    peer = stage.add_peer(candidates=(candidate,))

    stage.paths.session_unknown(SOURCE._replace(port=9), NOW)
    assert stage.paths.datagrams_to_send() == []
    stage.paths.session_unknown(SOURCE, NOW)

    (check,) = stage.paths.datagrams_to_send()
    assert check.destination == SOURCE
    assert peer.agent is not None
    assert stage.device.datagrams_to_send() == [], "nobody has proven anything yet"


def test_it_gets_a_new_session_as_soon_as_the_tunnel_goes_there() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.session_unknown(RELAYED_ENDPOINT, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    stage.device.datagrams_to_send()

    stage.paths.receive_offer(peer, stage.offer_of(peer, RELAYED), NOW)

    (initiation,) = stage.device.datagrams_to_send()
    assert initiation.destination == RELAYED_ENDPOINT


def test_a_peer_with_a_session_is_not_looked_for() -> None:
    stage = Stage()
    candidate = control.ReportedCandidate(kind="srflx", host=SOURCE.host, port=1)
    peer = stage.add_peer(candidates=(candidate,))
    peer.tunnel.current = cast(Session, "a session")

    stage.paths.session_unknown(SOURCE, NOW)

    assert peer.agent is None


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


def test_packets_waiting_for_a_peer_leave_as_soon_as_there_is_a_path() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.device.allowed_ips.insert(ip_network("100.64.0.9"), peer.tunnel.lane)
    stage.device.receive_packets([packet_to("100.64.0.9")], NOW)
    assert stage.device.datagrams_to_send() == []
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.receive_offer(peer, stage.offer_of(peer, RELAYED), NOW)

    (initiation,) = stage.device.datagrams_to_send()
    assert initiation.destination == RELAYED_ENDPOINT


# Sockets


def test_sockets_that_are_no_longer_awaited_are_closed() -> None:
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


def test_a_discarded_agent_is_not_woken() -> None:
    stage = Stage()
    peer = stage.add_peer()
    stage.paths.receive_offer(peer, stage.offer_of(peer), NOW)
    assert stage.paths.get_timer() is not None

    stage.paths.remove(peer)

    assert stage.paths.get_timer() is None


def packet_to(address: str) -> bytes:
    """Return an empty IPv4 packet to an address."""
    return bytes([0x45, 0, 0, 20, *bytes(12), *map(int, address.split("."))])
