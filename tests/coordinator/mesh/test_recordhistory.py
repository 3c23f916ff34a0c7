"""What nodes are told of the zone's records."""

import pytest

from coordinator.mesh.dnsrecords import RecordSet
from coordinator.mesh.recordhistory import REMEMBERED, RecordHistory
from meshwg.control.records import RecordTable
from meshwg.wire.control import Records, decode_from_coordinator
from meshwg.wire.dnsrecords import DnsRecord


def record(number: int) -> DnsRecord:
    return DnsRecord(name=f"n{number}", kind="A", value="10.0.0.5")


def told(history: RecordHistory, version: int) -> Records | None:
    payloads = history.since(version)
    if not payloads:
        return None
    (payload,) = payloads
    message = decode_from_coordinator(payload)
    assert isinstance(message, Records)
    return message


def test_a_change_is_told_as_one() -> None:
    history = RecordHistory(RecordSet((record(1),), 4))

    assert history.put((record(2),), 7)

    assert told(history, 7) is None
    assert told(history, 4) == Records(
        version=7, base=4, added=(record(2),), removed=(record(1),)
    )
    assert told(history, 0) == Records(version=7, added=(record(2),))


def test_who_holds_nobody_knows_what_gets_everything() -> None:
    empty = RecordHistory(RecordSet())

    assert told(empty, 0) is None
    assert told(empty, -1) == Records(version=0)
    assert told(empty, 99) == Records(version=0)


def test_who_holds_none_is_told_nothing_where_there_is_none() -> None:
    history = RecordHistory(RecordSet((), 9))

    assert told(history, 0) is None
    assert told(history, 4) == Records(version=9)


def test_what_changes_no_record_is_no_news() -> None:
    history = RecordHistory(RecordSet((record(1),), 4))

    assert not history.put((record(1),), 5)
    assert not history.put((record(2),), 4)
    assert history.version == 4


def test_a_message_is_made_once_for_all() -> None:
    history = RecordHistory(RecordSet((record(1),), 4))
    history.put((record(2),), 7)

    assert history.since(4)[0] is history.since(4)[0]


@pytest.mark.parametrize("misses", [1, 3, REMEMBERED, REMEMBERED + 5])
def test_a_node_that_missed_changes_knows_all_of_them_after_one_message(
    misses: int,
) -> None:
    history, table = RecordHistory(RecordSet()), RecordTable()
    for version in range(1, 200):
        history.put(tuple(map(record, range(version % 7))), version)
        if version % misses == 0:
            message = told(history, table.version)
            if message is not None:
                table.update(message)
            assert set(table.records) == set(map(record, range(version % 7)))
            assert table.version == version
