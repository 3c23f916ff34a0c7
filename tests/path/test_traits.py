"""What matters of a NAT, read with suspicion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from meshwg.path.traits import DELTA_LIMIT, NatTraits, followable
from meshwg.wire import control
from tests.sim import kinds


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_the_report_of_nat_discovery_is_understood(kind: kinds.Kind) -> None:
    reported = control.ReportedNat(**kind.behaviour.to_json())
    traits = NatTraits.from_message(reported)
    assert traits.mapping is kind.behaviour.mapping
    assert traits.filtering is kind.behaviour.filtering
    assert traits.blocked is kind.block_udp
    assert traits == traits_of(kind)


@pytest.mark.parametrize(
    "reported",
    [
        None,
        control.ReportedNat(),
        control.ReportedNat(mapping="weird", filtering="odd", port_allocation="new"),
        control.ReportedNat(mapping="weird", port_delta=0),
        control.ReportedNat(type="symmetric"),
        control.ReportedNat(port_delta=1000),
        control.ReportedNat(port_delta=-1000),
    ],
)
def test_what_is_not_understood_is_unknown(
    reported: control.ReportedNat | None,
) -> None:
    assert NatTraits.from_message(reported) == NatTraits()


def test_a_sequence_without_a_step_cannot_be_followed() -> None:
    assert not NatTraits(allocation=PortAllocation.SEQUENTIAL).is_sequential
    assert NatTraits(allocation=PortAllocation.SEQUENTIAL, delta=-2).is_sequential


def nat_traits() -> st.SearchStrategy[NatTraits]:
    """Return any traits that a node can have."""
    deltas = st.none() | st.integers(-DELTA_LIMIT, DELTA_LIMIT).map(followable)
    return st.builds(
        NatTraits,
        st.sampled_from(Mapping),
        st.sampled_from(Filtering),
        st.sampled_from(PortAllocation),
        deltas,
        st.booleans(),
    )


@given(nat_traits())
def test_a_peer_reads_what_was_written(traits: NatTraits) -> None:
    assert NatTraits.from_message(traits.to_message()) == traits


def traits_of(kind: kinds.Kind) -> NatTraits:
    """Return what matters of the NAT of a kind of network."""
    nat = kind.behaviour
    delta = followable(nat.port_delta)
    return NatTraits(
        nat.mapping, nat.filtering, nat.port_allocation, delta, nat.blocked
    )
