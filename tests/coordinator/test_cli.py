"""The program: what users type, what it prints, how it ends."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.capture import CaptureResult

from coordinator.cli import main
from coordinator.runtime.files import DataDirectory
from meshwg.control.events import MembershipRevoked, SelfChanged
from meshwg.wire.token import JoinToken
from tests.coordinator.live import LiveNode
from tests.coordinator.programs import Program, loopback, program


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    """A server for one test."""
    with program(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server that tests do not stop, nor do they rely on what is in it."""
    with program(tmp_path_factory.mktemp("common") / "data") as made:
        yield made


async def test_everything_an_administrator_does_reaches_the_running_server(
    server: Program,
) -> None:
    assert server.ready_line.startswith(f"meshwg-coordinator ready: {server.url}")

    # In threads, so that the node goes on living meanwhile.
    async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(server.run, *arguments)

    async def ask(*arguments: str) -> dict[str, Any]:
        return await asyncio.to_thread(server.json, *arguments)

    token = (await run("token", "create")).stdout.strip()
    alice = await LiveNode(token, "alice").joined()
    (listed,) = (await ask("node", "list"))["nodes"]
    assert (listed["name"], listed["online"]) == ("alice", True)
    assert listed["public_key"] == alice.key

    renamed = await run("node", "rename", "alice", "Alice's Laptop")
    assert renamed.stdout == "alice-s-laptop is the new name.\n"
    assert (await alice.event(SelfChanged)).itself.name == "alice-s-laptop"

    assert (await ask("token", "list"))["tokens"][0]["state"] == "used"
    assert (await run("node", "remove", alice.key)).returncode == 0
    await alice.event(MembershipRevoked)
    assert (await ask("node", "list"))["nodes"] == []
    await alice.vanish()
    assert server.stop() == (0, "")


def test_administration_works_without_a_running_server(server: Program) -> None:
    server.stop()
    created = server.json("token", "create", "--reusable", "--expires", "7d")
    token = JoinToken.parse(created["token"])
    assert token.url == server.url
    assert created["expires"] - created["created"] == 7 * 86400
    revoked = server.json("token", "revoke", created["token"])
    assert revoked["state"] == "revoked"
    (listed,) = server.json("token", "list")["tokens"]
    assert listed["id"] == token.auth_key.number
    assert token.auth_key.secret.hex() not in json.dumps(listed)
    assert server.run("node", "list").stdout == "No node has joined yet.\n"


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


def test_a_second_server_on_the_same_data_is_refused(
    common: Program, here: "Here"
) -> None:
    here.fails(common.data_dir, "serve", status=1, named="Another coordinator runs")


def test_a_taken_port_ends_with_a_sentence(
    common: Program, here: "Here", tmp_path: Path
) -> None:
    options = ["--listen", f"{common.host}:8443", "--stun", f"{loopback()}:3478"]
    named = "8443 cannot be listened on"
    here.fails(tmp_path, "serve", *options, status=1, named=named)


def test_a_taken_stun_port_ends_with_a_sentence(
    common: Program, here: "Here", tmp_path: Path
) -> None:
    options = ["--listen", f"{loopback()}:0", "--stun", f"{common.host}:3478"]
    here.fails(tmp_path, "serve", *options, status=1, named="3478")


@pytest.mark.parametrize("command", ["serve", "token create", "node list"])
def test_a_damaged_database_ends_with_a_sentence(
    tmp_path: Path, here: "Here", command: str
) -> None:
    DataDirectory(tmp_path, os.urandom).private_key()
    (tmp_path / "coordinator.db").write_bytes(b"x" * 8192)
    named = "is damaged; restore it"
    here.fails(tmp_path, *command.split(), status=1, named=named)


async def test_a_database_damaged_under_a_running_server_ends_it(
    server: Program,
) -> None:
    token = server.run("token", "create", "--reusable").stdout.strip()
    path = server.data_dir / "coordinator.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("DELETE FROM mesh")
    connection.close()
    node = LiveNode(token)
    status, complaints = server.wait()
    assert status == 1
    assert "it was emptied" in complaints
    await node.vanish()


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["serve", "--listen", "nonsense"], 2, "--listen nonsense"),
        (["serve", "--network4", "10.0.0.0/31"], 2, "too small"),
        (["serve", "--database", "mysql://x/y"], 2, "database URL"),
        (["serve", "--turn-secret-file", "/nowhere"], 1, "/nowhere"),
        (["token", "create"], 1, "There is no coordinator in"),
        (["token", "create", "--expires", "soon"], 2, "no lifetime"),
        (["token", "revoke", "mwg1-cut"], 2, "damaged or incomplete"),
        (["node", "remove"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_wrong_usage_ends_with_a_sentence(
    tmp_path: Path, here: "Here", arguments: list[str], status: int, named: str
) -> None:
    here.fails(tmp_path, *arguments, status=status, named=named)


def test_a_bad_network_leaves_no_mesh_behind(tmp_path: Path, here: "Here") -> None:
    options = ("--network4", "10.0.0.0/31")
    here.fails(tmp_path, "serve", *options, status=2, named="too small")
    with program(tmp_path) as again:
        assert again.ready_line


@pytest.mark.parametrize("command", ["serve", "token list", "node list"])
def test_options_may_come_from_the_environment(
    tmp_path: Path, here: "Here", command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataDirectory(tmp_path, os.urandom).private_key()
    (tmp_path / "coordinator.db").write_bytes(b"x" * 8192)
    monkeypatch.setenv("MESHWG_COORDINATOR_DATA_DIR", str(tmp_path))
    status, output = here.run(*command.split())
    assert status == 1
    assert str(tmp_path) in output.err


def test_a_missing_package_is_named_with_the_mend(
    tmp_path: Path, here: "Here", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coordinator.cli.node", None)
    named = "pip install 'meshwg[coordinator]'"
    here.fails(tmp_path, "node", "list", status=1, named=named)


def test_help_names_every_command(here: "Here") -> None:
    status, output = here.run("--help")
    assert status == 0
    for name in ("serve", "token", "node"):
        assert name in output.out


class Here:
    """Runs commands that end by themselves in this process: it is much faster."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def run(self, *arguments: str) -> tuple[object, CaptureResult[str]]:
        try:
            main(arguments)
            status: object = 0
        except SystemExit as end:
            status = end.code
        return status, self._capture.readouterr()

    def fails(self, data_dir: Path, *arguments: str, status: int, named: str) -> None:
        """Run a command that ends with one sentence."""
        where = () if arguments == ("frobnicate",) else ("--data-dir", str(data_dir))
        got, output = self.run(*arguments, *where)
        assert got == status
        assert named in output.err
        assert output.out == ""
        last = output.err.splitlines()[-1]
        assert last.startswith(("meshwg-coordinator: ", "Error: "))


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


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
