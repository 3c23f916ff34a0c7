"""What is said before an attempt decides from which socket a prober sends."""

import pytest
from hypothesis import given

from meshwg.nattypes import Mapping, PortAllocation
from meshwg.path import steps
from meshwg.path.aim import PunchAttempt
from meshwg.path.limiter import BUSY
from meshwg.path.punch import BIRTHDAY_PROBES, PREDICTION_PORTS, PunchMethod, Role
from meshwg.path.puncher import Puncher, PunchState
from meshwg.path.sampler import DURATION
from meshwg.path.traits import NatTraits
from meshwg.path.verdict import Verdict
from tests.path.punching import FAN_PROBE, HOSTS, PROBE_FAN, Pair
from tests.path.test_candidate import json_values

FRESH = 100
"""The link of a fresh socket."""
SEEN = 5000
"""The port at which the outside sees it."""


def test_a_prober_that_leads_names_the_port_of_a_fresh_socket_when_it_asks() -> None:
    pair = boss_probes()
    show_fresh(pair, pair.boss)
    pair.exchange(0.1)
    pair.open_sockets(pair.other, 0.1)
    pair.exchange(0.2)
    shots = pair.run(0.2, 5.0)
    assert {t.destination.link for t in shots[True]} == {FRESH}
    assert len(shots[True]) == 2 * BIRTHDAY_PROBES
    assert {t.destination[:2] for t in shots[False]} == {(HOSTS[True], SEEN)}
    assert pair.boss.losers == [FRESH]


def test_a_prober_that_is_asked_names_it_when_it_is_ready() -> None:
    pair = boss_fans()
    assert pair.boss.begin(PunchMethod.BIRTHDAY, FAN_PROBE, 0.0) is None
    pair.exchange(0.0)
    pair.open_sockets(pair.other, 0.0)
    pair.show_ports(pair.other, [SEEN], 0.1)
    pair.exchange(0.1)
    pair.open_sockets(pair.boss, 0.1)
    pair.exchange(0.2)
    shots = pair.run(0.2, 5.0)
    assert {t.destination.link for t in shots[False]} == {FRESH}
    assert {t.destination[:2] for t in shots[True]} == {(HOSTS[False], SEEN)}


def test_predicted_ports_are_tried_from_a_fresh_socket_too() -> None:
    pair = boss_probes()
    sequential = NatTraits(
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
        allocation=PortAllocation.SEQUENTIAL,
        delta=1,
    )
    pair.other.own_nat = pair.boss.peer_nat = sequential
    show_fresh(pair, pair.boss, PunchMethod.PREDICTION)
    pair.exchange(0.1)
    pair.open_sockets(pair.other, 0.1)
    pair.show_ports(pair.other, [7000, 7001, 7002], 0.1)
    pair.exchange(0.2)
    shots = pair.run(0.2, 5.0)
    assert {t.destination.link for t in shots[True]} == {FRESH}
    assert len({t.destination.port for t in shots[True]}) == PREDICTION_PORTS
    assert {t.destination[:2] for t in shots[False]} == {(HOSTS[True], SEEN)}


@pytest.mark.parametrize("leads", [True, False])
def test_a_fan_that_heeds_no_port_is_sent_to_from_the_nodes_own_socket(
    *, leads: bool
) -> None:
    pair = boss_probes() if leads else boss_fans()
    prober = pair.boss if leads else pair.other
    if leads:
        show_fresh(pair, prober)
        prober.messages.clear()
        prober.receive({"step": "ready", "id": 1}, 0.1)
        assert prober.losers == [FRESH]
    else:
        asked = {"step": "ask", "id": 1, "method": "birthday"}
        prober.receive({**asked, "role": "probe", "peer_role": "fan"}, 0.1)
        assert prober.messages == [{"id": 1, "step": "ready"}]
        prober.receive({"step": "go", "id": 1}, 0.2)
    shots = pair.run(0.2, 5.0)[leads]
    assert {t.destination.link for t in shots} == {0}


