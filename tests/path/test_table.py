"""Which path carries the data."""

import pytest

from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.path import (
    CONSENT_LIFETIME,
    DOUBT_AFTER,
    SILENT_AFTER,
    TRUST,
    Path,
)
from meshwg.path.score import KNOWN_AFTER
from meshwg.path.table import (
    ALTERNATE_HEARTBEAT,
    ALTERNATES,
    HEARTBEAT,
    KEEPALIVE,
    LOST_PATIENCE,
    LOST_RETRY,
    RELAY_RETRY,
    UNPROVEN_LIMIT,
    PathTable,
)
from meshwg.path.tunnels import PATIENCE, OwnTunnels, Tunnels
from meshwg.transmit import Endpoint, Source

RELAY = Endpoint("198.51.100.1", 50000, 1)
NEAR = Endpoint("192.168.1.2", 1111)
FAR = Endpoint("203.0.113.1", 1111)
STREAM = Endpoint("203.0.113.1", 2222, 9)
INSIDE = Endpoint("10.9.0.2", 1111, source=Source("10.9.0.1", 7))


def test_without_anything_there_is_no_path() -> None:
    table = PathTable()
    table.reselect(0.0, active=True)
    assert table.endpoints(0.0) == ()


def test_the_relay_is_used_before_it_is_proven() -> None:
    table = relayed()
    assert table.endpoints(0.0) == (RELAY,)


def test_an_unproven_direct_path_is_not_used() -> None:
    table = relayed()
    table.add(FAR, CandidateKind.REFLEXIVE)
    table.reselect(0.0, active=True)
    assert table.endpoints(0.0) == (RELAY,)


def test_a_proven_direct_path_takes_over() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    assert table.endpoints(10.0) == (FAR,)


def test_the_first_direct_path_is_not_replaced_by_an_equal_one() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0, rtt=0.050)
    other = FAR._replace(port=2222)
    prove(table, other, CandidateKind.REFLEXIVE, 10.1, rtt=0.045)
    assert table.endpoints(10.1) == (FAR,)
    prove(table, other._replace(port=3333), CandidateKind.REFLEXIVE, 10.2, rtt=0.030)
    assert table.endpoints(10.2) == (other._replace(port=3333),)


def test_the_shared_lan_takes_over_from_a_hairpin() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0, rtt=0.002)
    prove(table, NEAR, CandidateKind.HOST, 10.1, rtt=0.004)
    assert table.endpoints(10.1) == (NEAR,)


def test_a_stream_does_not_take_over_since_the_first_datagrams_were_slow() -> None:
    """Which ends of a pair disagreed about, on a machine that had much to do."""
    table = relayed()
    prove(table, FAR, CandidateKind.HOST, 10.0, rtt=0.030)
    prove(table, STREAM, CandidateKind.TCP, 10.1, rtt=0.002)
    assert table.endpoints(10.1) == (FAR,)


def test_datagrams_take_over_from_a_stream_that_was_first() -> None:
    table = relayed()
    prove(table, STREAM, CandidateKind.TCP, 10.0, rtt=0.002)
    assert table.endpoints(10.0) == (STREAM,)
    prove(table, FAR, CandidateKind.HOST, 10.1, rtt=0.030)
    assert table.endpoints(10.1) == (FAR,)


def test_in_doubt_data_also_goes_by_the_relay() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    silence(table, FAR, since=13.0)
    later = 13.0 + DOUBT_AFTER
    table.reselect(later, active=True)
    assert table.endpoints(later) == (FAR, RELAY)
    prove(table, FAR, CandidateKind.REFLEXIVE, later + 1)
    assert table.endpoints(later + 1) == (FAR,)


def test_while_the_direct_path_is_silent_the_relay_is_what_carries() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    assert table.carrier(10.0) is table.find(FAR)
    silence(table, FAR, since=16.0)
    assert table.carrier(16.0) is table.find(FAR)
    assert table.carrier(16.0 + SILENT_AFTER) is table.relay
    prove(table, FAR, CandidateKind.REFLEXIVE, 20.0)
    assert table.carrier(20.0) is table.find(FAR)


