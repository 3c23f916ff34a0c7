"""What nodes say about themselves, read with suspicion."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given

from meshwg.errors import InvalidMessage
from meshwg.nattypes import Mapping, PortAllocation
from meshwg.path.candidate import Candidate, Kind, Rejection
from meshwg.path.overlay import Overlay
from meshwg.path.report import NatReport, Offer
from meshwg.wire import control
from tests.path.test_candidate import json_values
from tests.sim import kinds

MESH = Overlay([ipaddress.ip_network("100.99.0.0/16")])


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_the_report_of_nat_discovery_is_understood(kind: kinds.Kind) -> None:
    report = NatReport.from_json(kind.behaviour.to_json())
    assert report.mapping.value == kind.behaviour.mapping.value
    assert report.filtering.value == kind.behaviour.filtering.value
    assert report.blocked is kind.block_udp
    assert NatReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "symmetric",
        {},
        {"mapping": 7, "filtering": None, "port_allocation": [], "port_delta": "1"},
        {"mapping": "weird", "port_delta": 0},
        {"port_delta": True},
        {"port_delta": 1000},
    ],
)
def test_what_is_not_understood_is_unknown(raw: object) -> None:
    assert NatReport.from_json(raw) == NatReport()


def test_a_sequence_without_a_step_cannot_be_followed() -> None:
    assert not NatReport(allocation=PortAllocation.SEQUENTIAL).is_sequential
    assert NatReport(allocation=PortAllocation.SEQUENTIAL, delta=-2).is_sequential


def test_an_offer_arrives_as_it_was_sent() -> None:
    offer = Offer(
        7,
        (Candidate(Kind.HOST, "192.168.1.2", 51820),),
        NatReport(Mapping.ENDPOINT_INDEPENDENT),
        "abc",
        answer=True,
        trouble=True,
        punch={"step": "ask"},
    )
    assert Offer.from_json(offer.to_json()) == (offer, {})


def test_an_offer_fits_the_control_message() -> None:
    offer = Offer(
        7, (Candidate(Kind.REFLEXIVE, "203.0.113.1", 1),), session="abc", answer=True
    )
    key = "A" * 43 + "="
    message = control.Offer.model_validate({"to": key, **offer.to_json()})
    assert Offer.from_json(message.model_dump(mode="json"))[0] == offer


def test_candidates_that_cannot_be_are_left_out_and_counted() -> None:
    inside = Candidate(Kind.HOST, "100.99.0.5", 1).to_json()
    offer, rejections = Offer.from_json({"sequence": 1, "candidates": [inside]}, MESH)
    assert offer.candidates == ()
    assert rejections == {Rejection.MESH: 1}


@pytest.mark.parametrize("sequence", [None, "1", 1.0, True])
def test_an_offer_without_a_number_is_none(sequence: object) -> None:
    with pytest.raises(InvalidMessage):
        Offer.from_json({"sequence": sequence})


@given(json_values, json_values, json_values)
def test_an_offer_may_contain_anything(nat: Any, candidates: Any, more: Any) -> None:
    raw = {"sequence": 1, "nat": nat, "candidates": candidates, "extension": more}
    offer, _ = Offer.from_json(raw)
    assert Offer.from_json(offer.to_json())[0] == offer
