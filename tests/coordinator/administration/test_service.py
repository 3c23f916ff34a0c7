"""One service for whoever asks."""

from typing import Any

import pytest

from coordinator.administration.endpoints import ENDPOINTS
from coordinator.administration.problems import Trouble
from coordinator.administration.rights import Role, Scope, in_role
from tests.coordinator.administration.meshes import ADMIN, Office, with_scopes


@pytest.mark.parametrize("name", ENDPOINTS)
def test_nobody_is_answered_who_may_not_ask(name: str) -> None:
    endpoint = ENDPOINTS[name]
    others = [scope for scope in Scope if scope is not endpoint.scope]
    path = dict.fromkeys(endpoint.placeholders, "x")
    if endpoint.scope is None:
        assert Office().ask(name, actor=with_scopes()).record
        return

    problem = Office().problem(name, actor=with_scopes(*others), **path)

    assert (problem.status, problem.trouble) == (403, Trouble.NOT_PERMITTED)
    assert endpoint.scope in str(problem)


def test_who_did_what_from_where_is_in_the_audit_log() -> None:
    office = Office()
    office.ask("add-user", user="alice")

    (row,) = office.ask("show-audit").record["rows"]

    assert (row["actor"], row["address"]) == (ADMIN.identity, ADMIN.address)
    assert (row["action"], row["target"]) == ("add-user", "alice")


def test_what_was_refused_changes_nothing_and_is_not_in_the_log() -> None:
    office = Office()
    office.join("k", "web")
    auditor = in_role("dave", Role.AUDITOR)

    assert office.problem("remove-node", actor=auditor, node="web").status == 403
    assert office.problem("remove-node", node="nobody").status == 404

    assert [each["name"] for each in office.ask("list-nodes").record["nodes"]] == [
        "web"
    ]
    assert office.ask("show-audit").record["rows"] == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"[1]", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"[" * 20_000, "not a JSON object"),
        (b'{"uses": true}', "'uses' is wrong"),
        (b'{"uses": 1e6}', "'uses' is wrong"),
        (b'{"uses": 0}', "'uses' is wrong"),
        (b'{"expires": 9}', "'expires' is wrong"),
        (b'{"expires": "\\ud800"}', "JSON"),
        (b'{"owner": "a\\u0000b"}', "'owner' is wrong"),
        (b'{"tags": "db"}', "'tags' is wrong"),
        (b'{"tags": [5]}', "'tags.0' is wrong"),
        (b'{"tags": ["' + b"x" * 400 + b'"]}', "'tags.0' is wrong"),
        (b'{"reusable": "yes"}', "'reusable' is wrong"),
    ],
)
def test_a_body_that_makes_no_sense_is_named(body: bytes, named: str) -> None:
    problem = Office().problem("create-token", text=body)

    assert (problem.status, problem.exit_status) == (400, 2)
    assert named in str(problem)
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "-1"},
        {"limit": "x"},
        {"limit": "1001"},
        {"limit": "9" * 5000},
        {"cursor": "x" * 5000},
        {"cursor": "\x00"},
        {"cursor": "\udcff"},
    ],
)
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    assert Office().problem("list-nodes", query=query).status == 400


def test_what_is_not_described_is_ignored() -> None:
    office = Office()
    assert office.ask("list-nodes", query={"color": "red"}).record == {"nodes": []}
    assert office.ask("create-token", body={"color": "red"}).record["token"]


def test_a_change_of_what_was_seen_is_done_and_another_one_is_not() -> None:
    office = Office()
    office.join("k", "web")
    seen = office.ask("show-node", node="web").etag

    first = office.ask(
        "change-node", node="web", body={"name": "shop"}, if_match=f'"{seen}"'
    )
    second = office.problem(
        "change-node", node="shop", body={"name": "mail"}, if_match=f'"{seen}"'
    )

    assert first.record["node"]["name"] == "shop"
    assert (second.status, second.trouble) == (412, Trouble.OUTDATED)
    assert office.ask("show-node", node="shop").etag == first.etag


@pytest.mark.parametrize("header", ["*", "", "  "])
def test_whoever_names_no_state_has_his_way(header: str) -> None:
    office = Office()
    office.join("k", "web")
    assert office.ask("expire-node", node="web", if_match=header).record


@pytest.mark.parametrize("header", ['"a", "b"', "x" * 200])
def test_several_states_are_refused(header: str) -> None:
    problem = Office().problem("add-user", user="alice", if_match=header)
    assert problem.status == 400


def test_of_what_is_gone_it_is_said_that_it_is_not_there() -> None:
    problem = Office().problem("remove-node", node="web", if_match='"x"')
    assert problem.status == 404


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("expire-node", {"node": "web"}, None),
        ("remove-node", {"node": "web"}, None),
        ("approve-route", {}, {"node": "web", "prefix": "exit"}),
        ("refuse-route", {}, {"node": "web", "prefix": "exit"}),
        ("add-user", {"user": "alice"}, None),
        ("disable-user", {"user": "alice"}, None),
    ],
)
def test_every_change_heeds_the_state_that_was_seen(
    name: str, path: dict[str, str], body: Any
) -> None:
    office = Office()
    office.join("k", "web")
    office.ask("add-user", user="alice")
    problem = office.problem(name, body=body, if_match='"old"', **path)
    assert problem.status == 412
