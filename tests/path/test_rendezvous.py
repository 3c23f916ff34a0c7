"""Offers of both sides, and the addresses that follow from them."""

import random

from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.offer import Offer
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.traits import NatTraits
from meshwg.transmit import Endpoint
from tests.path.test_punch import CONE, HARD

LAN = Candidate(CandidateKind.HOST, "192.168.1.2", 1111)
PUBLIC = Candidate(CandidateKind.REFLEXIVE, "203.0.113.2", 2222)
MAPPED = Candidate(CandidateKind.PORT_MAPPED, "203.0.113.2", 3333)
RELAYED = Candidate(CandidateKind.RELAYED, "198.51.100.1", 50000)
IPV6 = Candidate(CandidateKind.HOST, "2001:db8::2", 1111)


def test_offers_are_numbered_and_of_one_session() -> None:
    rendezvous = new()
    assert not rendezvous.has_offered
    first, second = (rendezvous.make() for _ in range(2))
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.session == second.session != ""
    assert rendezvous.has_offered


def test_only_other_candidates_are_a_change() -> None:
    rendezvous = new()
    assert rendezvous.set_own([LAN], CONE)
    assert not rendezvous.set_own([LAN], HARD)
    assert rendezvous.nat == HARD
    assert rendezvous.set_own([LAN, PUBLIC], HARD)


def test_an_offer_is_accepted_once_and_in_order() -> None:
    assert not new().was_heard
    rendezvous = new()
    assert take(rendezvous, [LAN], sequence=5)
    assert rendezvous.was_heard
    assert not take(rendezvous, [PUBLIC], sequence=5)
    assert not take(rendezvous, [PUBLIC], sequence=4)
    assert rendezvous.peer.candidates == (LAN,)
    assert take(rendezvous, [PUBLIC], sequence=1, session="anew")
    assert rendezvous.peer.candidates == (PUBLIC,)


def test_the_netmap_is_believed_until_the_peer_itself_is_heard() -> None:
    rendezvous = new()
    rendezvous.set_reported([LAN, PUBLIC], HARD)
    assert not rendezvous.was_heard
    assert rendezvous.targets() == [LAN, PUBLIC]
    assert rendezvous.peer.nat == HARD
    assert take(rendezvous, [MAPPED], sequence=0)
    rendezvous.set_reported([LAN, PUBLIC], HARD)
    assert rendezvous.targets() == [MAPPED]


def test_the_netmap_knows_of_a_nat_that_the_peer_did_not_know_of() -> None:
    rendezvous = new()
    assert take(rendezvous, [LAN], sequence=0, nat=NatTraits())
    rendezvous.set_reported([PUBLIC], NatTraits(blocked=True))
    assert rendezvous.peer.nat.blocked
    assert rendezvous.targets() == [LAN]
    rendezvous.set_reported([PUBLIC], HARD)
    assert rendezvous.peer.nat.blocked, "it is known by now"


def test_a_node_that_restarts_as_a_newer_version_is_heard_again() -> None:
    rendezvous = new()
    # Older versions numbered offers by the coordinator's clock, in milliseconds.
    assert take(rendezvous, [LAN], sequence=1_790_000_000_001, session="old")
    assert take(rendezvous, [PUBLIC], sequence=1, session="new")
    assert take(rendezvous, [PUBLIC], sequence=1_790_000_000_002, session="older")


def test_neither_relays_nor_this_node_are_targets() -> None:
    rendezvous = new()
    rendezvous.set_own([LAN], CONE)
    take(rendezvous, [LAN, PUBLIC, RELAYED])
    assert rendezvous.targets() == [PUBLIC]


def test_addresses_of_a_family_that_this_node_lacks_are_no_targets() -> None:
    rendezvous = new()
    take(rendezvous, [IPV6, PUBLIC])
    assert rendezvous.targets() == [IPV6, PUBLIC], "nothing is known yet"
    rendezvous.set_own([RELAYED, IPV6], CONE)
    assert rendezvous.targets() == [], "its own address is not checked"
    rendezvous.set_own([Candidate(CandidateKind.HOST, "2001:db8::9", 1)], CONE)
    assert rendezvous.targets() == [IPV6]
    rendezvous.set_own([LAN], CONE)
    assert rendezvous.targets() == [PUBLIC]


def test_the_public_endpoints_of_a_peer_are_reflexive_first_and_ipv4() -> None:
    rendezvous = new()
    server = Candidate(CandidateKind.HOST, "203.0.113.9", 9)
    take(rendezvous, [LAN, server, MAPPED, PUBLIC, IPV6, RELAYED])
    expected = PUBLIC.endpoint, MAPPED.endpoint, server.endpoint
    assert rendezvous.peer_public() == expected


def test_a_symmetric_nat_is_also_looked_for_where_it_was_seen() -> None:
    rendezvous = new()
    rendezvous.set_own([LAN], CONE)
    rendezvous.peer_hosts = ("203.0.113.2", "203.0.113.3")
    take(rendezvous, [PUBLIC], nat=CONE)
    assert rendezvous.targets() == [PUBLIC]
    take(rendezvous, [PUBLIC], nat=HARD, sequence=2)
    endpoints = [target.endpoint for target in rendezvous.targets()]
    assert endpoints == [PUBLIC.endpoint, Endpoint("203.0.113.3", 2222)]


def new() -> Rendezvous:
    return Rendezvous([], random.Random(1).randbytes)


def take(
    rendezvous: Rendezvous,
    candidates: list[Candidate],
    *,
    nat: NatTraits = CONE,
    sequence: int = 1,
    session: str = "peer",
) -> bool:
    offer = Offer(sequence, tuple(candidates), nat, session)
    return rendezvous.take(offer)