def test_without_a_relay_a_silent_path_is_the_one_there_is() -> None:
    table = PathTable()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    silence(table, FAR, since=16.0)
    assert table.carrier(20.0) is table.find(FAR)


def test_a_direct_path_that_was_given_up_is_tried_again_while_there_is_traffic() -> (
    None
):
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    lost = 10.0 + CONSENT_LIFETIME
    table.reselect(lost, active=True)
    table.plan(lost, active=True)
    assert table.endpoints(lost) == (RELAY,)
    assert found(table, FAR).due == lost + LOST_RETRY
    prove(table, FAR, CandidateKind.REFLEXIVE, lost + LOST_RETRY)
    assert table.endpoints(lost + LOST_RETRY) == (FAR,)


def test_paths_that_were_given_up_are_few_and_forgotten_in_the_end() -> None:
    table = relayed()
    for port in range(1, 6):
        prove(table, FAR._replace(port=port), CandidateKind.REFLEXIVE, 10.0)
    lost = 10.0 + CONSENT_LIFETIME
    table.reselect(lost, active=True)
    assert len(list(table.direct())) == ALTERNATES
    table.reselect(lost + LOST_PATIENCE, active=True)
    assert not list(table.direct())


def test_a_silent_path_gives_way_to_one_that_answers() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0, rtt=0.01)
    silence(table, FAR, since=13.0)
    other = FAR._replace(port=2222)
    prove(table, other, CandidateKind.PEER_REFLEXIVE, 10.0 + TRUST, rtt=0.2)
    assert table.endpoints(10.0 + TRUST) == (other,)


def test_a_silent_path_gives_way_to_one_that_answered_before_and_the_relay() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0, rtt=0.01)
    other = FAR._replace(port=2222)
    prove(table, other, CandidateKind.PEER_REFLEXIVE, 10.0, rtt=0.2)
    silence(table, FAR, since=13.0)
    later = 13.0 + DOUBT_AFTER
    table.reselect(later, active=True)
    assert table.endpoints(later) == (other, RELAY)


def test_without_traffic_silence_changes_nothing_until_consent_is_gone() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    silence(table, FAR, since=13.0)
    table.reselect(20.0, active=False)
    assert table.selected is table.find(FAR)
    table.reselect(10.0 + CONSENT_LIFETIME, active=False)
    assert table.endpoints(10.0 + CONSENT_LIFETIME) == (RELAY,)


def test_a_path_answers_until_a_check_is_left_unanswered() -> None:
    table = relayed()
    assert not table.has_answering(10.0)
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    later = 10.0 + 2 * TRUST
    assert table.has_answering(later), "it was not asked since"
    path = table.find(FAR)
    assert path is not None
    path.check_by(later)
    assert path.take_due(later)
    assert not table.has_answering(later)
    assert table.has_direct(later)
    path.answered(FAR, 0.01, later)
    assert table.has_answering(later)


def test_a_lossy_direct_path_is_abandoned_for_a_relay_that_works() -> None:
    table = relayed()
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    path = found(table, FAR)
    for _ in range(20):
        path.statistics.add_loss()
    table.reselect(11.0, active=True)
    assert table.selected is path, "the relay was never proven"
    prove(table, RELAY, CandidateKind.RELAYED, 10.0 + TRUST)
    assert table.endpoints(10.0 + TRUST) == (RELAY,)
    assert table.avoided(11.0) is path


def test_another_relay_takes_the_place_of_the_first() -> None:
    table = relayed()
    prove(table, RELAY, CandidateKind.RELAYED, 1.0)
    other = RELAY._replace(port=50001)
    table.set_relay(other, 2.0)
    table.reselect(2.0, active=True)
    assert table.endpoints(2.0) == (other,)
    assert table.find(RELAY) is None
    table.set_relay(None, 3.0)
    table.reselect(3.0, active=True)
    assert table.endpoints(3.0) == ()


def test_the_same_relay_again_changes_nothing() -> None:
    table = relayed()
    prove(table, RELAY, CandidateKind.RELAYED, 1.0)
    table.set_relay(RELAY, 2.0)
    assert found(table, RELAY).is_proven


