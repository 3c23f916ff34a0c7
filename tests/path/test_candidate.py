"""Offered addresses are believed only as far as they could be the peer's."""

import ipaddress
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.path.candidate import (
    CANDIDATE_LIMIT,
    OFFER_LIMIT,
    Candidate,
    CandidateKind,
    Rejection,
    admit_candidates,
    is_private,
    is_usable_host,
    offerable,
)
from meshwg.path.overlay import Overlay

MESH = Overlay(
    [ipaddress.ip_network("100.99.0.0/16"), ipaddress.ip_network("fd12::/48")]
)


class Claimed(NamedTuple):
    """What somebody says is a candidate."""

    kind: object
    host: object
    port: object


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.1", "100.64.1.2", "2001:db8::7"])
@pytest.mark.parametrize(
    "kind",
    [
        CandidateKind.HOST,
        CandidateKind.REFLEXIVE,
        CandidateKind.PORT_MAPPED,
        CandidateKind.RELAYED,
    ],
)
def test_the_peer_reads_what_a_node_offers(kind: CandidateKind, host: str) -> None:
    candidate = Candidate(kind, host, 51820)
    assert admit_candidates([candidate.to_message()], MESH) == ([candidate], {})


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", Rejection.LOOPBACK),
        ("127.8.8.8", Rejection.LOOPBACK),
        ("::1", Rejection.LOOPBACK),
        ("::ffff:127.0.0.1", Rejection.LOOPBACK),
        ("0.0.0.0", Rejection.UNSPECIFIED),
        ("::", Rejection.UNSPECIFIED),
        ("224.0.0.251", Rejection.MULTICAST),
        ("ff02::1", Rejection.MULTICAST),
        ("255.255.255.255", Rejection.MULTICAST),
        ("169.254.1.1", Rejection.LINK_LOCAL),
        ("fe80::1", Rejection.LINK_LOCAL),
        ("fe80::1%eth0", Rejection.LINK_LOCAL),
        ("100.99.3.4", Rejection.MESH),
        ("::ffff:100.99.3.4", Rejection.MESH),
        ("fd12::5", Rejection.MESH),
        ("0.1.2.3", Rejection.RESERVED),
        ("240.0.0.1", Rejection.RESERVED),
        ("::7", Rejection.RESERVED),
        ("example.org", Rejection.MALFORMED),
        ("", Rejection.MALFORMED),
        ("1" * 1000, Rejection.MALFORMED),
    ],
)
def test_an_address_that_leads_nowhere_is_counted_by_its_reason(
    host: str, reason: Rejection
) -> None:
    claims = [Claimed("host", host, 1)]
    assert admit_candidates(claims, MESH) == ([], {reason: 1})


@pytest.mark.parametrize("port", [-1, 65536, 1.5, "80", None, True])
def test_a_port_is_a_number_of_16_bits(port: object) -> None:
    claims = [Claimed("host", "192.0.2.1", port)]
    assert admit_candidates(claims) == ([], {Rejection.MALFORMED: 1})


def test_port_zero_has_a_reason_of_its_own() -> None:
    claims = [Claimed("host", "192.0.2.1", 0)]
    assert admit_candidates(claims) == ([], {Rejection.PORT_ZERO: 1})


@pytest.mark.parametrize("kind", ["peer-reflexive", "predicted", "birthday", "?", None])
def test_only_kinds_that_a_node_can_know_about_itself_are_taken(kind: object) -> None:
    claims = [Claimed(kind, "192.0.2.1", 1)]
    assert admit_candidates(claims) == ([], {Rejection.MALFORMED: 1})


def test_a_candidate_counts_once() -> None:
    candidate = Candidate(CandidateKind.HOST, "192.0.2.1", 1)
    assert admit_candidates([candidate] * 30)[0] == [candidate]


def test_the_number_of_candidates_used_is_limited() -> None:
    claims = [Candidate(CandidateKind.HOST, "192.0.2.1", n + 1) for n in range(100)]
    used, rejections = admit_candidates(claims)
    assert len(used) == CANDIDATE_LIMIT
    assert rejections == {Rejection.EXCESS: 100 - CANDIDATE_LIMIT}


def test_the_number_of_candidates_examined_is_limited() -> None:
    _, rejections = admit_candidates([Claimed(None, None, None)] * 10_000)
    assert rejections[Rejection.MALFORMED] == OFFER_LIMIT


@given(st.lists(st.builds(Claimed, json_values, json_values, json_values)))
def test_any_claims_give_a_bounded_number_of_candidates(claims: list[Claimed]) -> None:
    used, _ = admit_candidates(claims, MESH)
    assert len(used) <= CANDIDATE_LIMIT


def test_a_node_offers_its_best_candidates_first_and_no_useless_ones() -> None:
    relayed = Candidate(CandidateKind.RELAYED, "198.51.100.1", 50000)
    loopback = Candidate(CandidateKind.HOST, "127.0.0.1", 51820)
    host = Candidate(CandidateKind.HOST, "192.168.1.2", 51820)
    assert offerable([relayed, loopback, host]) == (host, relayed)


@pytest.mark.parametrize("hosts", [16, 60, 64, 300])
def test_hosts_never_displace_what_others_see(hosts: int) -> None:
    known = crowd(hosts)
    others = [
        Candidate(CandidateKind.REFLEXIVE, "203.0.113.1", 51820),
        Candidate(CandidateKind.REFLEXIVE, "2001:db8::1", 51820),
        Candidate(CandidateKind.PORT_MAPPED, "203.0.113.1", 4000),
        Candidate(CandidateKind.RELAYED, "198.51.100.1", 50000),
    ]
    first = known[: CANDIDATE_LIMIT - len(others)]

    used, rejections = admit_candidates([*known, *others])

    assert used == [*first, *others]
    assert rejections == {Rejection.EXCESS: hosts - len(first)}
    assert set(offerable([*known, *others])) == {*first, *others}
    assert offerable([*known, *others])[: len(first)] == tuple(first)


def test_the_others_are_limited_too() -> None:
    claims = [
        Candidate(CandidateKind.REFLEXIVE, "203.0.113.1", n + 1) for n in range(100)
    ]
    used, _ = admit_candidates([*crowd(5), *claims])
    assert used == claims[:CANDIDATE_LIMIT]


def crowd(count: int) -> list[Candidate]:
    return [
        Candidate(CandidateKind.HOST, f"10.{n // 256}.{n % 256}.1", 51820)
        for n in range(count)
    ]


def test_private_addresses_are_told_from_public_ones() -> None:
    assert is_private("10.1.2.3")
    assert is_private("100.64.0.1")
    assert is_private("fd00::1")
    assert not is_private("203.0.113.1")
    assert not is_private("2001:db8::1")


@pytest.mark.parametrize("text", ["", "nonsense", "127.0.0.1", "::ffff:127.0.0.1"])
def test_a_host_that_is_not_another_machine_is_unusable(text: str) -> None:
    assert not is_usable_host(text)
    assert is_usable_host("203.0.113.1")
