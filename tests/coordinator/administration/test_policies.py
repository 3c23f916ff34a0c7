"""Policies and users over HTTP."""

import dataclasses
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from coordinator.policy.document import MAX_TEXT
from meshwg.errors import MeshError
from tests.coordinator.administration.meshes import ADMIN, Office
from tests.coordinator.programs import Program
from tests.coordinator.runtime.test_admin import request

POLICY = '[[allow]]\nfrom = ["alice@example.org"]\nto = ["any"]\n'


def test_a_policy_is_put_and_shown_with_its_history(server: Program) -> None:
    bearer = (server.data_dir / "admin.token").read_text().strip()
    none = {"schema": 1, "policy": None}
    assert request(server, "GET", "/v1/policy", bearer) == (200, none)
    status, answer = put(server, bearer, POLICY)
    assert status == 400
    assert answer["error"].startswith("Line 2 of the policy: there is no user")

    assert request(server, "PUT", "/v1/users/alice@example.org", bearer)[0] == 200
    status, answer = put(server, bearer, POLICY)
    assert (status, answer["policy"]["version"]) == (200, 1)

    _, shown = request(server, "GET", "/v1/policy", bearer)
    assert shown["policy"]["text"] == POLICY
    assert shown["policy"]["comment"] == "why"
    _, listed = request(server, "GET", "/v1/policy/history", bearer)
    assert [each["version"] for each in listed["versions"]] == [1]


def test_users_are_added_listed_and_disabled(common: Program) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()

    assert request(common, "PUT", "/v1/users/bob", bearer)[0] == 200
    assert request(common, "DELETE", "/v1/users/bob", bearer)[0] == 200
    assert request(common, "DELETE", "/v1/users/nobody", bearer)[0] == 400

    _, listed = request(common, "GET", "/v1/users", bearer)
    users = {each["name"]: each["disabled"] for each in listed["users"]}
    assert users["bob"] is True


def test_what_was_done_is_in_the_audit_log_with_the_address(server: Program) -> None:
    bearer = (server.data_dir / "admin.token").read_text().strip()
    for name in ("alice", "bob"):
        assert request(server, "PUT", f"/v1/users/{name}", bearer)[0] == 200

    _, listed = request(server, "GET", "/v1/audit?after=1", bearer)

    (row,) = listed["rows"]
    assert (row["seq"], row["action"], row["target"]) == (2, "add-user", "bob")
    assert row["actor"] == "administration over HTTP"
    assert row["address"].startswith("127.")
    assert request(server, "GET", "/v1/audit?after=x", bearer)[0] == 400


def test_tokens_and_nodes_get_owners_and_tags(common: Program) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    request(common, "PUT", "/v1/users/carol", bearer)

    body: dict[str, Any] = {"owner": "carol", "tags": ["db"]}
    status, token = request(common, "POST", "/v1/tokens", bearer, body)
    assert (status, token["owner"], token["tags"]) == (201, "carol", ["db"])
    for wrong in ({"owner": 5}, {"tags": "db"}, {"tags": [5]}, {"owner": "nobody"}):
        assert request(common, "POST", "/v1/tokens", bearer, wrong)[0] in (400, 404)
    assert request(common, "PATCH", "/v1/nodes/nobody", bearer, body)[0] == 404


