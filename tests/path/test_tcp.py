"""What nodes say of themselves over TCP, and whether they can meet."""

from ipaddress import ip_network

import pytest

from meshwg.nattypes import Mapping
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.overlay import Overlay
from meshwg.path.tcp import (
    TARGETS,
    TcpOffer,
    TcpTraits,
    from_extension,
    is_hopeless,
    targets,
)

HOST = Candidate(CandidateKind.HOST, "192.168.1.2", 41641)
PUBLIC_HOST = Candidate(CandidateKind.HOST, "203.0.113.9", 41641)
MAPPED = Candidate(CandidateKind.PORT_MAPPED, "203.0.113.1", 4000)
REFLEXIVE = Candidate(CandidateKind.REFLEXIVE, "203.0.113.1", 5000)
EASY = TcpTraits((HOST, REFLEXIVE), Mapping.ENDPOINT_INDEPENDENT)
HARD = TcpTraits((HOST, REFLEXIVE), Mapping.ADDRESS_DEPENDENT)


def test_an_offer_says_what_its_sender_knows() -> None:
    offer = from_extension({**EASY.to_extension(), "step": {"step": "go", "id": 1}})

    assert offer == TcpOffer(EASY, {"step": "go", "id": 1})


@pytest.mark.parametrize("raw", [None, 5, "tcp", ["candidates"]])
def test_a_peer_that_says_nothing_has_no_part_in_streams(raw: object) -> None:
    assert from_extension(raw) is None


def test_what_makes_no_sense_reads_as_unknown() -> None:
    raw = {"candidates": [5, {"kind": "host"}, {}], "mapping": ["odd"], "step": "go"}

    assert from_extension(raw) == TcpOffer(TcpTraits())
    assert from_extension({"candidates": 7, "mapping": 7}) == TcpOffer(TcpTraits())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "100.64.0.5"])
def test_addresses_that_lead_nowhere_are_left_out(host: str) -> None:
    overlay = Overlay([ip_network("100.64.0.0/24")])
    claim = {"kind": "host", "host": host, "port": 22}

    offer = from_extension({"candidates": [claim]}, overlay)

    assert offer is not None
    assert offer.traits.candidates == ()


def test_a_relayed_address_accepts_no_streams() -> None:
    claim = {"kind": "relay", "host": "198.51.100.9", "port": 22}

    assert from_extension({"candidates": [claim]}) == TcpOffer(TcpTraits())


def test_a_hard_mapping_needs_a_peer_that_can_be_reached() -> None:
    assert is_hopeless(HARD, EASY)
    assert is_hopeless(EASY, HARD)
    assert not is_hopeless(EASY, EASY)
    assert not is_hopeless(HARD, TcpTraits((PUBLIC_HOST,)))
    assert not is_hopeless(TcpTraits((MAPPED,), Mapping.ADDRESS_DEPENDENT), HARD)
    assert not is_hopeless(TcpTraits((HOST,), Mapping.NONE), HARD)


def test_what_is_unknown_may_help() -> None:
    assert not is_hopeless(TcpTraits(), TcpTraits())


def test_the_likeliest_addresses_are_dialled_first_and_private_ones_last() -> None:
    other = Candidate(CandidateKind.HOST, "192.168.1.3", 41641)
    peer = TcpTraits((other, PUBLIC_HOST, REFLEXIVE, MAPPED))

    assert targets(TcpTraits((HOST,)), peer) == [MAPPED, REFLEXIVE, PUBLIC_HOST, other]


def test_own_addresses_and_other_ip_versions_are_not_dialled() -> None:
    version6 = Candidate(CandidateKind.HOST, "2001:db8::1", 41641)

    assert targets(EASY, TcpTraits((HOST, version6, MAPPED))) == [MAPPED]


def test_only_a_few_addresses_are_dialled() -> None:
    many = tuple(
        Candidate(CandidateKind.HOST, f"203.0.113.{n}", 1) for n in range(1, 40)
    )

    assert len(targets(EASY, TcpTraits(many))) == TARGETS
