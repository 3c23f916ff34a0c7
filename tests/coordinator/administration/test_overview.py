"""The audit log, the relays, and who asks."""

import dataclasses

import pytest

from coordinator.administration.rights import Role, Scope, in_role
from tests.coordinator.administration.meshes import Office, with_scopes


def office_of(*users: str) -> Office:
    office = Office()
    for name in users:
        office.ask("add-user", user=name)
    return office


def test_the_log_is_read_from_a_row_on_or_in_pages() -> None:
    office = office_of("a", "b", "c")

    later = office.ask("show-audit", query={"after": "1"}).record
    first = office.ask("show-audit", query={"limit": "2"}).record
    query = {"limit": "2", "cursor": first["next"]}
    last = office.ask("show-audit", query=query).record

    assert [row["seq"] for row in later["rows"]] == [2, 3]
    assert "next" not in later
    assert [row["seq"] for row in first["rows"]] == [1, 2]
    assert ([row["seq"] for row in last["rows"]], last["next"]) == ([3], None)


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "-1"},
        {"after": "99999999999"},
        {"since": "nan"},
        {"cursor": "WyJ4Il0"},
        {"cursor": "Wy01XQ"},
    ],
)
def test_a_row_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    assert office_of().problem("show-audit", query=query).status == 400


def test_whether_the_log_was_changed_is_found_out() -> None:
    office = office_of("a", "b")
    whole = office.ask("verify-audit").record
    assert (whole["rows"], whole["broken"]) == (2, None)
    assert whole["last_hash"] == office.mesh.rows[-1].hash

    office.mesh.rows[0] = dataclasses.replace(office.mesh.rows[0], actor="nobody")

    assert office.ask("verify-audit").record["broken"] == 1


def test_relays_are_listed() -> None:
    assert Office().ask("list-relays").record["relays"] == [
        {"url": "turn:192.0.2.1:3478?transport=udp", "own": True}
    ]


def test_whoever_asks_is_told_who_he_is_and_what_he_may_do() -> None:
    auditor = Office().ask("show-self", actor=in_role("dave", Role.AUDITOR)).record
    assert (auditor["identity"], auditor["role"]) == ("dave", "auditor")
    program = Office().ask("show-self", actor=with_scopes(Scope.NODES_READ)).record
    assert (program["role"], program["scopes"]) == (None, ["nodes:read"])
