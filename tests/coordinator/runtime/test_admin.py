"""The administration over HTTP."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from meshwg.wire.token import JoinToken
from tests.coordinator.programs import Program


def test_the_http_administration_does_the_same(common: Program) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    status, created = request(common, "POST", "/v1/tokens", bearer, {"ephemeral": True})
    assert status == 201
    assert JoinToken.parse(created["token"]).url == common.url
    assert created["ephemeral"] is True
    status, listed = request(common, "GET", "/v1/tokens", bearer)
    assert [token["id"] for token in listed["tokens"]] == [created["id"]]
    status, revoked = request(common, "DELETE", f"/v1/tokens/{created['id']}", bearer)
    assert revoked["state"] == "revoked"
    assert request(common, "GET", "/v1/nodes", bearer) == (
        200,
        {"schema": 1, "nodes": []},
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("DELETE", "/v1/nodes/nobody", None, 404),
        ("POST", "/v1/nodes/nobody/expire", None, 404),
        ("PATCH", "/v1/nodes/nobody", {"name": "x"}, 404),
        ("PATCH", "/v1/nodes/nobody", {"nam": "x"}, 400),
        ("PATCH", "/v1/nodes/nobody", [1], 400),
        ("POST", "/v1/tokens", {"expires": "never"}, 400),
        ("DELETE", "/v1/tokens/ffff", None, 404),
    ],
)
def test_the_http_administration_explains_what_is_wrong(
    common: Program, method: str, path: str, body: Any, status: int
) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    got, answer = request(common, method, path, bearer, body)
    assert got == status
    assert answer["error"]


@pytest.mark.parametrize("bearer", ["", "wrong", "é"])
def test_a_wrong_bearer_token_opens_nothing(common: Program, bearer: str) -> None:
    status, answer = request(common, "GET", "/v1/nodes", bearer)
    assert status == 401
    assert "nodes" not in answer


def request(
    server: Program, method: str, path: str, bearer: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {bearer}".encode().decode("latin-1")}
    asked = urllib.request.Request(server.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
