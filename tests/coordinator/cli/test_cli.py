"""The program: what users type, what it prints, how it ends."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coordinator.runtime.files import DataDirectory
from meshwg.control.events import MembershipRevoked, SelfChanged
from meshwg.wire.token import JoinToken
from tests.coordinator.live import LiveNode
from tests.coordinator.programs import Here, Program


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


@pytest.mark.parametrize("command", ["serve", "token create", "node list"])
def test_a_damaged_database_ends_with_a_sentence(
    tmp_path: Path, here: Here, command: str
) -> None:
    DataDirectory(tmp_path, os.urandom).private_key()
    (tmp_path / "coordinator.db").write_bytes(b"x" * 8192)
    named = "is damaged; restore it"
    here.fails(tmp_path, *command.split(), status=1, named=named)


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["serve", "--listen", "nonsense"], 2, "--listen nonsense"),
        (["serve", "--network4", "10.0.0.0/31"], 2, "too small"),
        (["serve", "--database", "mysql://x/y"], 2, "database URL"),
        (["serve", "--turn-secret-file", "/nowhere"], 1, "/nowhere"),
        (["token", "create"], 1, "There is no coordinator in"),
        (["token", "create", "--expires", "soon"], 2, "is not a lifetime"),
        (["token", "revoke", "mwg1-cut"], 2, "damaged or incomplete"),
        (["node", "remove"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_wrong_usage_ends_with_a_sentence(
    tmp_path: Path, here: Here, arguments: list[str], status: int, named: str
) -> None:
    here.fails(tmp_path, *arguments, status=status, named=named)


@pytest.mark.parametrize("command", ["serve", "token list", "node list"])
def test_options_may_come_from_the_environment(
    tmp_path: Path, here: Here, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataDirectory(tmp_path, os.urandom).private_key()
    (tmp_path / "coordinator.db").write_bytes(b"x" * 8192)
    monkeypatch.setenv("MESHWG_COORDINATOR_DATA_DIR", str(tmp_path))
    status, output = here.run(*command.split())
    assert status == 1
    assert str(tmp_path) in output.err


def test_a_missing_package_is_named_with_the_remedy(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coordinator.cli.node", None)
    named = "pip install 'meshwg[coordinator]'"
    here.fails(tmp_path, "node", "list", status=1, named=named)


def test_help_names_every_command(here: Here) -> None:
    status, output = here.run("--help")
    assert status == 0
    for name in ("serve", "token", "node"):
        assert name in output.out
