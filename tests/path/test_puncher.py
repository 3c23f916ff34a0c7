"""Prediction and birthday, step by step between two punchers."""

import pytest
from hypothesis import given

from meshwg.nattypes import Filtering
from meshwg.nattypes import Mapping as NatMapping
from meshwg.path.candidate import CandidateKind
from meshwg.path.limiter import BUSY, NO_ROOM, OFF, TOO_OFTEN, PunchLimiter
from meshwg.path.punch import (
    BIRTHDAY_FIRST_SOCKETS,
    BIRTHDAY_PROBES,
    BIRTHDAY_SOCKETS,
    PREDICTION_OFFSET,
    PREDICTION_PORTS,
    PREDICTION_SOCKETS,
    PunchMethod,
    Role,
)
from meshwg.path.puncher import ELECTION, SENSELESS, UNCONFIRMED, PunchState
from meshwg.path.room import CANARIES, PROBE_STEPS
from meshwg.path.sampler import DURATION
from meshwg.path.traits import NatTraits
from meshwg.path.verdict import Verdict
from meshwg.transmit import Endpoint
from tests.path.punching import (
    FAN_FAN,
    FAN_PROBE,
    HOSTS,
    PROBE_FAN,
    Pair,
    begun_birthday,
    birthday_targets,
    firing_birthday,
)
from tests.path.test_candidate import json_values


def test_a_birthday_goes_from_one_socket_to_many_ports_and_from_many_to_one() -> None:
    pair = Pair()
    assert pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0) is None
    pair.exchange(0.0)
    assert pair.other.sockets_wanted == BIRTHDAY_SOCKETS
    pair.open_sockets(pair.other, 0.1)
    pair.exchange(0.1)
    assert pair.boss.state is pair.other.state is PunchState.FIRING
    shots = pair.run(0.1, 1.2)
    probes = {t.destination for t in shots[True]}
    assert len(probes) == BIRTHDAY_PROBES
    shots = pair.run(1.2, 4.0)
    assert {probe.host for probe in probes} == {HOSTS[False]}
    assert {probe.link for probe in probes} == {0}
    links = {t.destination.link for t in shots[False]}
    assert len(links) == BIRTHDAY_SOCKETS - CANARIES
    assert {t.destination[:2] for t in shots[False]} == {(HOSTS[True], 1111)}


def test_roles_that_the_two_nats_do_not_give_are_refused() -> None:
    pair = Pair()
    easy = NatTraits(NatMapping.ENDPOINT_INDEPENDENT)
    pair.other.own_nat, pair.other.peer_nat = easy, easy
    # Plain checks would be enough, so that this can only be for the packets.
    assert pair.boss.begin(PunchMethod.BIRTHDAY, FAN_PROBE, 0.0) is None
    pair.exchange(0.0)
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.detail == f"the peer refused: {SENSELESS}"
    assert pair.run(0.0, 5.0) == {True: [], False: []}


def test_who_leads_has_the_choice_where_either_could_take_a_part() -> None:
    pair = Pair()
    hard = NatTraits(NatMapping.ADDRESS_DEPENDENT, Filtering.ADDRESS_DEPENDENT)
    pair.other.own_nat, pair.other.peer_nat = hard, hard
    assert pair.boss.begin(PunchMethod.BIRTHDAY, FAN_PROBE, 0.0) is None
    pair.exchange(0.0)
    assert pair.boss.outcome is None


def test_a_fan_begins_with_few_sockets_and_adds_the_others_when_nothing_answers() -> (
    None
):
    pair = begun_birthday()
    early = pair.run(0.1, 2.3)[False]
    assert len({t.destination.link for t in early}) == BIRTHDAY_FIRST_SOCKETS
    late = pair.run(2.3, 3.4)[False]
    assert len({t.destination.link for t in late}) == BIRTHDAY_SOCKETS - CANARIES


def test_a_network_that_has_room_gets_all_sockets_at_once_the_next_time() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(fan_limiter=limiter)
    pair.run(0.1, 6.0)
    again = begun_birthday(fan_limiter=limiter, now=100.0)
    early = again.run(100.1, 101.0)[False]
    assert len({t.destination.link for t in early}) == BIRTHDAY_SOCKETS - CANARIES


