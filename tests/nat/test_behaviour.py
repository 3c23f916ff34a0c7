"""Names and possibilities follow from mapping and filtering alone."""

import itertools

import pytest

from meshwg.nat.behaviour import (
    Filtering,
    Mapping,
    NatBehavior,
    NatType,
    PortAllocation,
    Punch,
    easiest_punch,
)
from meshwg.transmit import Endpoint
from tests.sim import kinds
from tests.sim.kinds import Kind

EIF, ADF, APDF = list(Filtering)[:3]

# Measured over namespaces with real NATs: direct (plain), prediction, birthday, none.
ROWS = {
    kinds.PUBLIC: "DDDDDDDDDDDDD",
    kinds.FULL_CONE: "DDDDDDDDDDDDD",
    kinds.ADDRESS_RESTRICTED: "DDDDDDDDDDDDD",
    kinds.SYMMETRIC_EIF: "DDDDDDDDDDDDD",
    kinds.FIREWALLED_PUBLIC: "DDDDDDBDBPBDB",
    kinds.PORT_RESTRICTED: "DDDDDDBDBPBDB",
    kinds.LINUX: "DDDDDDBDBPBDB",
    kinds.DOUBLE_NAT_CONE: "DDDDDDBDBPBDB",
    kinds.ADDRESS_DEPENDENT_MAPPING: "DBDDBB-DB--B-",
    kinds.SYMMETRIC_ADF: "DBDDBBBDBBBBB",
    kinds.SYMMETRIC_SEQUENTIAL: "DPDDPP-DBP-P-",
    kinds.SYMMETRIC_RANDOM: "DBDDBB-DB--B-",
    kinds.DOUBLE_NAT_SYMMETRIC: "DBDDBB-DB--B-",
}
COLUMNS = (
    kinds.PUBLIC,
    kinds.FIREWALLED_PUBLIC,
    kinds.FULL_CONE,
    kinds.ADDRESS_RESTRICTED,
    kinds.PORT_RESTRICTED,
    kinds.LINUX,
    kinds.ADDRESS_DEPENDENT_MAPPING,
    kinds.SYMMETRIC_EIF,
    kinds.SYMMETRIC_ADF,
    kinds.SYMMETRIC_SEQUENTIAL,
    kinds.SYMMETRIC_RANDOM,
    kinds.DOUBLE_NAT_CONE,
    kinds.DOUBLE_NAT_SYMMETRIC,
)
LETTERS = {
    Punch.PLAIN: "D",
    Punch.PREDICTION: "P",
    Punch.BIRTHDAY: "B",
    Punch.IMPOSSIBLE: "-",
}


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.name)
def test_what_is_possible_is_what_was_measured(kind: Kind) -> None:
    row = [LETTERS[easiest_punch(kind.behaviour, other.behaviour)] for other in COLUMNS]

    assert "".join(row) == ROWS[kind]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(COLUMNS, 2)))
def test_what_is_possible_does_not_depend_on_who_asks(one: Kind, other: Kind) -> None:
    assert easiest_punch(one.behaviour, other.behaviour) is easiest_punch(
        other.behaviour, one.behaviour
    )


def test_blocked_udp_rules_everything_out_and_ignorance_nothing() -> None:
    blocked, unknown = NatBehavior(blocked=True), NatBehavior(reachable=True)
    random = kinds.SYMMETRIC_RANDOM.behaviour

    assert easiest_punch(blocked, kinds.PUBLIC.behaviour) is Punch.IMPOSSIBLE
    assert easiest_punch(unknown, random) is Punch.PLAIN


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
