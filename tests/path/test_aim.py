"""Bursts go only to addresses at which a reliable party has seen the peer."""

import random

import pytest

from meshwg.path.aim import PROBED_HOSTS, KnownAddresses, PunchAttempt
from meshwg.path.candidate import CandidateKind
from meshwg.path.ledger import Ledger
from meshwg.path.punch import (
    BIRTHDAY_PROBES,
    PREDICTION_OFFSET,
    PREDICTION_PORTS,
    PunchMethod,
    Role,
)
from meshwg.path.volley import BIRTHDAY_WAVES, PREDICTION_PASSES, PREDICTION_WAVES, Shot
from meshwg.transmit import Endpoint

CLAIMED = Endpoint("203.0.113.2", 2222)
OTHER = Endpoint("203.0.113.3", 3333)
LINKS = (100, 101, 102)
FRESH, PREDICTION, BIRTHDAY = PunchMethod


def test_an_unconfirmed_claim_is_not_a_target() -> None:
    known = addresses(claimed=[CLAIMED])
    assert known.targets() == []
    assert known.hosts() == []


def test_a_confirmed_claim_is_a_target() -> None:
    assert addresses([CLAIMED, OTHER], seen=[OTHER.host]).targets() == [OTHER]
    assert addresses([CLAIMED, OTHER], checked=[CLAIMED.host]).targets() == [CLAIMED]


def test_a_filter_by_address_is_opened_for_all_known_addresses() -> None:
    known = addresses([CLAIMED], seen=[CLAIMED.host, OTHER.host], by_address=True)
    assert known.targets() == [CLAIMED, Endpoint(OTHER.host, CLAIMED.port)]


def test_probes_are_spread_over_few_hosts() -> None:
    seen = [f"203.0.113.{number}" for number in range(1, 9)]
    assert addresses(seen=seen).hosts() == seen[:PROBED_HOSTS]


def test_a_birthday_fan_sends_from_every_socket_in_each_wave() -> None:
    shots = aim(BIRTHDAY, Role.FAN, Role.PROBE)
    assert len(shots) == len(LINKS) * len(BIRTHDAY_WAVES)
    assert {shot.endpoint[:2] for shot in shots} == {CLAIMED[:2]}


def test_a_birthday_prober_sends_to_different_ports() -> None:
    shots = aim(BIRTHDAY, Role.PROBE, Role.FAN)
    assert len({shot.endpoint for shot in shots}) == BIRTHDAY_PROBES


def test_a_prober_tries_the_predicted_ports_several_times() -> None:
    shots = aim(PREDICTION, Role.PROBE, Role.FAN, sequence=(5000, 2))
    ports = {shot.endpoint.port for shot in shots}
    assert ports == {5000 + 2 * step for step in range(1, PREDICTION_PORTS + 1)}
    assert len(shots) == PREDICTION_PORTS * len(PREDICTION_PASSES)


def test_two_fans_aim_at_one_port_ahead() -> None:
    shots = aim(PREDICTION, Role.FAN, Role.FAN, sequence=(5000, 1))
    assert {shot.endpoint.port for shot in shots} == {5000 + PREDICTION_OFFSET}
    assert len(shots) == len(LINKS) * len(PREDICTION_WAVES)


def test_a_fresh_socket_aims_at_the_peers_fresh_port_from_one_socket() -> None:
    shots = aim(FRESH, Role.FAN, Role.FAN, sequence=(5000, 1))
    assert {shot.endpoint for shot in shots} == {
        Endpoint(CLAIMED.host, 5000, link=LINKS[0])
    }


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (FRESH, CandidateKind.PEER_REFLEXIVE),
        (BIRTHDAY, CandidateKind.BIRTHDAY),
        (PREDICTION, CandidateKind.PREDICTED),
    ],
)
def test_a_path_is_named_after_its_method(
    method: PunchMethod, kind: CandidateKind
) -> None:
    assert PunchAttempt(1, method, Role.FAN, Role.PROBE).kind is kind


def addresses(
    claimed: list[Endpoint] | None = None,
    *,
    seen: list[str] | None = None,
    checked: list[str] | None = None,
    by_address: bool = False,
) -> KnownAddresses:
    ledger = Ledger()
    ledger.confirm(checked or ())
    return KnownAddresses(ledger, tuple(claimed or ()), tuple(seen or ()), by_address)


def aim(
    method: PunchMethod,
    role: Role,
    peer_role: Role,
    sequence: tuple[int, int] | None = None,
) -> list[Shot]:
    attempt = PunchAttempt(1, method, role, peer_role)
    attempt.links, attempt.peer_sequence = LINKS, sequence
    known = addresses([CLAIMED], checked=[CLAIMED.host])
    return attempt.aim(known, random.Random(1).randbytes, 0.0)