def test_a_fan_stops_when_there_is_no_room_and_uses_less_the_next_time() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(fan_limiter=limiter)
    pair.room = 80
    sent = pair.run(0.1, 7.0)[False]
    opened = {t.destination.link for t in sent}
    assert BIRTHDAY_FIRST_SOCKETS < len(opened) <= 2 * BIRTHDAY_FIRST_SOCKETS
    refreshed = [t for t in sent if t.destination.link in opened]
    assert len(refreshed) <= 4 * BIRTHDAY_FIRST_SOCKETS
    assert pair.other.outcome is not None
    assert pair.other.outcome.detail == NO_ROOM
    again = begun_birthday(fan_limiter=limiter, now=100.0)
    again.run(100.1, 106.0)
    assert len(again.known_links) > 0
    opened = {t.destination.link for t in again.other.transmits}
    assert len(opened) == BIRTHDAY_FIRST_SOCKETS // 2


def test_a_network_with_hardly_any_room_is_left_alone() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(fan_limiter=limiter)
    pair.room = 10
    pair.run(0.1, 7.0)
    again = Pair(other_limiter=limiter)
    again.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 100.0)
    again.exchange(100.0)
    assert again.boss.outcome is not None
    assert again.boss.outcome.detail == f"the peer refused: {NO_ROOM}"
    again.other.own_public = "192.0.2.9"
    again.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 110.0)
    again.exchange(110.0)
    assert again.other.state is PunchState.OPENING, "another network"


def test_a_prober_stops_when_there_is_no_room_and_does_not_probe_there_again() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(limiter)
    pair.room = 300
    pair.open_sockets(pair.boss, 0.15)
    probes = pair.run(0.15, 7.0)[True]
    assert PROBE_STEPS[0] < len(probes) < BIRTHDAY_PROBES
    refusal = pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 100.0)
    assert refusal == NO_ROOM


def test_a_server_that_goes_away_meanwhile_says_nothing_about_room() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(limiter)
    pair.open_sockets(pair.boss, 0.15)
    pair.room = -1
    probes = pair.run(0.15, 8.0)[True]
    assert len({t.destination for t in probes}) > BIRTHDAY_PROBES
    assert limiter.room("", 8.0) is None


def test_a_second_volley_tries_other_ports_and_counts_as_another_attempt() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(limiter)
    shots = pair.run(0.1, 4.0)
    probes = {t.destination for t in shots[True]}
    assert len(probes) == 2 * BIRTHDAY_PROBES
    assert limiter.left(pair.boss.peer, PunchMethod.BIRTHDAY, 4.0) == 1


def test_an_answer_to_the_first_volley_saves_the_second() -> None:
    limiter = PunchLimiter()
    pair = begun_birthday(limiter)
    pair.run(0.1, 1.2)
    pair.boss.succeed(Endpoint(HOSTS[False], 4242), 1.2)
    assert len(pair.run(1.2, 4.0)[True]) == BIRTHDAY_PROBES
    assert limiter.left(pair.boss.peer, PunchMethod.BIRTHDAY, 4.0) == 2


def test_the_last_attempt_allowed_has_one_volley() -> None:
    limiter = PunchLimiter()
    for at in (-400.0, -300.0):
        limiter.record(Pair().boss.peer, PunchMethod.BIRTHDAY, at)
    pair = begun_birthday(limiter)
    assert len(pair.run(0.1, 4.0)[True]) == BIRTHDAY_PROBES
    assert limiter.left(pair.boss.peer, PunchMethod.BIRTHDAY, 4.0) == 0


def test_the_fan_begins_when_it_is_asked_and_the_boss_may_be_the_fan() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, FAN_PROBE, 0.0)
    pair.exchange(0.0)
    assert pair.states() == (PunchState.OPENING, PunchState.WAITING)
    pair.open_sockets(pair.boss, 0.1)
    pair.exchange(0.1)
    assert pair.states() == (PunchState.FIRING, PunchState.FIRING)


def test_a_fan_that_filters_by_address_opens_for_every_address_of_the_peer() -> None:
    pair = Pair()
    pair.other.own_nat = NatTraits(filtering=Filtering.ADDRESS_DEPENDENT)
    pair.other.peer_hosts = (HOSTS[True], "203.0.113.3")
    assert birthday_targets(pair) == {(HOSTS[True], 1111), ("203.0.113.3", 1111)}


