"""Conclusions follow only from what was seen; the rest is unknown."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.nat.inference import (
    Passed,
    Sample,
    Seen,
    allocation_of,
    filtering_of,
    is_credible,
    keeps_ports,
    mapping_of,
)
from meshwg.nattypes import Filtering, Mapping, PortAllocation
from meshwg.transmit import Endpoint

A = Endpoint("203.0.113.1", 1000)
B = Endpoint("203.0.113.1", 2000)
C = Endpoint("203.0.113.1", 3000)
D = Endpoint("203.0.113.2", 1000)
EIM = Mapping.ENDPOINT_INDEPENDENT
ADM = Mapping.ADDRESS_DEPENDENT
APDM = Mapping.ADDRESS_AND_PORT_DEPENDENT
UNKNOWN = Mapping.UNKNOWN


@pytest.mark.parametrize(
    ("seen", "mapping"),
    [
        # The complete test of RFC 5780 section 4.3.
        (Seen(A, other_port=A, other_address=A, other_both=A), EIM),
        (Seen(A, other_port=A, other_address=B, other_both=B), ADM),
        (Seen(A, other_port=B, other_address=C, other_both=D), APDM),
        # The same, with answers missing.
        (Seen(A, other_address=A), EIM),
        (Seen(A, other_both=A), EIM),
        (Seen(A, other_address=B, other_both=B), ADM),
        (Seen(A, other_address=B, other_both=C), APDM),
        (Seen(A, other_port=A, other_address=B), ADM),
        (Seen(A, other_port=B, other_both=C), APDM),
        (Seen(A, other_address=B), UNKNOWN),
        (Seen(A, other_both=B), UNKNOWN),
        # One address: only a difference proves anything.
        (Seen(A), UNKNOWN),
        (Seen(A, other_port=A), UNKNOWN),
        (Seen(A, other_port=B), APDM),
        # Several servers of one address.
        (Seen(A, other_servers=(A, A)), EIM),
        (Seen(A, other_port=A, other_servers=(B, C)), ADM),
        (Seen(A, other_port=B, other_servers=(C, D)), APDM),
        (Seen(A, other_servers=(B,)), UNKNOWN),
        (Seen(A, other_servers=(A, B)), UNKNOWN),
        # Another public address alone is another endpoint, too.
        (Seen(A, other_port=A, other_address=D, other_both=D), ADM),
    ],
)
def test_the_mapping_is_what_the_observations_prove(
    seen: Seen, mapping: Mapping
) -> None:
    assert mapping_of(seen, is_local=False) is mapping


def test_two_destinations_agree_if_they_saw_the_same() -> None:
    assert Seen(A, other_port=A).agrees
    assert Seen(A, other_servers=(A,)).agrees
    assert not Seen(A).agrees
    assert not Seen(A, other_port=B).agrees
    assert not Seen(A, other_port=A, other_address=B).agrees


def test_a_host_seen_under_its_own_address_everywhere_has_no_nat() -> None:
    assert mapping_of(Seen(A, A, A, A), is_local=True) is Mapping.NONE
    assert mapping_of(Seen(A), is_local=True) is Mapping.NONE
    assert mapping_of(Seen(A, A, B, B), is_local=True) is ADM


@pytest.mark.parametrize(
    ("both", "port", "filtering"),
    [
        (True, True, Filtering.ENDPOINT_INDEPENDENT),
        (True, False, Filtering.ENDPOINT_INDEPENDENT),
        (True, None, Filtering.ENDPOINT_INDEPENDENT),
        (False, True, Filtering.ADDRESS_DEPENDENT),
        (False, False, Filtering.ADDRESS_AND_PORT_DEPENDENT),
        (None, False, Filtering.ADDRESS_AND_PORT_DEPENDENT),
        (None, True, Filtering.UNKNOWN),
        (False, None, Filtering.UNKNOWN),
        (None, None, Filtering.UNKNOWN),
    ],
)
def test_the_filtering_is_what_got_through_and_what_was_kept_out(
    both: bool | None, port: bool | None, filtering: Filtering
) -> None:
    assert filtering_of(Passed(both, port)) is filtering


@pytest.mark.parametrize(
    ("ports", "allocation", "delta"),
    [
        ([7, 8, 9, 10], PortAllocation.SEQUENTIAL, 1),
        ([10, 8, 6], PortAllocation.SEQUENTIAL, -2),
        ([10, 14, 16, 22], PortAllocation.SEQUENTIAL, 2),
        ([10, 11, 15, 16], PortAllocation.SEQUENTIAL, 1),
        ([10, 11, 9, 12], PortAllocation.RANDOM, None),
        ([10, 900, 5000, 33], PortAllocation.RANDOM, None),
        ([10, 11], PortAllocation.UNKNOWN, None),
        ([10], PortAllocation.UNKNOWN, None),
        ([], PortAllocation.UNKNOWN, None),
    ],
)
def test_the_steps_between_samples_tell_the_allocation(
    ports: list[int], allocation: PortAllocation, delta: int | None
) -> None:
    samples = [Sample(50000 + n, port) for n, port in enumerate(ports)]

    assert allocation_of(samples, Seen(A)) == (allocation, delta)


def test_ports_that_are_all_kept_are_preserved() -> None:
    samples = [Sample(port, port) for port in (5000, 6000)]

    assert keeps_ports(samples) is True
    assert allocation_of(samples, Seen(A)) == (PortAllocation.PRESERVING, None)
    assert allocation_of(samples[:1], Seen(A))[0] is PortAllocation.UNKNOWN
    assert keeps_ports([*samples, Sample(1, 2)]) is False
    assert keeps_ports([]) is None


def test_a_port_kept_for_one_destination_says_nothing_about_the_next() -> None:
    kept = [Sample(port, port) for port in (5000, 6000, 7000, 8000)]
    later = [Endpoint(A.host, port) for port in (2000, 2001, 2002)]
    seen = Seen(A, later[2], later[0], later[1])

    assert allocation_of(kept, seen) == (PortAllocation.SEQUENTIAL, 1)


@given(
    st.integers(2000, 60000),
    st.sampled_from([-4, -2, -1, 1, 2, 4]),
    st.lists(st.integers(1, 8), min_size=3, max_size=3).filter(lambda n: 1 in n),
)
def test_a_step_is_found_whatever_others_take_in_between(
    first: int, delta: int, taken: list[int]
) -> None:
    ports = list(itertools.accumulate((delta * n for n in taken), initial=first))
    samples = [Sample(1, port) for port in ports]

    assert allocation_of(samples, Seen(A)) == (PortAllocation.SEQUENTIAL, delta)


def test_random_ports_are_not_taken_for_a_sequence() -> None:
    source = random.Random(1)
    for _ in range(20000):
        samples = [Sample(1, source.randrange(1024, 65536)) for _ in range(4)]
        assert allocation_of(samples, Seen(A))[0] is PortAllocation.RANDOM


SERVER = Endpoint("198.51.100.1", 3478)


@pytest.mark.parametrize(
    ("other", "credible"),
    [
        (Endpoint("198.51.100.2", 3479), True),
        (Endpoint("192.168.1.1", 3479), True),
        (None, False),
        (Endpoint("198.51.100.1", 3479), False),
        (Endpoint("198.51.100.2", 3478), False),
        (Endpoint("198.51.100.2", 0), False),
        (Endpoint("127.0.0.1", 3479), False),
        (Endpoint("224.0.0.1", 3479), False),
        (Endpoint("255.255.255.255", 3479), False),
        (Endpoint("0.0.0.0", 3479), False),
        (Endpoint("2001:db8::1", 3479), False),
    ],
)
def test_only_another_host_that_may_be_asked_is_believed(
    other: Endpoint | None, credible: bool
) -> None:
    assert is_credible(other, SERVER) is credible


def test_a_server_on_loopback_may_have_its_other_address_there() -> None:
    local = Endpoint("127.0.0.1", 3478)

    assert is_credible(Endpoint("127.0.0.2", 3479), local)
    assert not is_credible(Endpoint("198.51.100.2", 3479), local)
