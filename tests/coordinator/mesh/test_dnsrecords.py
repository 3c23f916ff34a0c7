"""The records of the zone, and what may stand beside what."""

from coordinator.mesh.dnsrecords import DraftedRecords, RecordSet, difference
from coordinator.mesh.operations import (
    Accepted,
    AddRecord,
    Refused,
    RemoveRecord,
    Rename,
    Result,
)
from meshwg.wire.control import ErrorCode
from meshwg.wire.dnsrecords import MAX_RECORDS, DnsRecord
from tests.coordinator.mesh.drafting import Mesh


def record(name: str, kind: str = "A", value: str = "10.0.0.5") -> DnsRecord:
    return DnsRecord(name=name, kind=kind, value=value)


API, WWW = record("api"), record("www", "CNAME", "api")


def refusal(result: Result) -> str:
    assert isinstance(result, Refused), result
    return result.message


def test_records_are_added_and_removed_in_order() -> None:
    mesh = Mesh()
    other = record("api", "A", "10.0.0.6")

    mesh.do(AddRecord(API), AddRecord(WWW), AddRecord(other))

    assert mesh.registry.records == RecordSet((API, WWW, other), 1)
    (gone,) = mesh.do(RemoveRecord("api", "A", "10.0.0.5"))
    assert gone == Accepted(records=(API,))
    mesh.do(RemoveRecord("api"))
    assert mesh.registry.records == RecordSet((WWW,), 3)
    assert mesh.registry.version == 3


def test_nodes_and_records_share_versions() -> None:
    mesh = Mesh()
    mesh.join("k1", "db")

    mesh.do(AddRecord(API))
    mesh.do(Rename("db", "data"))

    assert mesh.registry.records.version == 2
    assert mesh.registry.version == 3


def test_what_is_there_already_changes_nothing() -> None:
    mesh = Mesh()
    mesh.do(AddRecord(API))

    assert mesh.do(AddRecord(API)) == [Accepted(records=(API,))]

    assert mesh.registry.version == 1


def test_nothing_speaks_for_a_node() -> None:
    mesh = Mesh()
    mesh.join("k1", "db")

    for kind, value in (("A", "10.0.0.5"), ("AAAA", "fd00::5"), ("CNAME", "api")):
        (refused,) = mesh.do(AddRecord(record("db", kind, value)))
        assert "belongs to a node" in refusal(refused)
    (added,) = mesh.do(AddRecord(record("db", "TXT", "the database")))
    assert isinstance(added, Accepted)


def test_an_alias_has_no_other_records() -> None:
    mesh = Mesh()
    mesh.do(AddRecord(API), AddRecord(WWW))

    for one in (
        record("www"),
        record("www", "CNAME", "db"),
        record("api", "CNAME", "x"),
    ):
        (refused,) = mesh.do(AddRecord(one))
        assert "has no other records" in refusal(refused)


def test_what_is_not_there_cannot_be_removed() -> None:
    mesh = Mesh()
    mesh.do(AddRecord(API))

    for remove in (RemoveRecord("web"), RemoveRecord("api", "TXT"), RemoveRecord("")):
        assert mesh.refusal(remove) is ErrorCode.UNKNOWN_PEER
    assert mesh.refusal(RemoveRecord("api", "A", "10.9.9.9")) is ErrorCode.UNKNOWN_PEER


def test_there_is_room_for_so_many() -> None:
    full = RecordSet(tuple(record(f"n{each}") for each in range(MAX_RECORDS)), 1)
    drafted = DraftedRecords(full, ())

    assert "as many as can be" in refusal(drafted.add(AddRecord(API)))
    assert drafted.changed is None


def test_what_came_and_what_went() -> None:
    assert difference((API,), (WWW, API)) == ((WWW,), ())
    assert difference((API, WWW), (WWW,)) == ((), (API,))