def test_a_fan_that_filters_by_address_needs_no_confirmed_port() -> None:
    """A NAT with two addresses shows one to the coordinator, one to the STUN server."""
    pair = Pair()
    pair.other.own_nat = NatTraits(filtering=Filtering.ADDRESS_DEPENDENT)
    pair.other.peer_hosts = ("203.0.113.3",)
    assert birthday_targets(pair) == {("203.0.113.3", 1111)}


def test_a_fan_that_filters_by_port_needs_the_exact_endpoint() -> None:
    pair = Pair()
    pair.other.peer_hosts = (HOSTS[True], "203.0.113.3")
    assert birthday_targets(pair) == {(HOSTS[True], 1111)}
    pair = Pair()
    pair.other.peer_hosts = ("203.0.113.3",)
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    assert pair.other.outcome is not None
    assert pair.other.outcome.detail == UNCONFIRMED


def test_a_prediction_aims_ahead_of_the_last_observed_port() -> None:
    pair = Pair()
    pair.other.own_nat = NatTraits(delta=2)
    pair.boss.begin(PunchMethod.PREDICTION, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    assert pair.other.sockets_wanted == PREDICTION_SOCKETS
    pair.open_sockets(pair.other, 0.0)
    assert pair.other.state is PunchState.SAMPLING
    pair.show_ports(pair.other, [5000, 5002, 5004], 0.05)
    pair.exchange(0.1)
    shots = pair.run(0.1, 3.0)
    ports = {t.destination.port for t in shots[True]}
    assert ports == {5004 + 2 * n for n in range(1, PREDICTION_PORTS + 1)}


def test_two_sequences_meet_at_one_port_each() -> None:
    pair = Pair()
    pair.boss.own_nat = NatTraits(delta=-2)
    pair.boss.begin(PunchMethod.PREDICTION, FAN_FAN, 0.0)
    pair.exchange(0.0)
    pair.open_sockets(pair.other, 0.0)
    pair.show_ports(pair.other, [5000, 5001, 5002], 0.05)
    assert pair.other.state is PunchState.WAITING
    pair.exchange(0.1)
    pair.open_sockets(pair.boss, 0.1)
    pair.show_ports(pair.boss, [8000, 7998, 7996], 0.15)
    pair.exchange(0.2)
    shots = pair.run(0.2, 3.0)
    targets = {side: {t.destination.port for t in shots[side]} for side in shots}
    assert targets[True] == {5002 + PREDICTION_OFFSET}
    assert targets[False] == {7996 - 2 * PREDICTION_OFFSET}
    assert len({t.destination.link for t in shots[True]}) == PREDICTION_SOCKETS


def test_two_fresh_sockets_send_to_the_ports_that_they_were_shown() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.FRESH, FAN_FAN, 0.0)
    pair.exchange(0.0)
    pair.open_sockets(pair.other, 0.0)
    pair.show_ports(pair.other, [5000], 0.05)
    pair.exchange(0.1)
    pair.open_sockets(pair.boss, 0.1)
    pair.show_ports(pair.boss, [8000], 0.15)
    pair.exchange(0.2)
    shots = pair.run(0.2, 3.0)
    aimed = {side: {t.destination[:2] for t in shots[side]} for side in shots}
    assert aimed == {True: {(HOSTS[False], 5000)}, False: {(HOSTS[True], 8000)}}
    assert {t.destination.link for t in shots[True]} == {100}


def test_a_fresh_socket_needs_a_server_that_shows_its_port() -> None:
    pair = Pair()
    pair.other.stun_server = None
    pair.boss.begin(PunchMethod.FRESH, FAN_FAN, 0.0)
    pair.exchange(0.0)
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.verdict is Verdict.REFUSED