def test_a_policy_may_be_as_long_as_one_in_a_file(server: Program) -> None:
    bearer = (server.data_dir / "admin.token").read_text().strip()
    request(server, "PUT", "/v1/users/alice@example.org", bearer)
    filling = "# much is said of it\n" * (MAX_TEXT // 21 - 10)

    status, answer = put(server, bearer, POLICY + filling)

    assert (status, answer["policy"]["version"]) == (200, 1)


def test_a_body_that_is_too_long_or_no_text_is_refused(common: Program) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()

    for size in (MAX_TEXT + 1, 5 * MAX_TEXT):
        status, answer = put(common, bearer, "#" * size)
        assert (status, "longer than 1 MiB" in answer["error"]) == (400, True)
    status, answer = put(common, bearer, b"\xff")
    assert (status, "not a text in UTF-8" in answer["error"]) == (400, True)


def test_without_the_bearer_token_nothing_is_shown(common: Program) -> None:
    for path in ("/v1/policy", "/v1/policy/history", "/v1/users", "/v1/audit"):
        assert request(common, "GET", path, "wrong")[0] == 401


def put(server: Program, bearer: str, text: str | bytes) -> tuple[int, dict[str, Any]]:
    data = text if isinstance(text, bytes) else text.encode()
    asked = urllib.request.Request(
        server.url + "/v1/policy?comment=why",
        data,
        {"Authorization": f"Bearer {bearer}", "Content-Type": "text/plain"},
        method="PUT",
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


RULE = '[[allow]]\nfrom = ["any"]\nto = ["any"]\nports = ["tcp/22"]\n'


def test_a_policy_is_checked_compared_and_explained_without_being_applied() -> None:
    office = Office()
    office.join("a", "web")
    office.join("b", "mail")

    assert office.ask("check-policy", text=RULE).record == {"rules": 1, "tests": 0}
    diff = office.ask("diff-policy", text=RULE).record
    assert diff["differences"][0]["gained"] == []
    assert diff["cut"] is None
    query = {"from": "web", "to": "mail", "port": "tcp/22"}
    assert office.problem("explain-policy", query=query).status == 404
    office.ask("apply-policy", text=RULE)
    assert office.ask("explain-policy", query=query).record["verdict"] == "allowed"
    query["port"] = "tcp/23"
    denied = office.ask("explain-policy", query=query).record
    assert (denied["verdict"], denied["version"]) == ("denied", 1)
    assert denied["rules"][0]["missing"]


@pytest.mark.parametrize("name", ["check-policy", "diff-policy", "apply-policy"])
@pytest.mark.parametrize("text", ["[[allow]", b"\xff", "x" * (MAX_TEXT + 1), "\x00"])
def test_a_text_that_is_no_policy_is_refused_whole(name: str, text: str) -> None:
    office = Office()
    with pytest.raises(MeshError) as caught:
        office.ask(name, text=text)
    assert caught.value.exit_status == 2
    assert office.ask("show-policy").record == {"policy": None}


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"from": "web"},
        {"from": "web", "to": "web", "port": "22"},
        {"from": "nobody", "to": "web"},
        {"from": "web", "to": "x" * 400},
    ],
)
def test_what_cannot_be_explained_is_said(query: dict[str, str]) -> None:
    office = Office()
    office.join("a", "web")
    office.ask("apply-policy", text=RULE)
    with pytest.raises(MeshError):
        office.ask("explain-policy", query=query)


def test_a_policy_is_replaced_by_whoever_says_which_he_has_seen() -> None:
    office = Office()
    applied = office.ask("apply-policy", text=RULE)

    missing = office.problem("apply-policy", text="# one\n")
    seen = office.ask("show-policy").etag
    assert seen == applied.etag
    office.ask("apply-policy", text="# two\n", if_match=f'"{seen}"')
    late = office.problem("apply-policy", text="# three\n", if_match=f'"{seen}"')

    assert (missing.status, missing.trouble) == (428, "state-missing")
    assert (late.status, late.trouble) == (412, "outdated")
    assert office.ask("show-policy").record["policy"]["text"] == "# two\n"


def test_programs_from_before_entity_tags_replace_what_there_is() -> None:
    office = Office()
    office.ask("apply-policy", text=RULE)
    old = dataclasses.replace(ADMIN, states_what_it_replaces=False)
    assert office.ask("apply-policy", actor=old, text="# new\n").record


def test_the_author_is_who_asks() -> None:
    office = Office()
    office.ask("apply-policy", text=RULE, query={"comment": "why"})
    (version,) = office.ask("list-policy-versions").record["versions"]
    assert (version["author"], version["comment"]) == (ADMIN.identity, "why")


@pytest.mark.parametrize("version", ["0", "2", "x", "-1", "9" * 5000, "\u0661"])
def test_a_version_that_there_is_not_is_not_found(version: str) -> None:
    office = Office()
    assert office.problem("show-policy-version", version="1").status == 404
    office.ask("apply-policy", text=RULE)
    assert office.ask("show-policy-version", version="1").record["policy"]["text"]
    assert office.problem("show-policy-version", version=version).status == 404
