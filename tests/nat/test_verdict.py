"""The verdict is one sentence that says what a network allows."""

import pytest

from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.verdict import verdict
from meshwg.nattypes import Filtering, Mapping
from tests.sim import KINDS, Kind, kinds

EXPECTED = {
    kinds.PUBLIC: "No NAT and no firewall: direct paths work to every peer",
    kinds.FIREWALLED_PUBLIC: "No NAT, but a firewall that lets only answers in: direct",
    kinds.FULL_CONE: "Full-cone NAT: direct paths work to every peer that has UDP.",
    kinds.ADDRESS_RESTRICTED: "Address-restricted cone NAT: direct paths work to every",
    kinds.LINUX: "Port-restricted cone NAT: direct paths work to all peers but those",
    kinds.SYMMETRIC_EIF: "Symmetric NAT with random ports: direct paths work to every",
    kinds.SYMMETRIC_ADF: "others need the birthday method.",
    kinds.SYMMETRIC_SEQUENTIAL: "others need port prediction or the relay.",
    kinds.SYMMETRIC_RANDOM: (
        "Symmetric NAT with random ports: direct paths work to peers behind full-cone "
        "or address-restricted NATs; others need the birthday method or the relay."
    ),
    kinds.UDP_BLOCKED: "all traffic goes through the relay over TCP.",
}


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.name)
def test_each_kind_has_its_sentence(kind: Kind) -> None:
    assert EXPECTED[kind] in verdict(kind.behaviour)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("other", [*KINDS, None], ids=lambda kind: kind and kind.name)
def test_it_is_always_one_sentence(kind: Kind, other: Kind | None) -> None:
    for forwarder in (None, "PCP"):
        ipv6 = None if other is None else other.behaviour
        sentence = verdict(kind.behaviour, ipv6, forwarder)
        assert sentence[0].isupper()
        assert sentence.count(".") == 1
        assert sentence.endswith(".")


def test_a_router_that_forwards_a_port_makes_any_nat_good() -> None:
    sentence = verdict(kinds.SYMMETRIC_RANDOM.behaviour, forwarder="UPnP")

    assert (
        "but the router forwards a port (UPnP): direct paths work to every" in sentence
    )


def test_only_ipv6_is_said_to_be_only_ipv6() -> None:
    blocked, open_ = NatBehavior(blocked=True), kinds.PUBLIC.behaviour

    assert verdict(blocked, open_).startswith("Over IPv6 only: no NAT and no firewall:")
    assert "between peers that have IPv6" in verdict(kinds.LINUX.behaviour, open_)
    assert "IPv6" not in verdict(kinds.LINUX.behaviour, blocked)


def test_silence_over_ipv6_is_not_called_a_missing_server() -> None:
    sentence = verdict(NatBehavior(), NatBehavior(blocked=True))
    assert sentence.startswith("Over IPv6 only: no STUN server answered")
    both = verdict(NatBehavior(blocked=True), NatBehavior(blocked=True))
    assert both.startswith("No STUN server answered")


@pytest.mark.parametrize(
    ("behavior", "start"),
    [
        (NatBehavior(), "Nothing is known about this network"),
        (NatBehavior(reachable=True), "UDP works, but the kind of NAT could not be"),
        (
            NatBehavior(reachable=True, varies=True),
            "Symmetric NAT: direct paths work to",
        ),
        (
            NatBehavior(reachable=True, mapping=Mapping.NONE),
            "No NAT, and perhaps a firewall: direct paths work to all peers but",
        ),
        (
            NatBehavior(reachable=True, mapping=Mapping.ENDPOINT_INDEPENDENT),
            "Cone NAT with unknown filtering: direct paths work to all",
        ),
        (
            NatBehavior(reachable=True, filtering=Filtering.ADDRESS_DEPENDENT),
            "UDP works, but the kind of NAT could not be measured: direct paths are",
        ),
    ],
)
def test_what_is_not_known_is_not_claimed(behavior: NatBehavior, start: str) -> None:
    assert verdict(behavior).startswith(start)
