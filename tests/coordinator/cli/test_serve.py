"""The server as a program: how it starts, and how it ends."""

import sqlite3
from pathlib import Path

from tests.coordinator.live import LiveNode
from tests.coordinator.programs import Here, Program, loopback, program


def test_a_second_server_on_the_same_data_is_refused(
    common: Program, here: Here
) -> None:
    here.fails(common.data_dir, "serve", status=1, named="Another coordinator uses")


def test_a_taken_port_ends_with_a_sentence(
    common: Program, here: Here, tmp_path: Path
) -> None:
    options = ["--listen", f"{common.host}:8443", "--stun", f"{loopback()}:3478"]
    named = "8443 cannot be listened on"
    here.fails(tmp_path, "serve", *options, status=1, named=named)


def test_a_taken_stun_port_ends_with_a_sentence(
    common: Program, here: Here, tmp_path: Path
) -> None:
    options = ["--listen", f"{loopback()}:0", "--stun", f"{common.host}:3478"]
    here.fails(tmp_path, "serve", *options, status=1, named="3478")


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


def test_a_bad_network_leaves_no_mesh_behind(tmp_path: Path, here: Here) -> None:
    options = ("--network4", "10.0.0.0/31")
    here.fails(tmp_path, "serve", *options, status=2, named="too small")
    with program(tmp_path) as again:
        assert again.ready_line
