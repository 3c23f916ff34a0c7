"""What is attached to what, and how routers are described in a drawing."""

from dataclasses import replace

import pytest

from netlab import presets
from netlab.lab import Lab
from netlab.nat import Behaviour, Block
from netlab.topology import Site, Topology, Way, describe, survey

LINES = Topology(
    (
        Site("internet", "internet", "", None),
        Site("nat", "router", "", "internet"),
        Site("alice", "host", "", "nat"),
        Site("bob", "host", "", "nat"),
    )
)


def test_sites_are_found_below_what_they_are_attached_to() -> None:
    assert [site.name for site in LINES.below(None)] == ["internet"]
    assert [site.name for site in LINES.below("nat")] == ["alice", "bob"]
    assert LINES.below("alice") == []
    assert LINES.below("nobody") == []


def test_an_empty_lab_has_only_the_ways_it_was_given() -> None:
    ways = (Way(("a", "b"), "direct"),)

    assert survey(Lab(), ways) == Topology((), ways)


@pytest.mark.parametrize("name", ["office", "sequential", "udp-blocked"])
def test_a_router_of_a_known_kind_is_described_by_its_name(name: str) -> None:
    behaviour = presets.ALL[name].behaviour
    assert behaviour is not None

    assert describe(behaviour) == name


def test_any_other_router_is_described_by_what_it_does() -> None:
    symmetric = presets.OFFICE.behaviour
    assert symmetric is not None

    assert describe(Behaviour(lifetime=77)) == "endpoint-independent"
    assert describe(replace(symmetric, lifetime=77)) == "symmetric"
    assert describe(Behaviour(block=Block.UDP, lifetime=77)) == "UDP blocked"


@pytest.mark.netns
def test_a_lab_is_surveyed_as_it_was_built(lab: Lab) -> None:
    router = lab.add_router("nat", presets.HOME_ROUTER)
    lab.add_host("alice", router)
    lab.add_host("server", lab.internet)

    topology = survey(lab)

    assert [(site.name, site.kind, site.uplink) for site in topology.sites] == [
        ("internet", "internet", None),
        ("nat", "router", "internet"),
        ("alice", "host", "nat"),
        ("server", "host", "internet"),
    ]
    assert topology.sites[1].note == "home-router"
    assert topology.sites[3].note == lab.host("server").address(4)


@pytest.mark.netns
def test_a_cable_that_leads_nowhere_else_hangs_below_who_has_it(lab: Lab) -> None:
    cable = lab.add_switch("cable", "10.77.1.0/24")
    for name in ("first", "second"):
        lab.add_host(name, lab.internet).attach(cable, "eth1")
    lab.add_host("printer", cable)

    sites = {site.name: site for site in survey(lab).sites}

    assert sites["cable"].uplink == "first"
    assert sites["printer"].uplink == "cable"
    assert (sites["first"].others, sites["second"].others) == ((), ("cable",))
