"""``meshwg leave``: the membership is given up, and everything of it forgotten."""

from pathlib import Path

import pytest

from meshwg.cli.group import run
from meshwg.runtime.state import StateDirectory, StoredMembership
from tests.cli.daemon import FakeDaemon, serving


def test_a_daemon_that_is_connected_tells_the_mesh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(FakeDaemon(), tmp_path / "sock"):
        assert leave(tmp_path) == 0

    assert capsys.readouterr().out == "This node has left its mesh.\n"


def test_who_has_to_be_told_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.is_connected = False
    with serving(daemon, tmp_path / "sock"):
        assert leave(tmp_path) == 0

    assert "'meshwg-coordinator node remove'" in capsys.readouterr().out


def test_without_a_daemon_all_is_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateDirectory(tmp_path)
    state.private_key(lambda count: bytes([7]) * count)
    state.save_membership(StoredMembership("http://x", bytes([9]) * 32))
    state.save_netmap(b"{}")
    state.close()

    assert leave(tmp_path) == 0

    assert [each.name for each in tmp_path.iterdir()] == ["lock"]
    assert "could not be told" in capsys.readouterr().out


def test_a_node_without_a_mesh_has_none_to_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(tmp_path) == 4
    assert "This node belongs to no mesh" in capsys.readouterr().err
    assert leave(tmp_path / "nowhere") == 4


def leave(directory: Path) -> object:
    where = ("--state-dir", str(directory), "--control-socket", str(directory / "sock"))
    with pytest.raises(SystemExit) as ended:
        run(["leave", *where])
    return ended.value.code
