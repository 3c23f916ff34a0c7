"""The records that a node holds."""

from meshwg.control.records import RecordTable
from meshwg.wire.control import Records
from meshwg.wire.dnsrecords import MAX_RECORDS, DnsRecord


def record(name: str, value: str = "10.0.0.5") -> DnsRecord:
    return DnsRecord(name=name, kind="A", value=value)


API, WWW = record("api"), record("www")


def test_all_of_them_replace_those_before() -> None:
    table = RecordTable()

    assert table.update(Records(version=3, added=(API,)))
    assert table.update(Records(version=5, added=(WWW,)))

    assert table.records == (WWW,)
    assert table.version == 5
    assert table.update(Records(version=6, added=(WWW,))) is False


def test_a_change_adds_and_removes() -> None:
    table = RecordTable()
    table.update(Records(version=3, added=(API,)))

    assert table.update(Records(version=4, base=3, added=(WWW,), removed=(API,)))

    assert table.records == (WWW,)
    assert table.version == 4


def test_a_change_of_another_version_is_not_taken() -> None:
    table = RecordTable()
    table.update(Records(version=3, added=(API,)))

    assert table.update(Records(version=9, base=8, added=(WWW,))) is None
    assert table.update(Records(version=3, base=2, added=(WWW,))) is False

    assert table.records == (API,)


def test_it_outlasts_a_restart() -> None:
    table, again = RecordTable(), RecordTable()
    assert table.cache() is None
    table.update(Records(version=3, added=(API, WWW)))

    again.load(table.cache())

    assert (again.records, again.version) == ((API, WWW), 3)
    again.load(None)
    again.load(Records(version=9, base=3))
    assert again.version == 3


def test_it_has_room_for_so_many() -> None:
    table = RecordTable()
    some = tuple(record(f"n{each}") for each in range(MAX_RECORDS))
    table.update(Records(version=1, added=some))

    table.update(Records(version=2, base=1, added=(API,)))

    assert len(table.records) == MAX_RECORDS


def test_it_can_be_emptied() -> None:
    table = RecordTable()
    assert not table.clear()
    table.update(Records(version=3, added=(API,)))

    assert table.clear()
    assert (table.records, table.version) == ((), 0)