def test_a_path_is_known_by_its_remote_end_and_socket() -> None:
    table = PathTable()
    path = table.add(FAR._replace(source=Source("192.168.1.2", 2)), CandidateKind.HOST)
    assert table.find(FAR) is path
    assert table.find(FAR._replace(link=9)) is None


def test_an_address_learnt_takes_the_kind_it_is_offered_as() -> None:
    table = PathTable()
    path = table.add(FAR, CandidateKind.PEER_REFLEXIVE)
    table.rename([Candidate(CandidateKind.REFLEXIVE, FAR.host, FAR.port)])
    assert path.kind is CandidateKind.REFLEXIVE


def test_a_port_that_was_found_keeps_its_kind() -> None:
    table = PathTable()
    path = table.add(FAR, CandidateKind.BIRTHDAY)
    table.rename([Candidate(CandidateKind.REFLEXIVE, FAR.host, FAR.port)])
    assert path.kind is CandidateKind.BIRTHDAY


def test_offered_addresses_that_never_worked_go_with_the_offer() -> None:
    table = relayed()
    table.add(FAR, CandidateKind.REFLEXIVE)
    table.add(FAR._replace(port=2), CandidateKind.PEER_REFLEXIVE)
    prove(table, NEAR, CandidateKind.HOST, 1.0)
    table.rename([])
    assert table.find(FAR) is None
    assert table.find(FAR._replace(port=2)) is not None
    assert table.find(NEAR) is not None


def test_the_table_does_not_grow_without_bound() -> None:
    table = relayed()
    prove(table, NEAR, CandidateKind.HOST, 1.0)
    for port in range(1, 1000):
        table.add(FAR._replace(port=port), CandidateKind.PEER_REFLEXIVE)
    assert len(list(table.unproven())) <= UNPROVEN_LIMIT
    assert table.find(NEAR) is not None
    assert table.relay is not None


def test_the_selected_path_is_checked_often_and_others_rarely() -> None:
    table = relayed()
    prove(table, RELAY, CandidateKind.RELAYED, 10.0)
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0, rtt=0.050)
    prove(table, FAR._replace(port=2222), CandidateKind.REFLEXIVE, 10.0, rtt=0.049)
    table.plan(10.0, active=True)
    assert found(table, FAR).due == 10.0 + HEARTBEAT
    assert found(table, FAR._replace(port=2222)).due == 10.0 + ALTERNATE_HEARTBEAT
    assert found(table, RELAY).due == 10.0 + ALTERNATE_HEARTBEAT
    assert table.get_timer(10.0) == 10.0 + HEARTBEAT


def test_without_traffic_only_the_selected_direct_path_is_kept_open() -> None:
    table = relayed()
    prove(table, RELAY, CandidateKind.RELAYED, 10.0)
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    table.plan(10.0, active=False)
    assert found(table, FAR).due == 10.0 + KEEPALIVE
    assert found(table, RELAY).due is None


def test_a_relay_that_never_answered_is_asked_again_while_there_is_traffic() -> None:
    table = relayed()
    relay = found(table, RELAY)
    relay.rest()
    table.plan(10.0, active=True)
    assert relay.due == 10.0 + RELAY_RETRY
    relay.rest()
    table.plan(20.0, active=False)
    assert relay.due is None


def test_another_tunnel_is_no_reason_to_leave_the_relay_at_once() -> None:
    table = relayed(tunnels())
    prove(table, INSIDE, CandidateKind.HOST, 10.0, rtt=0.001)
    assert table.endpoints(10.0) == (RELAY,)
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.2, rtt=0.002)
    assert table.endpoints(10.2) == (FAR,)
    table.reselect(10.0 + PATIENCE, active=True)
    assert table.endpoints(10.0 + PATIENCE) == (FAR,)


