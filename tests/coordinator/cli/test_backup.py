"""What survives the loss of a coordinator's machine: backups, and copied files."""

import asyncio
import gzip
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from meshwg.control.client import ControlState
from meshwg.control.events import MembershipRevoked
from meshwg.wire.control import load_cache
from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.live import LiveNode
from tests.coordinator.programs import Here, Program, program


async def test_a_restored_mesh_takes_its_nodes_back(
    server: Program, tmp_path: Path
) -> None:
    alice = await LiveNode(await make_token(server), "alice").joined()
    file, elsewhere = tmp_path / "mesh.backup", Program(tmp_path / "elsewhere")

    made = await asyncio.to_thread(server.run, "backup", str(file))
    cache = await kept(alice)
    await asyncio.to_thread(server.stop)
    shutil.rmtree(server.data_dir)
    restored = await asyncio.to_thread(elsewhere.run, "restore", str(file))

    assert (made.returncode, restored.returncode) == (0, 0), restored.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "1 node" in restored.stdout
    server.data_dir = elsewhere.data_dir
    await asyncio.to_thread(server.start)
    back = LiveNode(
        await make_token(server),
        "alice",
        private_key=alice.private_key,
        cache=load_cache(cache),
        authenticate=False,
    )
    assert (await back.joined()).client.registered is not None
    await back.vanish()


async def test_a_node_that_joined_after_the_backup_keeps_its_peers(
    server: Program, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.backup"
    token = await make_token(server)
    await asyncio.to_thread(server.run, "backup", str(file))
    alice = await LiveNode(token, "alice").joined()
    bob = await LiveNode(token, "bob").joined()
    await alice.until(lambda: len(alice.client.peers.peers) == 1)

    cache = await kept(alice)
    for node in (alice, bob):
        await node.vanish()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.run, "restore", "--replace", str(file))
    await asyncio.to_thread(server.start)
    back = LiveNode(
        token,
        private_key=alice.private_key,
        cache=load_cache(cache),
        authenticate=False,
    )
    await back.until(lambda: "no longer knows" in (back.client.error or ""))

    assert back.client.state is not ControlState.ENDED
    assert [peer.name for peer in back.client.peers.peers] == ["bob"]
    assert not any(isinstance(each, MembershipRevoked) for each in back.events)
    await back.vanish()


async def test_a_node_that_was_removed_while_away_is_told_after_a_restart(
    server: Program,
) -> None:
    alice = await LiveNode(await make_token(server), "alice").joined()
    cache = await kept(alice)
    await alice.vanish()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.run, "node", "remove", alice.key)
    await asyncio.to_thread(server.start)

    back = LiveNode(
        await make_token(server),
        private_key=alice.private_key,
        cache=load_cache(cache),
        authenticate=False,
    )

    await back.event(MembershipRevoked)
    await back.vanish()


