"""Flows are kept as long as they live, and never too many."""

from meshwg.policy.flows import (
    FRAGMENT_TIMEOUT,
    MAX_FRAGMENTED,
    Flow,
    FlowTable,
    Fragments,
)


def test_a_flow_is_forgotten_when_its_time_is_over() -> None:
    table = FlowTable(10)
    flow = Flow(True, 1, None)

    table.keep(b"a", flow, 20.0, 10.0)

    assert table.get(b"a", 19.9) is flow
    assert table.get(b"a", 20.0) is None
    assert len(table) == 0


def test_a_full_table_loses_what_was_idle_for_longest() -> None:
    table = FlowTable(2)
    flows = [Flow(False, 1, None) for _ in range(3)]
    table.keep(b"a", flows[0], 100.0, 0.0)
    table.keep(b"b", flows[1], 100.0, 1.0)
    table.keep(b"a", flows[0], 100.0, 2.0)

    table.keep(b"c", flows[2], 100.0, 3.0)

    assert table.get(b"b", 4.0) is None
    assert table.get(b"a", 4.0) is flows[0]
    assert table.evicted == 1


def test_what_had_expired_anyway_does_not_count_as_evicted() -> None:
    table = FlowTable(1)
    table.keep(b"a", Flow(False, 1, None), 1.0, 0.0)

    table.keep(b"b", Flow(False, 1, None), 9.0, 2.0)

    assert table.evicted == 0


def test_the_rest_of_a_packet_passes_for_a_while() -> None:
    fragments = Fragments()
    fragments.let_pass(b"a", 48, 10.0)

    assert fragments.passes(b"a", 48, 10.0 + FRAGMENT_TIMEOUT - 0.1)
    assert not fragments.passes(b"a", 48, 10.0 + FRAGMENT_TIMEOUT)
    assert not fragments.passes(b"b", 48, 10.0)


def test_nothing_passes_in_place_of_the_first_fragment() -> None:
    fragments = Fragments()
    fragments.let_pass(b"a", 48, 10.0)

    assert not fragments.passes(b"a", 40, 10.0)
    assert fragments.passes(b"a", 1480, 10.0)


def test_packets_in_fragments_are_not_remembered_without_bound() -> None:
    fragments = Fragments()
    for number in range(2 * MAX_FRAGMENTED):
        fragments.let_pass(number.to_bytes(4), 8, 0.0)

    assert len(fragments) == MAX_FRAGMENTED
