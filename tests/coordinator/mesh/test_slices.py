"""Netmaps in slices: bounded, in order, and good for going on from each of them."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.mesh.slices import MAX_BYTES, MAX_ENTRIES, Entry, Slices
from meshwg.control.netmap import PeerTable
from meshwg.keys import format_key
from meshwg.schema import plain
from meshwg.wire.control import (
    MAX_SLICE,
    Delta,
    NetMap,
    PeerEntry,
    decode_from_coordinator,
    unpack,
)
from meshwg.wire.digest import peer_digest

STEPS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=120)
"""How much later each entry changed than the one before, and whether it is gone."""


@settings(max_examples=40)
@given(STEPS, st.booleans())
def test_slices_lead_where_one_message_leads(
    steps: list[tuple[int, bool]], is_whole: bool
) -> None:
    base = None if is_whole else 10
    entries = made(steps, with_gone=not is_whole)
    sliced, whole = (slices(entries, base, whole=whole) for whole in (False, True))
    assert len(whole) == 1
    tables = [follow(table_at(base), each[:]) for each in (sliced, whole)]
    assert tables[0].nodes == tables[1].nodes
    assert tables[0].version == tables[1].version == sliced.version
    assert tables[0].digest == tables[1].digest


@settings(max_examples=40)
@given(STEPS, st.integers(0, 10))
def test_after_each_slice_a_node_needs_no_more_than_what_is_newer(
    steps: list[tuple[int, bool]], number: int
) -> None:
    entries = made(steps, with_gone=True)
    sliced = slices(entries, 10)
    cut = number % len(sliced)
    table = follow(table_at(10), sliced[:cut])
    newer = [each for each in entries if each.version > table.version]
    if cut:
        assert table.through == sliced.version
    rest = Slices(
        newer, base=table.version, version=sliced.version, digest=digest_of(entries)
    )
    follow(table, rest[:])
    assert table.nodes == follow(table_at(10), sliced[:]).nodes


def test_no_slice_has_more_than_a_node_reads_between_two_packets() -> None:
    entries = made([(1, False)] * 500, with_gone=False)
    for payload in slices(entries, None):
        message = decode_from_coordinator(payload)
        assert isinstance(message, NetMap | Delta)
        listed = message.peers if isinstance(message, NetMap) else message.changed
        assert len(listed) <= MAX_ENTRIES <= MAX_SLICE
        assert len(unpack(payload, 1 << 20)) < MAX_BYTES + 1024


def test_nodes_with_much_to_say_come_in_smaller_slices() -> None:
    padding = b" " * (MAX_BYTES // 2)
    entries = [
        each._replace(fragment=(each.fragment or b"") + padding)
        for each in made([(1, False)] * 6, with_gone=False)
    ]
    assert len(slices(entries, None)) == 6
    assert len(slices(entries[:1], None)) == 1


def test_many_changes_of_one_version_lead_to_it_only_together() -> None:
    entries = made([(1, False), *[(0, False)] * 99], with_gone=False)
    sliced = slices(entries, 10)
    messages = [decode_from_coordinator(each) for each in sliced]
    versions = [each.version for each in messages if isinstance(each, Delta)]
    assert versions == [*[10] * (len(sliced) - 1), 11]


def test_a_slice_is_made_when_it_is_asked_for_and_once() -> None:
    sliced = slices(made([(1, False)] * 100, with_gone=False), None)
    assert sliced.built == 0
    assert sliced[1] is sliced[1]
    assert sliced.built == 1
    assert sliced[-1] is sliced[len(sliced) - 1]


def made(steps: list[tuple[int, bool]], *, with_gone: bool) -> list[Entry]:
    """Return entries of different nodes, the oldest change first."""
    entries, version = [], 11
    for number, (later, is_gone) in enumerate(steps):
        version += later if number else 0
        key = format_key(number.to_bytes(32))
        peer = PeerEntry(
            public_key=key, name=f"n{number}", addresses=(), version=version
        )
        is_gone = is_gone and with_gone
        text = json.dumps(plain(peer)).encode()
        entries.append(Entry(version, key, None if is_gone else text))
    return entries


def slices(entries: list[Entry], base: int | None, *, whole: bool = False) -> Slices:
    version = entries[-1].version if entries else 11
    return Slices(
        entries, base=base, version=version, digest=digest_of(entries), whole=whole
    )


def digest_of(entries: list[Entry]) -> int:
    digest = 0
    for entry in entries:
        if entry.fragment is not None:
            digest ^= peer_digest(entry.key, entry.version)
    return digest


def table_at(base: int | None) -> PeerTable:
    table = PeerTable("")
    table.version = base or 0
    return table


def follow(table: PeerTable, payloads: list[bytes]) -> PeerTable:
    """Give a table payloads, each of which must add up."""
    for payload in payloads:
        message = decode_from_coordinator(payload)
        if isinstance(message, NetMap):
            assert table.replace(message).consistent
        else:
            assert isinstance(message, Delta)
            change = table.update(message)
            assert change is not None
            assert change.consistent
            assert change.is_last == (message.through is None)
    return table
