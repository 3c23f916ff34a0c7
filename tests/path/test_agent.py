"""One agent, and a peer that is played by the test."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.path.activity import ACTIVE, DORMANT
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.check import CheckDrop
from meshwg.path.events import (
    AttemptResult,
    AuxiliarySockets,
    CandidatesWanted,
    SelectionChanged,
)
from meshwg.path.holepunching import HISTORY, OPENERS
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import from_message
from meshwg.path.path import BURST, TRUST
from meshwg.path.rounds import ANSWER_TIMEOUT, ANSWERER_LEAD, OFFERER_LEAD
from meshwg.path.silence import PATIENCE
from meshwg.path.table import HEARTBEAT
from meshwg.path.volley import OPENER_TTL
from meshwg.transmit import Endpoint, Source
from meshwg.wire import control, stun
from tests.path.stage import FAR, LAN, OWN, RELAY, Stage, is_request
from tests.path.test_offer import strange_messages
from tests.path.test_punch import CONE, HARD


def test_an_agent_that_was_never_used_does_nothing() -> None:
    stage = Stage()
    assert stage.agent.get_timer() is None
    assert stage.sent() == []
    assert stage.endpoints() == (RELAY,)


def test_the_first_packet_goes_by_the_relay_and_starts_a_round() -> None:
    stage = Stage()
    stage.agent.sent(stage.now)
    assert stage.endpoints() == (RELAY,)
    (offer,) = stage.offers()
    assert offer.sequence == 1
    assert OWN in offer.candidates
    assert not offer.answer


def test_without_a_relay_there_is_no_path_yet() -> None:
    stage = Stage(relay=None)
    stage.agent.sent(stage.now)
    assert stage.endpoints() == ()
    assert stage.agent.endpoint is None
    assert stage.agent.status(stage.now).kind == "none"


def test_the_answer_of_the_peer_starts_openers_and_a_burst() -> None:
    stage = Stage()
    stage.agent.sent(stage.now)
    stage.drain()
    stage.offer(answer=True)
    openers = [t for t in stage.sent() if t.ttl == OPENER_TTL]
    assert [t.destination for t in openers] == [FAR] * OPENERS
    start = stage.now
    times = [at - start for at, t in stage.until(start + 3.0) if t.destination == FAR]
    lead = OFFERER_LEAD + 0.005
    assert times == pytest.approx([lead + offset for offset in BURST])


def test_an_offer_from_the_peer_is_answered_and_followed_a_little_later() -> None:
    stage = Stage()
    stage.offer()
    (answer,) = stage.offers()
    assert answer.answer
    assert all(t.ttl == OPENER_TTL for t in stage.sent() if t.destination == FAR)
    start = stage.now
    lan = [at - start for at, t in stage.until(start + 3.0) if t.destination == LAN]
    assert lan == pytest.approx([ANSWERER_LEAD + offset for offset in BURST])


def test_offers_that_cross_start_both_sides_without_more_offers() -> None:
    stage = Stage()
    stage.agent.sent(stage.now)
    assert len(stage.offers()) == 1
    stage.offer()
    assert stage.offers() == []
    assert any(t.destination == FAR for t in stage.sent())


def test_a_coordinator_that_is_away_does_not_stop_the_checks() -> None:
    stage = Stage()
    stage.offer()
    stage.until(stage.now + 20.0)
    stage.agent.network_changed(stage.now)
    stage.drain()
    later = stage.until(stage.now + ANSWER_TIMEOUT + 1.0)
    assert any(t.destination == FAR for _, t in later)


def test_the_relayed_candidate_is_not_checked_directly() -> None:
    stage = Stage()
    stage.offer()
    hosts = {t.destination for _, t in stage.until(stage.now + 5.0)}
    assert Endpoint("198.51.100.9", 50000) not in hosts
    assert RELAY in hosts, "but the way through the own relay is"


def test_addresses_of_a_family_that_this_node_lacks_are_not_checked() -> None:
    stage = Stage()
    stage.offer(candidates=[Candidate(CandidateKind.HOST, "2001:db8::2", 2222)])
    stage.until(stage.now + 5.0)
    assert stage.all_sent("2001:db8::2") == 0


def test_an_answered_check_moves_the_data() -> None:
    stage = Stage()
    stage.become_direct()
    assert stage.endpoints() == (FAR,)
    status = stage.agent.status(stage.now)
    assert (status.kind, status.method, status.remote) == ("direct", "reflexive", FAR)
    assert status.rtt == pytest.approx(0.025)
    assert [one.result for one in status.attempts] == [AttemptResult.OK]
    assert status.next_attempt_in is None


def test_answers_leave_from_the_address_that_was_asked() -> None:
    stage = Stage()
    source = FAR._replace(source=Source("192.168.7.7", 2))
    stage.check_from(source)
    assert stage.sent()[0].destination == source


def test_data_leaves_from_the_address_where_the_answer_arrived() -> None:
    stage = Stage()
    pinned = FAR._replace(source=Source("192.168.7.7", 2))
    stage.become_direct(pinned)
    assert stage.agent.endpoint == pinned


def test_a_check_from_an_unknown_address_is_answered_and_checked_back_at_once() -> None:
    stage = Stage()
    unknown = Endpoint("203.0.113.9", 999)
    assert stage.check_from(unknown)
    answer, check = stage.sent()
    assert answer.destination == check.destination == unknown
    assert stun.parse(answer.datagrams[0]).cls is stun.Class.SUCCESS
    assert stun.parse(check.datagrams[0]).cls is stun.Class.REQUEST
    assert stage.endpoints() == (RELAY,), "nothing is proven yet"
    stage.answer(check)
    assert stage.endpoints() == (unknown,)
    assert stage.agent.status(stage.now).method == "peer-reflexive"


def test_a_check_on_a_path_that_works_is_not_checked_back() -> None:
    stage = Stage()
    stage.become_direct()
    stage.check_from(FAR)
    assert len(stage.sent()) == 1


def test_an_authentic_packet_from_an_unknown_address_is_checked_first() -> None:
    stage = Stage()
    unknown = Endpoint("203.0.113.9", 999)
    stage.agent.authenticated(unknown, stage.now)
    assert stage.endpoints() == (RELAY,)
    (check,) = [t for t in stage.sent() if t.destination == unknown]
    stage.answer(check)
    assert stage.endpoints() == (unknown,)


def test_without_a_relay_the_first_answer_goes_where_the_peer_was_heard() -> None:
    stage = Stage(relay=None)
    stage.agent.authenticated(FAR, stage.now)
    assert stage.endpoints() == (FAR,)


def test_packets_through_the_relay_add_no_addresses() -> None:
    stage = Stage()
    other = RELAY._replace(port=51234)
    stage.agent.authenticated(other, stage.now)
    assert other not in [t.destination for t in stage.sent()]


def test_heartbeats_every_three_seconds_while_there_is_traffic() -> None:
    stage = Stage()
    stage.become_direct()
    sent = stage.until(stage.now + 30.0, traffic=True, answering=True, replying=True)
    times = [at for at, transmit in sent if transmit.destination == FAR]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == pytest.approx([HEARTBEAT + 0.02] * 9), "20 ms are the answer's way"
    assert stage.endpoints() == (FAR,)


def test_without_traffic_keepalives_follow_and_then_dormancy() -> None:
    stage = Stage()
    stage.become_direct()
    start = stage.now
    assert stage.until(start + ACTIVE + 1, answering=True)
    idle = stage.until(start + DORMANT, answering=True)
    assert {t.destination for _, t in idle} == {FAR}
    assert len(idle) == pytest.approx((DORMANT - ACTIVE) / 25, abs=2)
    assert list(stage.until(start + 10 * DORMANT, answering=True)) == []
    assert stage.agent.get_timer() is None
    assert stage.endpoints() == (RELAY,)


def test_data_that_goes_one_way_is_checked_up_on_more_often() -> None:
    stage = Stage()
    stage.become_direct()
    sent = stage.until(stage.now + 30.0, traffic=True, answering=True)
    times = [at for at, transmit in sent if transmit.destination == FAR]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.5 < gap < 1.5 for gap in gaps)
    assert stage.endpoints() == (FAR,)


def test_data_without_an_answer_brings_the_relay_back_within_a_second() -> None:
    stage = Stage()
    stage.become_direct()
    start = stage.now
    stage.until(start + PATIENCE, traffic=True)
    assert stage.endpoints() == (FAR,)
    stage.until(start + 1.0, traffic=True)
    assert stage.endpoints() == (FAR, RELAY)
    assert any(isinstance(event, CandidatesWanted) for event in stage.events)
    assert stage.offers()[-1].trouble


def test_a_silent_path_brings_the_relay_back_and_a_new_round() -> None:
    stage = Stage()
    stage.become_direct()
    proven_at = stage.proven_at
    stage.until(proven_at + TRUST - 0.1, traffic=True, replying=True)
    assert stage.endpoints() == (FAR,)
    stage.until(proven_at + TRUST + 0.1, traffic=True)
    assert stage.endpoints() == (FAR, RELAY)
    assert stage.agent.status(stage.now).attempts[-1].result is AttemptResult.LOST
    events = stage.events
    assert any(isinstance(event, CandidatesWanted) for event in events)
    assert stage.offers()[-1].trouble
    stage.until(proven_at + 31.0, traffic=True)
    assert stage.endpoints() == (RELAY,)


def test_one_lost_heartbeat_changes_nothing() -> None:
    stage = Stage()
    stage.become_direct()
    stage.events.clear()
    stage.until(stage.now + 3.2, traffic=True, replying=True)
    stage.until(stage.now + 10.0, traffic=True, answering=True, replying=True)
    assert stage.endpoints() == (FAR,)
    assert not [event for event in stage.events if isinstance(event, SelectionChanged)]


def test_after_a_pause_data_goes_both_ways_until_the_path_answers() -> None:
    stage = Stage()
    stage.become_direct()
    stage.until(stage.now + 110.0, answering=True)
    stage.agent.sent(stage.now)
    assert stage.endpoints() == (FAR, RELAY)
    stage.until(stage.now + 0.1, answering=True)
    assert stage.endpoints() == (FAR,)


def test_a_tunnel_that_hears_nothing_raises_doubt_at_once() -> None:
    stage = Stage()
    stage.become_direct()
    stage.agent.suspect(stage.now)
    assert stage.endpoints() == (FAR, RELAY)
    assert stage.offers()[-1].trouble


def test_complaints_for_every_packet_count_once() -> None:
    stage = Stage()
    stage.become_direct()
    stage.offers()
    before = stage.all_sent(FAR.host)
    for _ in range(1000):
        stage.agent.suspect(stage.now)
        stage.until(stage.now + 0.001)
    assert len(stage.offers()) == 1
    assert stage.all_sent(FAR.host) - before < 5


def test_trouble_reported_by_the_peer_raises_doubt_at_once() -> None:
    stage = Stage()
    stage.become_direct()
    stage.offer(trouble=True)
    assert stage.endpoints() == (FAR, RELAY)
    for transmit in stage.sent():
        stage.answer(transmit)
    assert stage.endpoints() == (FAR,)


def test_a_change_of_network_starts_a_round_at_once() -> None:
    stage = Stage()
    stage.become_direct()
    stage.offers()
    stage.agent.network_changed(stage.now)
    assert stage.endpoints() == (FAR, RELAY)
    assert len(stage.offers()) == 1


def test_a_change_of_network_does_not_wake_an_agent_without_traffic() -> None:
    stage = Stage()
    stage.agent.network_changed(stage.now)
    assert stage.offers() == []
    assert stage.agent.get_timer() is None


def test_new_candidates_are_told_to_an_active_peer() -> None:
    stage = Stage()
    stage.become_direct()
    stage.offers()
    new = Candidate(CandidateKind.REFLEXIVE, "203.0.113.77", 1)
    stage.agent.set_local_candidates([OWN, new], CONE, stage.now)
    (offer,) = stage.offers()
    assert new in offer.candidates
    stage.agent.set_local_candidates([OWN, new], CONE, stage.now + 1)
    assert stage.offers() == []


def test_a_failed_round_is_explained_and_repeated_later() -> None:
    stage = Stage()
    stage.agent.sent(stage.now)
    stage.offer(answer=True)
    start = stage.now
    stage.until(start + 10.0, traffic=True)
    status = stage.agent.status(stage.now)
    assert status.kind == "relay"
    assert "none of the peer's 3 addresses answered" in status.reason
    assert status.next_attempt_in is not None
    assert 45 < status.next_attempt_in < 60
    stage.offers()
    stage.until(start + 70.0, traffic=True)
    assert len(stage.offers()) == 1


def test_an_unanswered_offer_is_explained() -> None:
    stage = Stage()
    stage.agent.sent(stage.now)
    stage.until(stage.now + 10.0, traffic=True)
    reason = stage.agent.status(stage.now).reason
    assert "did not answer through the coordinator" in reason


def test_the_history_is_bounded() -> None:
    stage = Stage()
    for _ in range(5):
        stage.until(stage.now + 4000.0, traffic=True, step=20.0)
    assert len(stage.agent.status(stage.now).attempts) <= HISTORY


def test_an_old_offer_is_not_accepted_again() -> None:
    stage = Stage()
    stage.offer(sequence=5)
    stage.until(stage.now + 5.0)
    stage.offer(sequence=5)
    stage.offer(sequence=4)
    assert stage.sent() == []
    stage.offer(sequence=1, session="restarted")
    assert stage.sent() != []


def test_only_the_controlling_side_asks_for_a_birthday() -> None:
    for controlling in (True, False):
        stage = Stage(controlling=controlling, nat=CONE, confirmed=True)
        stage.agent.sent(stage.now)
        stage.offer(answer=True, nat=HARD)
        stage.until(stage.now + 3.0, traffic=True)
        asked = [o for o in stage.offers() if o.punch is not None]
        assert bool(asked) is controlling


def test_a_fan_gets_sockets_and_the_winner_carries_the_data() -> None:
    stage = Stage(controlling=False, nat=HARD, confirmed=True)
    stage.agent.sent(stage.now)
    ask = {"step": "ask", "id": 1, "method": "birthday"}
    stage.offer(punch={**ask, "role": "fan", "peer_role": "probe"}, nat=CONE)
    stage.drain()
    (wanted,) = [e for e in stage.events if isinstance(e, AuxiliarySockets)]
    links = range(100, 100 + wanted.wanted)
    stage.agent.add_auxiliary_sockets(links, stage.now)
    stage.until(stage.now + 0.5, traffic=True)
    assert stage.agent.status(stage.now).reason.startswith("A direct path is being")

    winner, loser = FAR._replace(link=107), FAR._replace(link=108)
    assert stage.check_from(winner)
    assert not stage.check_from(loser)
    assert stage.agent.drops[CheckDrop.LOSER] == 1
    (check,) = [t for t in stage.sent() if is_request(t) and t.ttl is None]
    assert check.destination == winner
    stage.events.clear()
    stage.answer(check)
    assert stage.endpoints() == (winner,)
    assert stage.agent.status(stage.now).method == "birthday"
    (closed,) = [e for e in stage.events if isinstance(e, AuxiliarySockets)]
    assert sorted(closed.close) == [link for link in links if link != 107]

    stage.events.clear()
    stage.until(stage.now + 40.0, traffic=True)
    assert stage.endpoints() == (RELAY,)
    closed = next(e for e in stage.events if isinstance(e, AuxiliarySockets))
    assert closed.close == (107,), "the socket goes with its path"


def test_a_check_on_a_socket_that_was_closed_is_ignored() -> None:
    stage = Stage()
    assert not stage.check_from(FAR._replace(link=107))
    assert stage.agent.drops[CheckDrop.LOSER] == 1


def test_sockets_that_were_not_requested_are_closed() -> None:
    stage = Stage()
    stage.agent.add_auxiliary_sockets([100, 101], stage.now)
    stage.drain()
    assert AuxiliarySockets(close=(100, 101)) in stage.events


def test_the_birthday_switch_is_named_in_the_reason() -> None:
    limiter = PunchLimiter(birthday=False)
    stage = Stage(nat=CONE, confirmed=True, limiter=limiter)
    stage.agent.sent(stage.now)
    stage.offer(answer=True, nat=HARD)
    stage.until(stage.now + 10.0, traffic=True)
    assert "switched off" in stage.agent.status(stage.now).reason


def test_confirmed_hosts_that_are_not_addresses_are_ignored() -> None:
    stage = Stage()
    stage.agent.confirm_hosts(["127.0.0.1", "nonsense", "203.0.113.2"])
    assert stage.agent._puncher.peer_hosts == ("203.0.113.2",)


@given(st.lists(strange_messages(), max_size=5))
def test_no_offer_raises(messages: list[control.OfferMessage]) -> None:
    stage = Stage()
    for message in messages:
        stage.agent.receive_offer(from_message(message)[0], stage.now)
        stage.until(stage.now + 1.0)


@given(st.binary(min_size=20, max_size=200))
def test_arbitrary_stun_messages_are_ignored(data: bytes) -> None:
    stage = Stage()
    data = data[:2] + (len(data[20:]) & ~3).to_bytes(2) + stun.COOKIE + data[8:]
    data = bytes([data[0] & 0x3F]) + data[1 : 20 + (len(data[20:]) & ~3)]
    try:
        message = stun.parse(data)
    except InvalidMessage:
        return
    assert not stage.agent.receive_stun(message, FAR, stage.now)
    assert stage.sent() == []
