"""What the commands that administer a mesh share."""

import json
import os
from pathlib import Path

import pytest

from coordinator.cli.common import echo_fitted, echo_json, open_mesh, time_text
from coordinator.mesh.operations import AddUser, Administered, Refused, Remove
from coordinator.runtime.files import DataDirectory
from coordinator.store.store import MeshConfig, Store
from meshwg.errors import ConfigError, MeshError
from meshwg.keys import format_key
from meshwg.wire.control import ErrorCode

Capture = pytest.CaptureFixture[str]


def test_columns_are_as_wide_as_their_longest_cell(capsys: Capture) -> None:
    table = ("A", "LONG HEAD"), [("a long cell", "x"), ("y", "z")]
    echo_fitted([table], "none")
    assert capsys.readouterr().out == (
        "A            LONG HEAD\na long cell  x\ny            z\n"
    )


def test_an_empty_table_is_a_sentence_instead(capsys: Capture) -> None:
    echo_fitted([(("A", "B"), [])], "There is nothing yet.")
    assert capsys.readouterr().out == "There is nothing yet.\n"


def test_json_is_one_line_with_the_schema(capsys: Capture) -> None:
    echo_json({"name": "é\n"})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"schema": 1, "name": "é\n"}


def test_a_missing_time_is_a_dash() -> None:
    assert time_text(None) == "-"
    assert len(time_text(0.0)) == len("1970-01-01 00:00")


async def test_without_a_coordinator_there_is_no_mesh_and_none_is_made(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    with pytest.raises(MeshError, match="There is no coordinator in"):
        async with open_mesh(None, data_dir, None):
            pass
    assert not data_dir.exists()


async def test_an_unreadable_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        async with open_mesh(tmp_path / "nowhere.toml", None, None):
            pass


async def test_the_mesh_of_another_coordinator_is_not_administered(
    tmp_path: Path,
) -> None:
    database = f"sqlite:///{tmp_path}/shared.db"
    for name in ("one", "two"):
        directory = DataDirectory(tmp_path / name, os.urandom)
        directory.create()
        directory.private_key()
    await make_mesh(tmp_path / "one", database)
    async with open_mesh(None, tmp_path / "one", database):
        pass
    with pytest.raises(ConfigError, match="coordinator with another key"):
        async with open_mesh(None, tmp_path / "two", database):
            pass


async def test_the_mesh_on_the_database_is_looked_at_and_changed(
    tmp_path: Path,
) -> None:
    directory = DataDirectory(tmp_path, os.urandom)
    await make_mesh(tmp_path, directory.default_database)
    async with open_mesh(None, tmp_path, None) as mesh:
        result = await mesh.perform(Administered(Remove("nobody"), "me"))
        assert isinstance(result, Refused)
        assert result.code is ErrorCode.UNKNOWN_PEER
        await mesh.perform(Administered(AddUser("alice"), "me"))
        assert [each.name for each in await mesh.users()] == ["alice"]
        assert [each.actor for each in await mesh.audit(limit=1)] == ["me"]
        for empty in (mesh.auth_keys, mesh.api_tokens, mesh.policies, mesh.flows):
            assert not await empty()
        assert (await mesh.urls(), len(await mesh.registry())) == ([], 0)


async def make_mesh(data_dir: Path, database: str) -> None:
    """Make the mesh of a coordinator, as its first start does."""
    key = DataDirectory(data_dir, os.urandom).private_key()
    config = MeshConfig(format_key(key.public_bytes))
    store = await Store.open(database, config, random=os.urandom)
    await store.close()
