"""The audit log shows who changed what, and that nobody changed the log."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.mesh.audit import (
    NO_HASH,
    AuditEntry,
    AuditRow,
    auth_key_state,
    chained,
    first_break,
    node_state,
    policy_state,
    records_state,
    user_state,
)
from coordinator.mesh.policies import User
from meshwg.wire.dnsrecords import DnsRecord


def test_a_chain_that_is_whole_has_no_break() -> None:
    rows = chain(5)

    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0].previous_hash == NO_HASH
    assert first_break(rows) is None
    assert first_break([]) is None


CHANGES: dict[str, Callable[[AuditRow], AuditRow]] = {
    "at": lambda row: replace(row, at=9.0),
    "actor": lambda row: replace(row, actor="somebody else"),
    "address": lambda row: replace(row, address="192.0.2.1"),
    "action": lambda row: replace(row, action="remove"),
    "target": lambda row: replace(row, target="x"),
    "before": lambda row: replace(row, before="null"),
    "after": lambda row: replace(row, after='{"x":1}'),
    "hash": lambda row: replace(row, hash="f" * 64),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_row_that_was_changed_is_the_first_break(field: str) -> None:
    rows = chain(5)
    rows[2] = CHANGES[field](rows[2])

    assert first_break(rows) == 3


def test_a_row_that_was_taken_out_or_put_in_breaks_it_there() -> None:
    rows = chain(5)

    assert first_break(rows[:2] + rows[3:]) == 3
    assert first_break(rows[1:]) == 1
    assert first_break([*rows[:2], rows[1], *rows[2:]]) == 3


def test_what_is_not_there_is_null() -> None:
    assert {
        node_state(None),
        auth_key_state(None),
        policy_state(None),
        user_state(None),
    } == {"null"}
    assert user_state(User("alice", 0.0)) == '{"disabled":false}'


def test_the_records_of_a_name_are_told_apart() -> None:
    api = DnsRecord(name="api", kind="A", value="10.0.0.5")
    assert records_state([]) == "null"
    assert records_state([api]) == '[{"type":"A","value":"10.0.0.5"}]'


def chain(count: int) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for number in range(count):
        entry = AuditEntry(
            float(number), "me", "", "rename", f"n{number}", '{"a":1}', '{"a":2}'
        )
        rows.append(chained(entry, rows[-1] if rows else None))
    return rows
