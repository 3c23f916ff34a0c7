"""The classic name follows from mapping and filtering alone."""

import pytest

from meshwg.nat.behaviour import NatBehavior
from meshwg.nattypes import Difficulty, Filtering, Mapping, NatType, PortAllocation
from meshwg.transmit import Endpoint

EIF, ADF, APDF = list(Filtering)[:3]


@pytest.mark.parametrize(
    ("mapping", "filtering", "name"),
    [
        (Mapping.NONE, EIF, NatType.OPEN_INTERNET),
        (Mapping.NONE, ADF, NatType.SYMMETRIC_UDP_FIREWALL),
        (Mapping.NONE, APDF, NatType.SYMMETRIC_UDP_FIREWALL),
        (Mapping.ENDPOINT_INDEPENDENT, EIF, NatType.FULL_CONE),
        (Mapping.ENDPOINT_INDEPENDENT, ADF, NatType.RESTRICTED_CONE),
        (Mapping.ENDPOINT_INDEPENDENT, APDF, NatType.PORT_RESTRICTED_CONE),
        (Mapping.ADDRESS_DEPENDENT, ADF, NatType.SYMMETRIC),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, EIF, NatType.SYMMETRIC),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.UNKNOWN, NatType.SYMMETRIC),
        (Mapping.UNKNOWN, APDF, NatType.UNKNOWN),
        (Mapping.NONE, Filtering.UNKNOWN, NatType.UNKNOWN),
        (Mapping.ENDPOINT_INDEPENDENT, Filtering.UNKNOWN, NatType.UNKNOWN),
    ],
)
def test_the_classic_name_follows_from_mapping_and_filtering(
    mapping: Mapping, filtering: Filtering, name: NatType
) -> None:
    assert NatBehavior(mapping=mapping, filtering=filtering).type is name


def test_a_mapping_that_varies_in_an_unknown_way_is_symmetric() -> None:
    assert NatBehavior(varies=True).type is NatType.SYMMETRIC


@pytest.mark.parametrize(
    ("behavior", "difficulty"),
    [
        (NatBehavior(mapping=Mapping.NONE), Difficulty.NONE),
        (NatBehavior(mapping=Mapping.ENDPOINT_INDEPENDENT), Difficulty.EASY),
        # All that one server with two ports can tell.
        (NatBehavior(agrees=True), Difficulty.EASY),
        (NatBehavior(varies=True), Difficulty.HARD),
        (NatBehavior(mapping=Mapping.ADDRESS_DEPENDENT), Difficulty.HARD),
        (NatBehavior(reachable=True), Difficulty.UNKNOWN),
        (NatBehavior(blocked=True), Difficulty.UNKNOWN),
    ],
)
def test_one_word_says_what_a_nat_means(
    behavior: NatBehavior, difficulty: Difficulty
) -> None:
    assert behavior.difficulty is difficulty


def test_the_json_form_is_that_of_the_contract() -> None:
    behavior = NatBehavior(
        reachable=True,
        public=Endpoint("2001:db8::1", 41641),
        mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
        filtering=APDF,
        port_preserving=False,
        port_allocation=PortAllocation.SEQUENTIAL,
        port_delta=-2,
        hairpinning=None,
        lifetime=28.0,
    )

    assert behavior.to_json() == {
        "reachable": True,
        "public": "[2001:db8::1]:41641",
        "mapping": "address-and-port-dependent",
        "filtering": "address-and-port-dependent",
        "type": "symmetric",
        "port_preserving": False,
        "port_allocation": "sequential",
        "port_delta": -2,
        "hairpinning": None,
        "lifetime_s": 28.0,
    }


def test_what_is_not_known_is_null_or_unknown_in_json() -> None:
    assert NatBehavior().to_json() == {
        "reachable": False,
        "public": None,
        "mapping": "unknown",
        "filtering": "unknown",
        "type": "unknown",
        "port_preserving": None,
        "port_allocation": "unknown",
        "port_delta": None,
        "hairpinning": None,
        "lifetime_s": None,
    }