def test_a_database_copied_without_its_log_is_refused(
    server: Program, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    server.run("token", "create")
    for name in ("coordinator.db", "coordinator.key"):
        shutil.copy(server.data_dir / name, copied / name)
    before = (copied / "coordinator.db").read_bytes()
    server.stop()

    for command in (("serve",), ("token", "create"), ("backup", "/dev/null")):
        ended = Program(copied).run(*command)
        assert ended.returncode == 2, (command, ended)
        assert "holds no mesh, but" in the_sentence(ended.stderr)
        assert "restore" in ended.stderr

    assert (copied / "coordinator.db").read_bytes() == before


@pytest.mark.parametrize("command", [("serve",), ("token", "list"), ("node", "list")])
def test_a_key_alone_begins_no_new_mesh(
    tmp_path: Path, here: Here, command: tuple[str, ...]
) -> None:
    mesh = StoppedMesh(tmp_path)
    mesh.start_once()
    (tmp_path / "coordinator.db").unlink()

    here.fails(tmp_path, *command, status=2, named="holds no mesh, but")

    assert not (tmp_path / "coordinator.db").exists()


def test_a_start_that_was_cut_short_is_begun_again(tmp_path: Path, here: Here) -> None:
    # The key is written, and the network then turns out to be none.
    here.fails(tmp_path, "serve", "--network4", "10.0.0.0/31", status=2, named="small")
    with program(tmp_path) as again:
        assert again.ready_line


def test_a_mesh_is_not_overwritten_unless_asked_for(tmp_path: Path, here: Here) -> None:
    mesh = StoppedMesh(tmp_path / "data")
    mesh.start_once()
    mesh.join("alice")
    file = str(tmp_path / "mesh.backup")
    where = ("--data-dir", str(tmp_path / "data"))
    assert here.run("backup", file, *where)[0] == 0
    mesh.join("bob")

    here.fails(
        tmp_path / "data", "restore", file, status=1, named="already holds a mesh"
    )
    assert here.run("restore", "--replace", file, *where)[0] == 0

    _, output = here.run("node", "list", "--json", *where)
    assert [each["name"] for each in json.loads(output.out)["nodes"]] == ["alice"]


def test_restoring_under_a_running_coordinator_is_refused(
    common: Program, tmp_path: Path
) -> None:
    file = str(tmp_path / "mesh.backup")
    assert common.run("backup", file).returncode == 0
    ended = common.run("restore", "--replace", file)
    assert ended.returncode == 1
    assert "Another coordinator uses" in the_sentence(ended.stderr)


@pytest.mark.postgres
def test_a_backup_goes_from_one_kind_of_database_to_the_other(
    tmp_path: Path, here: Here, postgres_url: str
) -> None:
    mesh = StoppedMesh(tmp_path / "data")
    mesh.start_once()
    mesh.join("alice", "bob")
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    there = ("--data-dir", str(tmp_path / "there"), "--database", postgres_url)
    back = ("--data-dir", str(tmp_path / "back"))

    assert here.run("backup", first, "--data-dir", str(tmp_path / "data"))[0] == 0
    assert here.run("restore", first, *there)[0] == 0
    assert here.run("backup", second, *there)[0] == 0
    assert here.run("restore", second, *back)[0] == 0

    original, last = (content(Path(each)) for each in (first, second))
    assert last["tables"]["nodes"] == original["tables"]["nodes"]
    assert last["files"] == original["files"]
    key = (tmp_path / "data" / "coordinator.key").read_text()
    assert (tmp_path / "back" / "coordinator.key").read_text() == key
    epochs = {each["tables"]["mesh"]["rows"][0][1] for each in (original, last)}
    assert len(epochs) == 2, "versions of the lost database must mean nothing"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "is no backup"),
        (b"not gzip", "is no backup"),
        (gzip.compress(b"{}"), "is no backup"),
        (gzip.compress(b'{"format": "meshwg-coordinator-backup"}'), "is no backup"),
        (gzip.compress(b"[" * 100_000), "is no backup"),
        (gzip.compress(os.urandom(99)), "is no backup"),
    ],
    # What gzip writes names the second, in which two collecting processes may differ.
    ids=["empty", "not gzip", "an object", "a head", "nesting", "noise"],
)
def test_what_is_no_backup_is_refused_and_leaves_nothing(
    tmp_path: Path, here: Here, data: bytes, named: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    here.fails(tmp_path / "data", "restore", str(file), status=1, named=named)
    assert not (tmp_path / "data").exists()


def test_a_cut_or_altered_backup_is_refused(tmp_path: Path, here: Here) -> None:
    mesh = StoppedMesh(tmp_path / "data")
    mesh.start_once()
    file = tmp_path / "mesh.backup"
    assert here.run("backup", str(file), "--data-dir", str(tmp_path / "data"))[0] == 0
    whole = file.read_bytes()
    record = content(file)
    record["tables"]["mesh"]["rows"][0].append("one too many")
    record["files"]["../outside"] = "x"
    for broken in (whole[:-9], gzip.compress(json.dumps(record).encode())):
        file.write_bytes(broken)
        here.fails(tmp_path / "new", "restore", str(file), status=1, named="no backup")
        assert not (tmp_path / "new").exists()


def test_a_backup_of_a_newer_version_is_left_alone(tmp_path: Path, here: Here) -> None:
    mesh = StoppedMesh(tmp_path / "data")
    mesh.start_once()
    file = tmp_path / "mesh.backup"
    assert here.run("backup", str(file), "--data-dir", str(tmp_path / "data"))[0] == 0
    record = content(file) | {"revision": "99"}
    file.write_bytes(gzip.compress(json.dumps(record).encode()))
    here.fails(
        tmp_path / "new", "restore", str(file), status=1, named="a newer version"
    )
    assert not (tmp_path / "new" / "coordinator.key").exists()


def test_a_backup_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, here: Here
) -> None:
    StoppedMesh(tmp_path).start_once()
    here.fails(
        tmp_path, "backup", "/nowhere/mesh.backup", status=1, named="/nowhere/mesh"
    )


async def make_token(server: Program) -> str:
    created = await asyncio.to_thread(server.run, "token", "create", "--reusable")
    return created.stdout.strip()


async def kept(node: LiveNode) -> bytes:
    cache = node.client.cache()
    assert cache is not None
    return cache


def content(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return record


def the_sentence(text: str) -> str:
    (line,) = text.strip().splitlines()
    assert line.startswith("meshwg-coordinator: ")
    return line
