"""The administration over HTTP."""

import asyncio
import json
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest

from coordinator.runtime.admin import is_confidential
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


def test_records_of_the_zone_come_and_go_over_http(common: Program) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    record = {"name": "API.mesh.internal", "type": "a", "value": "10.0.0.5"}
    shown = {
        "name": "api",
        "full_name": "api.mesh.internal",
        "type": "A",
        "value": "10.0.0.5",
    }
    answer = {"schema": 1, "domain": "mesh.internal", "records": [shown]}
    assert request(common, "POST", "/v1/dns", bearer, record) == (201, answer)
    assert request(common, "GET", "/v1/dns", bearer) == (200, answer)
    assert common.json("dns", "list") == answer
    twice = {"name": "api", "type": "CNAME", "value": "db"}
    assert request(common, "POST", "/v1/dns", bearer, twice)[0] == 409
    removed = request(common, "DELETE", "/v1/dns/api.mesh.internal?type=a", bearer)
    assert removed == (200, answer)
    assert request(common, "GET", "/v1/dns", bearer)[1]["records"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("DELETE", "/v1/nodes/nobody", None, 404),
        ("POST", "/v1/nodes/nobody/expire", None, 404),
        ("PATCH", "/v1/nodes/nobody", {"name": "x"}, 404),
        ("PATCH", "/v1/nodes/nobody", {"nam": "x"}, 400),
        ("PATCH", "/v1/nodes/nobody", [1], 400),
        ("POST", "/v1/tokens", {"expires": "never"}, 400),
        ("POST", "/v1/tokens", {"uses": 0}, 400),
        ("POST", "/v1/tokens", {"uses": True}, 400),
        ("POST", "/v1/tokens", {"uses": 1e6}, 400),
        ("POST", "/v1/tokens", {"uses": 1 << 40}, 400),
        ("DELETE", "/v1/tokens/ffff", None, 404),
        ("POST", "/v1/dns", {"name": "api", "type": "A", "value": "x"}, 400),
        ("POST", "/v1/dns", {"name": "api", "type": "A", "value": 1}, 400),
        ("POST", "/v1/dns", {}, 400),
        ("DELETE", "/v1/dns/nothing", None, 404),
    ],
)
def test_the_http_administration_explains_what_is_wrong(
    common: Program, method: str, path: str, body: Any, status: int
) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    got, answer = request(common, method, path, bearer, body)
    assert got == status
    assert answer["error"]


@pytest.mark.parametrize(
    "header",
    [b"\xff", b"Bearer \xff\xfe", b"\xed\xa0\x80", b"Bearer " + b"a" * 8000, b"\x80"],
)
def test_an_authorization_that_is_no_text_is_wrong_and_no_news(
    server: Program, header: bytes
) -> None:
    for _ in range(3):
        with socket.create_connection((server.host, 8443), timeout=20) as connection:
            request = b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n\r\n"
            connection.sendall(request % header)
            assert connection.recv(64).startswith(b"HTTP/1.1 401")
    assert server.stop() == (0, "")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("application/json; charset=nonsense", b"{}"),
        ("application/json; charset=utf-16", b"{}"),
        ("application/json", b"[" * 15_000),
        ("application/json", b"\xff"),
        ("application/json", b'{"expires": ' + b"9" * 6000 + b"}"),
        ("application/json", b'{"expires": "\\ud800"}'),
    ],
)
def test_a_body_that_is_no_json_is_refused(
    common: Program, kind: str, data: bytes
) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": kind}
    asked = urllib.request.Request(
        common.url + "/v1/tokens", data, headers, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=20)
    with caught.value as error:
        assert error.code == 400
        assert json.loads(error.read())["error"]


@pytest.mark.parametrize("path", ["%00", "%ff", "%ed%a0%80", "a" * 4000, "%2e%2e"])
def test_names_that_nobody_has_are_not_found(common: Program, path: str) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()
    for kind in ("nodes", "tokens"):
        assert request(common, "DELETE", f"/v1/{kind}/{path}", bearer)[0] == 404


@pytest.mark.parametrize("bearer", ["", "wrong", "é"])
def test_a_wrong_bearer_token_opens_nothing(common: Program, bearer: str) -> None:
    status, answer = request(common, "GET", "/v1/nodes", bearer)
    assert status == 401
    assert "nodes" not in answer


@pytest.mark.parametrize(
    ("peer", "tls", "answered"),
    [
        (("127.0.0.1", 5), None, True),
        (("127.200.0.1", 5), None, True),
        (("::1", 5, 0, 0), None, True),
        (("::ffff:127.0.0.1", 5, 0, 0), None, True),
        ("", None, True),
        (("192.0.2.1", 5), None, False),
        (("192.0.2.1", 5), "context", True),
        (("::ffff:192.0.2.1", 5, 0, 0), None, False),
        (("fe80::1%eth0", 5, 0, 2), None, False),
        (("10.0.0.1", 5), None, False),
        ((), None, False),
        (("nonsense", 5), None, False),
        (None, None, False),
    ],
)
def test_the_administration_answers_only_where_nobody_can_listen(
    peer: object, tls: object, answered: bool
) -> None:
    transport = Transport({"peername": peer, "sslcontext": tls})
    assert is_confidential(transport) is answered
    assert not is_confidential(None)


class Transport(asyncio.BaseTransport):
    """A connection of which something is known."""


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
