"""What two NATs allow, and the arithmetic of ports."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from meshwg.path.punch import (
    BIRTHDAY_PROBES,
    BIRTHDAY_SOCKETS,
    FIRST_PORT,
    LAST_PORT,
    PunchMethod,
    Role,
    observed_delta,
    plain_possible,
    port_after,
    predicted_ports,
    random_ports,
    roles,
)
from meshwg.path.traits import NatTraits

EIM, ADM, APDM = (
    Mapping.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT,
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
)
EIF, ADF, APDF = (
    Filtering.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
)
SEQUENTIAL, RANDOM = PortAllocation.SEQUENTIAL, PortAllocation.RANDOM

OPEN = NatTraits(Mapping.NONE, EIF)
FIREWALL = NatTraits(Mapping.NONE, APDF)
CONE = NatTraits(EIM, APDF)
RESTRICTED = NatTraits(EIM, ADF)
HARD = NatTraits(APDM, APDF, RANDOM)
HARD_BY_ADDRESS = NatTraits(ADM, APDF, RANDOM)
HARD_LOOSE = NatTraits(APDM, ADF, RANDOM)
STEPPING = NatTraits(APDM, APDF, SEQUENTIAL, 1)
BLOCKED = NatTraits(blocked=True)
UNKNOWN = NatTraits()


@pytest.mark.parametrize(
    ("one", "other", "possible"),
    [
        (CONE, CONE, True),
        (FIREWALL, CONE, True),
        (OPEN, HARD, True),
        (RESTRICTED, HARD, True),
        (CONE, HARD, False),
        (CONE, STEPPING, False),
        (FIREWALL, HARD_BY_ADDRESS, False),
        (HARD, HARD, False),
        (HARD_LOOSE, CONE, False),
        (UNKNOWN, UNKNOWN, True),
        (UNKNOWN, HARD, False),
        (OPEN, BLOCKED, False),
    ],
)
def test_plain_punching_is_possible_or_not(
    one: NatTraits, other: NatTraits, possible: bool
) -> None:
    assert plain_possible(one, other) is possible
    assert plain_possible(other, one) is possible


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (STEPPING, CONE, (Role.FAN, Role.PROBE)),
        (STEPPING, FIREWALL, (Role.FAN, Role.PROBE)),
        (STEPPING, STEPPING, (Role.FAN, Role.FAN)),
        (STEPPING, HARD, None),
        (STEPPING, HARD_LOOSE, None),
        (HARD, CONE, None),
        (STEPPING, OPEN, None),
        (STEPPING, BLOCKED, None),
    ],
)
def test_prediction_needs_a_sequence(
    one: NatTraits, other: NatTraits, expected: tuple[Role, Role] | None
) -> None:
    assert roles(one, other, PunchMethod.PREDICTION) == expected
    mirrored = expected[::-1] if expected else None
    assert roles(other, one, PunchMethod.PREDICTION) == mirrored


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (HARD, CONE, (Role.FAN, Role.PROBE)),
        (HARD_BY_ADDRESS, FIREWALL, (Role.FAN, Role.PROBE)),
        (HARD_LOOSE, HARD, (Role.FAN, Role.PROBE)),
        (HARD_LOOSE, STEPPING, (Role.FAN, Role.PROBE)),
        (HARD, HARD, None),
        (HARD, HARD_BY_ADDRESS, None),
        (HARD, RESTRICTED, None),
        (HARD, BLOCKED, None),
    ],
)
def test_birthday_needs_many_mappings_on_one_side_only(
    one: NatTraits, other: NatTraits, expected: tuple[Role, Role] | None
) -> None:
    assert roles(one, other, PunchMethod.BIRTHDAY) == expected
    mirrored = expected[::-1] if expected else None
    assert roles(other, one, PunchMethod.BIRTHDAY) == mirrored


def test_two_loose_symmetric_nats_agree_on_one_fan() -> None:
    assert roles(HARD_LOOSE, HARD_LOOSE, PunchMethod.BIRTHDAY) == (Role.FAN, Role.PROBE)


def test_a_sequence_continues_and_wraps_around() -> None:
    assert predicted_ports(5000, 2, 3) == [5002, 5004, 5006]
    assert predicted_ports(5000, -1, 3) == [4999, 4998, 4997]
    assert port_after(LAST_PORT, 1, 1) == FIRST_PORT
    assert port_after(FIRST_PORT, -1, 1) == LAST_PORT


@given(
    st.integers(FIRST_PORT, LAST_PORT), st.integers(-16, 16), st.integers(0, 100_000)
)
def test_a_predicted_port_is_always_a_valid_port(
    base: int, delta: int, steps: int
) -> None:
    assert FIRST_PORT <= port_after(base, delta, steps) <= LAST_PORT


@pytest.mark.parametrize(
    ("ports", "expected", "delta"),
    [
        ([100, 101, 102], 1, 1),
        ([100, 103, 105], 1, 1),
        ([100, 102, 104], 4, 2),
        ([104, 102, 100], -2, -2),
        ([100], 3, 3),
        ([], 3, 3),
        ([65535, 1024], 1, 1),
    ],
)
def test_other_hosts_do_not_hide_the_step(
    ports: list[int], expected: int, delta: int
) -> None:
    assert observed_delta(ports, expected) == delta


def test_random_ports_are_all_different() -> None:
    ports = list(random_ports(random.Random(1).randbytes))
    assert len(set(ports)) == len(ports) == BIRTHDAY_PROBES
    assert all(FIRST_PORT <= port <= LAST_PORT for port in ports)
    assert any(second < first for first, second in pairwise(ports))


def test_all_ports_can_be_drawn() -> None:
    ports = list(random_ports(random.Random(1).randbytes, 100_000))
    assert sorted(ports) == list(range(FIRST_PORT, LAST_PORT + 1))


def test_256_sockets_and_1024_probes_meet_nearly_always() -> None:
    source = random.Random(11)
    hits = 0
    for _ in range(300):
        mapped = set(source.sample(range(FIRST_PORT, LAST_PORT + 1), BIRTHDAY_SOCKETS))
        hits += not mapped.isdisjoint(random_ports(source.randbytes))
    assert 288 <= hits < 300, "98.3 % of 300 are 295"