def test_a_port_that_answers_ends_the_attempt_and_the_losers_are_closed() -> None:
    pair = firing_birthday()
    fan, links = pair.other, pair.other.links
    assert fan.elect(links[7], 0.3)
    fan.succeed(Endpoint(HOSTS[True], 1111, links[7]), 0.4)
    assert fan.outcome is not None
    assert fan.outcome.verdict is Verdict.OK
    assert sorted(fan.losers) == sorted(set(links) - {links[7]})
    assert fan.get_timer() is None
    pair.boss.succeed(Endpoint(HOSTS[False], 4242), 0.4)
    assert pair.run(0.4, 2.0) == {True: [], False: []}


def test_a_plain_path_that_comes_up_late_closes_all_sockets() -> None:
    pair = firing_birthday()
    links = pair.other.links
    pair.other.succeed(Endpoint(HOSTS[True], 1111), 0.4)
    assert sorted(pair.other.losers) == sorted(links)


def test_the_first_socket_that_hears_the_peer_silences_the_others() -> None:
    pair = firing_birthday()
    fan, (first, second, *_) = pair.other, pair.other.links
    assert fan.elect(second, 0.3)
    assert fan.elect(second, 0.4)
    assert not fan.elect(first, 0.4)
    assert {t.destination.link for t in pair.run(0.4, 2.0)[False]} <= {second}


def test_a_winner_that_proves_nothing_is_replaced() -> None:
    pair = firing_birthday()
    fan, (first, second, *_) = pair.other, pair.other.links
    assert fan.elect(first, 0.3)
    assert fan.elect(second, 0.3 + ELECTION)
    assert not fan.elect(first, 0.4 + ELECTION)


def test_an_attempt_without_a_hit_ends_and_closes_all_sockets() -> None:
    pair = firing_birthday()
    links = pair.other.links
    pair.run(0.1, 10.0)
    for puncher in (pair.boss, pair.other):
        assert puncher.outcome is not None
        assert puncher.outcome.verdict is Verdict.MISSED
        assert puncher.state is PunchState.IDLE
    assert sorted(pair.other.losers) == sorted(links)


def test_a_peer_that_does_not_answer_ends_the_attempt() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.run(0.0, 10.0)
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.detail == "the peer did not answer"


def test_a_node_without_permission_says_so() -> None:
    pair = Pair(other_limiter=PunchLimiter(birthday=False))
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.detail == f"the peer refused: {OFF}"
    assert pair.boss.outcome.verdict is Verdict.REFUSED


def test_a_node_that_is_busy_says_so() -> None:
    limiter = PunchLimiter()
    limiter.acquire("someone else", PunchMethod.BIRTHDAY, 0.0)
    pair = Pair(other_limiter=limiter)
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.detail == f"the peer refused: {BUSY}"
    assert pair.boss.outcome.verdict is Verdict.BUSY


def test_the_boss_keeps_its_own_limits() -> None:
    pair = Pair(boss_limiter=PunchLimiter(birthday=False))
    assert pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0) == OFF
    assert pair.boss.state is PunchState.IDLE
    assert pair.boss.messages == []


def test_the_asked_side_keeps_limits_of_its_own() -> None:
    pair = firing_birthday()
    pair.run(0.1, 10.0)
    ask = {"step": "ask", "id": 2, "method": "birthday", "role": "fan"}
    pair.other.receive({**ask, "peer_role": "probe"}, 11.0)
    assert pair.other.outcome is not None
    assert pair.other.outcome.detail == TOO_OFTEN
    assert pair.other.sockets_wanted == 0


@pytest.mark.parametrize("roles", [PROBE_FAN, FAN_PROBE])
def test_nothing_is_aimed_at_an_unconfirmed_address(
    roles: tuple[Role, Role],
) -> None:
    pair = Pair(confirmed=False)
    refusal = pair.boss.begin(PunchMethod.BIRTHDAY, roles, 0.0)
    assert refusal == "the peer's public address was not confirmed as its own"


@pytest.mark.parametrize("roles", [PROBE_FAN, FAN_PROBE])
def test_a_peer_that_moves_away_meanwhile_is_not_aimed_at(
    roles: tuple[Role, Role],
) -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, roles, 0.0)
    pair.exchange(0.0)
    for puncher in (pair.boss, pair.other):
        puncher.peer_public = (Endpoint("192.0.2.66", 1111),)
        puncher.peer_hosts = ()

    fan = pair.boss if roles == FAN_PROBE else pair.other
    pair.open_sockets(fan, 0.1)
    pair.exchange(0.1)

    assert fan.outcome is not None
    assert fan.outcome.detail == UNCONFIRMED
    assert pair.run(0.1, 3.0) == {True: [], False: []}


