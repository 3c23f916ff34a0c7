"""The administration over HTTP."""

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.runtime.admin import is_between_members, is_confidential
from meshwg.wire.token import JoinToken
from tests.coordinator.mesh.drafting import Mesh
from tests.coordinator.programs import Program, program


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


@pytest.mark.parametrize(
    ("peer", "own", "answered"),
    [
        (0, 1, True),
        (1, 0, True),
        (0, "192.0.2.1", False),
        ("192.0.2.1", 0, False),
        ("100.64.255.254", 0, False),
        (0, "", False),
    ],
)
def test_inside_the_mesh_both_ends_are_members(
    peer: int | str, own: int | str, answered: bool
) -> None:
    mesh = Mesh()
    numbers = [mesh.join(key, key).number for key in ("a", "b")]
    networks = mesh.registry.networks
    ends = []
    for end in (peer, own):
        host = networks.addresses(numbers[end])[0] if isinstance(end, int) else end
        ends.append((host, 5) if host else "")
    transport = Transport(dict(zip(("peername", "sockname"), ends, strict=True)))

    assert is_between_members(transport, mesh.registry) is answered
    assert not is_between_members(None, mesh.registry)


def test_an_api_token_does_what_its_scopes_say_and_nothing_else(
    common: Program,
) -> None:
    made = common.json("apitoken", "create", "lists", "--scope", "nodes:read")
    token = made["token"]
    assert request(common, "GET", "/v1/nodes", token)[0] == 200
    status, problem = request(common, "POST", "/v1/tokens", token, {})
    assert (status, problem["code"]) == (403, "not-permitted")
    assert "tokens:write" in problem["detail"]
    shown = request(common, "GET", "/v1/self", token)[1]
    assert shown["scopes"] == ["nodes:read"]
    assert token.rpartition("-")[2] not in str(
        request(common, "GET", "/v1/api-tokens", admin(common))
    )
    common.run("apitoken", "revoke", made["id"])
    assert request(common, "GET", "/v1/nodes", token)[0] == 401


def test_two_administrators_do_not_overwrite_each_other(common: Program) -> None:
    token = common.json("apitoken", "create", "x", "--role", "admin")["token"]
    request(common, "PUT", "/v1/users/erin", token)
    _, seen, headers = exchange(common, "GET", "/v1/users/erin", token)
    tag = headers["ETag"]
    first = exchange(common, "DELETE", "/v1/users/erin", token, If_Match=tag)
    second = exchange(common, "DELETE", "/v1/users/erin", token, If_Match=tag)

    assert seen["user"]["disabled"] is False
    assert (first[0], second[0]) == (200, 412)
    assert second[1]["code"] == "outdated"
    assert first[2]["ETag"] not in ("", tag)


def test_problems_are_in_the_form_of_rfc_9457(common: Program) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/policy", 405),
        ("GET", "/v1/nodes/nobody", 404),
    ):
        got, problem, headers = exchange(common, method, path, admin(common))
        assert (got, problem["status"]) == (status, status)
        assert headers["Content-Type"].startswith("application/problem+json")
        assert problem["title"]
        assert problem["detail"] == problem["error"]
    assert exchange(common, "GET", "/v1/nodes", "x")[2]["WWW-Authenticate"]


def test_the_description_needs_no_token(common: Program) -> None:
    status, document = request(common, "GET", "/v1/openapi.json", "")
    assert (status, document["openapi"]) == (200, "3.1.0")


def test_ten_megabytes_are_refused_with_a_sentence(common: Program) -> None:
    body = {"owner": "x" * 10_000_000}
    made = common.json("apitoken", "create", "x", "--role", "admin")
    for token in (admin(common), made["token"]):
        status, problem = request(common, "POST", "/v1/tokens", token, body)
        assert (status, problem["code"]) == (413, "too-large")


def test_a_long_policy_comes_in_with_an_api_token_too(common: Program) -> None:
    made = common.json("apitoken", "create", "x", "--scope", "policy:read")
    asked = urllib.request.Request(
        common.url + "/v1/policy/check",
        b"#" * 900_000,
        {"Authorization": f"Bearer {made['token']}", "Content-Type": "text/plain"},
    )
    with urllib.request.urlopen(asked, timeout=20) as response:
        assert json.loads(response.read())["rules"] == 0


def test_ten_megabytes_without_the_right_token_are_not_read(common: Program) -> None:
    status = 401
    # The server answers, or cuts the connection while this is still sending.
    with contextlib.suppress(OSError):
        status, _ = request(common, "POST", "/v1/tokens", "x", {"a": "x" * 10**7})
    assert status == 401
    assert request(common, "GET", "/v1/nodes", admin(common))[0] == 200


def test_wrong_tokens_in_a_loop_are_throttled_and_logged_once(server: Program) -> None:
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        tried = range(30)
        answers = list(
            pool.map(lambda _: request(server, "GET", "/v1/nodes", "wrong"), tried)
        )
    statuses = [status for status, _ in answers]
    assert statuses.count(401) >= 20
    assert 429 in statuses
    assert request(server, "GET", "/v1/nodes", admin(server))[0] == 200
    _, complaints = server.stop()
    assert complaints.count("Wrong tokens") == 1
    assert len(complaints.splitlines()) == 1


def test_at_the_socket_its_owner_needs_no_token(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with program(tmp_path / "data", "--admin-socket", str(path)) as made:
        made._options = ()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        status, shown = at_socket(path, "/v1/self")
        assert (status, shown["role"]) == (200, "admin")
        forwarded = at_socket(path, "/v1/self", {"X-Forwarded-For": "192.0.2.1"})
        assert forwarded[0] in (401, 403)
        done = made.run("user", "add", "frank", "--server", f"unix:{path}")
        assert (done.returncode, done.stdout) == (0, "frank is known.\n")
        rows = made.json("audit")
        assert rows["actor"] == shown["identity"]
        assert made.stop() == (0, "")
    assert not path.exists()


def admin(server: Program) -> str:
    """Return the token that may do everything."""
    return (server.data_dir / "admin.token").read_text().strip()


def exchange(
    server: Program, method: str, path: str, bearer: str, **headers: str
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Return status, JSON and headers of an answer."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    said["Authorization"] = f"Bearer {bearer}"
    asked = urllib.request.Request(server.url + path, None, said, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            return response.status, json.loads(response.read()), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def at_socket(
    path: Path, target: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of an answer at a Unix socket."""
    connection = http.client.HTTPConnection("localhost", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(20)
    connection.sock.connect(str(path))
    try:
        connection.request("GET", target, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


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