def test_without_anything_else_another_tunnel_is_used_a_little_later() -> None:
    table = relayed(tunnels())
    found(table, RELAY).rest()
    prove(table, INSIDE, CandidateKind.HOST, 10.0)
    assert table.get_timer(10.0) == 10.0 + PATIENCE
    table.reselect(10.0 + PATIENCE, active=True)
    assert table.endpoints(10.0 + PATIENCE) == (INSIDE,)


def test_without_a_relay_another_tunnel_is_used_at_once() -> None:
    table = PathTable(tunnels())
    prove(table, INSIDE, CandidateKind.HOST, 10.0)
    assert table.endpoints(10.0) == (INSIDE,)


@pytest.mark.parametrize(("rtt", "is_used"), [(0.051, False), (0.03, True)])
def test_another_tunnel_must_be_clearly_faster_than_the_relay(
    rtt: float, is_used: bool
) -> None:
    table = relayed(tunnels())
    for _ in range(KNOWN_AFTER):
        prove(table, RELAY, CandidateKind.RELAYED, 9.0, rtt=0.05)
        prove(table, INSIDE, CandidateKind.HOST, 10.0, rtt=rtt)
    table.reselect(10.0 + PATIENCE, active=True)
    assert table.endpoints(10.0 + PATIENCE) == ((INSIDE,) if is_used else (RELAY,))


def test_a_tunnel_that_may_run_over_a_lost_path_has_to_answer_after_it() -> None:
    table = relayed(tunnels())
    for _ in range(KNOWN_AFTER):
        prove(table, RELAY, CandidateKind.RELAYED, 9.0, rtt=0.1)
        prove(table, FAR, CandidateKind.REFLEXIVE, 10.0, rtt=0.02)
        prove(table, INSIDE, CandidateKind.HOST, 16.0, rtt=0.021)
    prove(table, FAR, CandidateKind.REFLEXIVE, 17.0, rtt=0.02)
    found(table, FAR).distrust(20.0)
    table.reselect(20.0, active=True)
    assert table.endpoints(20.0) == (FAR, RELAY)
    assert found(table, INSIDE).take_due(20.0), "it is asked"
    table.reselect(20.0 + SILENT_AFTER, active=True)
    assert INSIDE not in table.endpoints(20.0 + SILENT_AFTER)
    late = 20.0 + PATIENCE
    table.reselect(late, active=True)
    assert INSIDE not in table.endpoints(late), "its answer is late"
    prove(table, INSIDE, CandidateKind.HOST, late, rtt=0.021)
    assert table.endpoints(late) == (INSIDE,)


def test_a_path_through_another_tunnel_is_not_a_direct_one() -> None:
    table = relayed(tunnels())
    prove(table, INSIDE, CandidateKind.HOST, 10.0)
    assert not table.has_direct(10.0)
    assert not table.has_trusted(10.0)
    assert not table.has_datagram_path(10.0)
    prove(table, FAR, CandidateKind.REFLEXIVE, 10.0)
    assert table.has_direct(10.0)
    assert table.has_trusted(10.0)


def test_what_is_not_pinned_is_in_a_tunnel_if_it_was() -> None:
    table = relayed(tunnels())
    prove(table, INSIDE, CandidateKind.HOST, 10.0)
    found(table, INSIDE).distrust(11.0)
    table.follow_tunnels()
    assert found(table, INSIDE).is_tunnelled


def tunnels() -> Tunnels:
    return Tunnels(OwnTunnels(frozenset({7})))


def relayed(known: Tunnels | None = None) -> PathTable:
    table = PathTable(known)
    table.set_relay(RELAY, 0.0)
    table.reselect(0.0, active=True)
    return table


def prove(
    table: PathTable,
    endpoint: Endpoint,
    kind: CandidateKind,
    now: float,
    rtt: float = 0.05,
) -> None:
    table.add(endpoint, kind).answered(endpoint, rtt, now)
    table.follow_tunnels()
    table.reselect(now, active=True)


def silence(table: PathTable, endpoint: Endpoint, since: float) -> None:
    path = found(table, endpoint)
    path.check_by(since)
    assert path.take_due(since)


def found(table: PathTable, endpoint: Endpoint) -> Path:
    path = table.find(endpoint)
    assert path is not None
    return path
