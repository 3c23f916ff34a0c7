"""The server as a program: how it starts, and how it ends."""

import os
import pty
import shutil
import socket
import sqlite3
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from tests.coordinator.live import LiveNode
from tests.coordinator.programs import (
    Here,
    Program,
    loopback,
    make_certificate,
    program,
)


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


def test_a_hangup_renews_certificate_and_settings(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    certificate, key = make_certificate(tmp_path / "old")
    settings = tmp_path / "coordinator.toml"
    settings.write_text('log_level = "warning"\n')
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    server = Program(tmp_path / "data")
    server.start(*options, "--config", str(settings))
    before = ssl.get_server_certificate((server.host, 8443))

    for old, new in zip(
        (certificate, key), make_certificate(tmp_path / "new"), strict=True
    ):
        shutil.copy(new, old)
    settings.write_text(
        'log_level = "info"\nnetwork4 = "10.0.0.0/24"\n'
        'trusted_proxies = ["10.1.0.5/32"]\n'
    )
    server.hang_up()
    until(lambda: ssl.get_server_certificate((server.host, 8443)) != before)
    renewed = ssl.get_server_certificate((server.host, 8443))

    # Nobody says that they have changed.
    (tmp_path / "newer").mkdir()
    for old, new in zip(
        (certificate, key), make_certificate(tmp_path / "newer"), strict=True
    ):
        shutil.copy(new, old)
    until(lambda: ssl.get_server_certificate((server.host, 8443)) != renewed)
    renewed = ssl.get_server_certificate((server.host, 8443))

    # A key that belongs to another certificate, and settings that are none.
    key.write_text("nonsense")
    server.hang_up()
    settings.write_text("nonsense")
    server.hang_up()
    assert ssl.get_server_certificate((server.host, 8443)) == renewed

    status, log = server.stop()
    assert status == 0
    assert "After a restart only, these take effect: network4\n" in log
    assert "has changed, and is used" in log
    assert "The settings stay as they are" in log
    assert "Traceback" not in log


def test_strangers_cannot_fill_the_log(tmp_path: Path) -> None:
    server = Program(tmp_path / "data")
    server.start()
    wish = (
        "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: anything\r\n"
    )
    for path in ("/v1/control", "/v1/relay"):
        with socket.create_connection((server.host, 8443)) as stranger:
            stranger.sendall(f"GET {path} HTTP/1.1\r\n{wish}\r\n".encode())
            assert stranger.recv(12) == b"HTTP/1.1 101"

    status, log = server.stop()
    assert status == 0
    assert "protocol" not in log


def test_a_closed_terminal_ends_the_server_in_good_order(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    server = Program(tmp_path / "data")
    server.start_at_terminal(end)
    os.close(end)

    os.close(terminal)

    assert server.wait()[0] == 0


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


def test_a_bad_network_leaves_no_mesh_behind(tmp_path: Path, here: Here) -> None:
    options = ("--network4", "10.0.0.0/31")
    here.fails(tmp_path, "serve", *options, status=2, named="too small")
    with program(tmp_path) as again:
        assert again.ready_line