def test_a_prober_whose_port_nobody_shows_sends_from_its_own_socket() -> None:
    pair = boss_probes()
    begin(pair)
    pair.open_sockets(pair.boss, 0.0)
    pair.run(0.0, DURATION + 0.1)
    assert pair.boss.state is PunchState.ASKED
    assert pair.boss.losers == [FRESH]
    assert "port" not in pair.boss.messages[0]


@pytest.mark.parametrize("in_time", [True, False])
def test_a_prober_that_gets_no_fresh_socket_uses_its_own(*, in_time: bool) -> None:
    pair = boss_probes()
    begin(pair)
    if in_time:
        pair.boss.add_sockets([], 0.1)
    else:
        pair.run(0.0, 3.0)
    assert pair.boss.state is PunchState.ASKED
    pair.boss.add_sockets([FRESH], 3.0)
    assert pair.boss.losers == [FRESH]
    assert pair.boss.messages[0]["step"] == "ask"


@pytest.mark.parametrize("mapping", [Mapping.NONE, Mapping.UNKNOWN])
def test_a_prober_that_is_not_known_to_have_one_port_for_all_takes_no_fresh_socket(
    mapping: Mapping,
) -> None:
    pair = boss_probes()
    pair.boss.own_nat = NatTraits(mapping)
    begin(pair)
    assert pair.boss.sockets_wanted == 0
    assert pair.boss.state is PunchState.ASKED


def test_an_attempt_that_ends_early_closes_the_fresh_socket() -> None:
    pair = boss_probes()
    show_fresh(pair, pair.boss)
    pair.boss.receive({"step": "refuse", "id": 1, "why": BUSY}, 0.2)
    assert pair.boss.losers == [FRESH]
    assert pair.boss.outcome is not None
    assert pair.boss.outcome.verdict is Verdict.BUSY


@given(json_values, json_values)
def test_a_port_and_a_step_that_make_no_sequence_are_none(
    port: object, delta: object
) -> None:
    found = steps.sequence({"port": port, "delta": delta})
    if found is not None:
        assert found == (port, delta)
        assert 1024 <= found[0] <= 65535
        assert 0 < abs(found[1]) <= 16


def test_a_prober_says_nothing_of_ports_that_it_has_not_seen() -> None:
    attempt = PunchAttempt(7, PunchMethod.BIRTHDAY, Role.PROBE, Role.FAN)
    assert steps.told(attempt) == {}
    attempt.own_sequence = (SEEN, 1)
    assert steps.told(attempt) == {"port": SEEN, "delta": 1}


def pair_of(fan: Puncher, prober: Puncher) -> None:
    """Let a fan's NAT be hard, and a prober's map endpoint-independently."""
    hard = NatTraits(Mapping.ADDRESS_AND_PORT_DEPENDENT)
    easy = NatTraits(Mapping.ENDPOINT_INDEPENDENT)
    fan.own_nat, fan.peer_nat = hard, easy
    prober.own_nat, prober.peer_nat = easy, hard


def boss_probes() -> Pair:
    pair = Pair()
    pair_of(pair.other, pair.boss)
    return pair


def boss_fans() -> Pair:
    pair = Pair()
    pair_of(pair.boss, pair.other)
    return pair


def begin(pair: Pair, method: PunchMethod = PunchMethod.BIRTHDAY) -> None:
    assert pair.boss.begin(method, PROBE_FAN, 0.0) is None


def show_fresh(
    pair: Pair, prober: Puncher, method: PunchMethod = PunchMethod.BIRTHDAY
) -> None:
    """Begin an attempt, and show its public port to the prober's fresh socket."""
    begin(pair, method)
    assert prober.sockets_wanted == 1
    pair.open_sockets(prober, 0.0)
    pair.show_ports(prober, [SEEN], 0.05)
    assert prober.state is PunchState.ASKED
