"""The description of the administration."""

import json
import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from coordinator.administration.endpoints import ENDPOINTS
from coordinator.administration.openapi import PROBLEMS, document
from coordinator.mesh.operations import Join
from tests.coordinator.administration.meshes import Office

DOCUMENT = document("1.2.3")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, described)
        for path, methods in DOCUMENT["paths"].items()
        for method, described in methods.items()
    ]


def test_everything_in_the_table_is_described() -> None:
    named = {described["operationId"] for _, _, described in operations()}
    assert named == {*ENDPOINTS, "follow-events", "show-openapi"}
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_it_is_json_and_every_reference_in_it_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in schemas
    assert "#/$defs/" not in text


def test_every_placeholder_of_a_path_is_a_parameter() -> None:
    for path, _, described in operations():
        names = re.findall(r"{(\w+)}", path)
        given = [
            p["name"] for p in described.get("parameters", ()) if p["in"] == "path"
        ]
        assert given == names


def test_every_problem_is_documented_everywhere() -> None:
    for _, _, described in operations():
        assert {str(status) for status in PROBLEMS} < set(described["responses"])


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("list-nodes", {}),
        ("show-node", {"node": "web"}),
        ("change-node", {"node": "web", "body": {"name": "shop"}}),
        ("expire-node", {"node": "web"}),
        ("remove-node", {"node": "web"}),
        ("list-tokens", {"query": {"limit": "1"}}),
        ("create-token", {"body": {}}),
        ("list-api-tokens", {}),
        ("create-api-token", {"body": {"role": "admin"}}),
        ("list-users", {}),
        ("add-user", {"user": "bob"}),
        ("disable-user", {"user": "alice"}),
        ("list-routes", {}),
        ("approve-route", {"body": {"node": "web", "prefix": "exit"}}),
        ("show-policy", {}),
        ("apply-policy", {"text": "# nothing\n"}),
        ("check-policy", {"text": "# nothing\n"}),
        ("diff-policy", {"text": "# nothing\n"}),
        ("explain-policy", {"query": {"from": "web", "to": "web"}}),
        ("list-policy-versions", {}),
        ("show-policy-version", {"version": "1"}),
        ("list-records", {}),
        ("add-record", {"body": {"name": "a", "type": "A", "value": "10.0.0.1"}}),
        ("list-peers", {}),
        ("show-audit", {}),
        ("verify-audit", {}),
        ("list-relays", {}),
        ("show-self", {}),
    ],
)
def test_answers_are_as_described(name: str, asked: dict[str, Any]) -> None:
    office = Office()
    office.do(Join("k", "s", "home", "web", str(office.mesh.mesh.text), exit=True))
    office.ask("add-user", user="alice")
    if name in ("explain-policy", "show-policy-version", "list-policy-versions"):
        office.ask("apply-policy", text='[[allow]]\nfrom = ["any"]\nto = ["any"]\n')

    answer = office.ask(name, **asked)

    endpoint = ENDPOINTS[name]
    described = TypeAdapter(endpoint.answer)
    text = json.dumps({"schema": 1, **answer.record})
    known = described.validate_json(text, strict=True)
    # Nothing is told that is not described.
    again = described.dump_python(known, mode="json", by_alias=True)
    assert {"next", *again} >= {"next", *json.loads(text)}
    assert endpoint.has_etag is bool(answer.etag) or not endpoint.has_etag