def test_too_few_sockets_end_the_attempt_on_both_sides() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    pair.other.sockets_wanted = 0
    pair.other.add_sockets([100], 0.1)
    assert pair.other.losers == [100]
    pair.exchange(0.1)
    assert pair.boss.outcome is not None
    assert "not enough sockets" in pair.boss.outcome.detail


def test_sockets_that_never_come_end_the_attempt() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    pair.run(0.0, 10.0)
    assert pair.other.outcome is not None
    assert "no sockets" in pair.other.outcome.detail
    pair.other.add_sockets([100, 101], 11.0)
    assert pair.other.losers == [100, 101], "late ones are closed again"


def test_a_silent_stun_server_ends_the_attempt() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.PREDICTION, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    pair.open_sockets(pair.other, 0.0)
    pair.run(0.0, DURATION + 0.1)
    assert pair.other.outcome is not None
    assert pair.other.outcome.detail == "no STUN server answered"


def test_without_a_stun_server_nothing_is_predicted() -> None:
    pair = Pair()
    pair.other.stun_server = None
    pair.boss.begin(PunchMethod.PREDICTION, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    assert pair.other.outcome is not None
    assert "no STUN server" in pair.other.outcome.detail


def test_a_prediction_without_a_usable_port_is_not_shot_at() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.PREDICTION, PROBE_FAN, 0.0)
    pair.boss.messages.clear()
    for port, delta in ((0, 1), (70000, 1), (5000, 0), (5000, 99), ("a", 1)):
        ready = {"step": "ready", "id": 1, "port": port, "delta": delta}
        pair.boss.receive(ready, 0.1)
        assert pair.boss.transmits == []
    assert pair.boss.state is PunchState.IDLE


def test_only_the_controlling_side_may_ask() -> None:
    pair = Pair()
    ask = {"step": "ask", "id": 9, "method": "birthday", "role": "fan"}
    pair.boss.receive({**ask, "peer_role": "probe"}, 0.0)
    assert pair.boss.state is PunchState.IDLE


def test_a_step_of_another_attempt_is_ignored() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    for step in ("ready", "refuse", "go"):
        pair.boss.receive({"step": step, "id": 77}, 0.0)
    assert pair.boss.state is PunchState.ASKED


def test_a_repeated_ask_counts_once() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    (ask,) = pair.boss.messages
    pair.other.receive(ask, 0.0)
    pair.other.sockets_wanted = 0
    pair.other.receive(ask, 0.0)
    assert pair.other.sockets_wanted == 0


def test_a_controlling_side_that_restarted_is_heard() -> None:
    pair = firing_birthday()
    pair.other.peer_restarted(0.2)
    assert pair.states()[1] is PunchState.IDLE
    ask = {"step": "ask", "id": 1, "method": "prediction", "role": "fan"}
    pair.other.receive({**ask, "peer_role": "probe"}, 60.0)
    assert pair.other.state is PunchState.OPENING


def test_what_a_peer_says_is_shortened_and_made_printable() -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    refuse = {"step": "refuse", "id": 1, "why": "\x1b[2J" + "x" * 1000}
    pair.boss.receive(refuse, 0.0)
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.detail.isprintable()
    assert len(pair.boss.outcome.detail) < 150


@given(json_values, json_values, json_values)
def test_no_step_raises(one: object, two: object, three: object) -> None:
    pair = Pair()
    pair.boss.begin(PunchMethod.PREDICTION, PROBE_FAN, 0.0)
    for puncher in (pair.boss, pair.other):
        for step in ("ask", "ready", "go", "refuse"):
            raw = {"step": step, "id": 1, "method": one, "role": two, "port": three}
            puncher.receive({**raw, "delta": one, "why": two, "peer_role": one}, 0.0)


def test_the_path_is_named_after_the_method_that_found_it() -> None:
    pair = firing_birthday()
    assert pair.boss.kind is pair.other.kind is CandidateKind.BIRTHDAY
    assert Pair().boss.kind is None
