"""The Unix socket of the administration."""

import os
import socket
import stat
from pathlib import Path

import pytest

from coordinator.runtime.adminsocket import listen_at
from meshwg.errors import MeshError


def test_only_its_owner_may_use_it(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    before = os.umask(0)
    try:
        with listen_at(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_one_that_a_program_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listen_at(path).close()
    with listen_at(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_one_that_is_used_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with listen_at(path):
        with pytest.raises(MeshError, match="Another program listens"):
            listen_at(path)
        assert path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(MeshError, match="is no socket"):
        listen_at(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["no/such/folder", "x" * 200])
def test_where_none_can_be_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(MeshError, match="choose another --admin-socket"):
        listen_at(tmp_path / name)
