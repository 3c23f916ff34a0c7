"""``meshwg-coordinator node``, without a running server."""

import json
import os
import time
from pathlib import Path

import pytest

from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import CreateAuthKey, Join
from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here

UNKNOWN = "There is no node nobody; 'meshwg-coordinator node list' shows all"


@pytest.fixture
def mesh(tmp_path: Path) -> StoppedMesh:
    made = StoppedMesh(tmp_path)
    made.join("web", "mail")
    return made


def test_nodes_are_listed_by_name(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    _, output = here.run("node", "list", "--data-dir", str(tmp_path))
    head, *rows = output.out.splitlines()
    assert head.startswith("NAME  STATE   ADDRESSES")
    assert [row.split()[:2] for row in rows] == [["mail", "online"], ["web", "online"]]


@pytest.mark.parametrize("size", [60, 80, 120, 200])
def test_the_list_fits_the_terminal(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(size))
    mesh.join("a-machine-in-the-laboratory-of-the-institute-number-12")

    _, output = here.run("node", "list", "--data-dir", str(tmp_path))

    lines = output.out.splitlines()
    assert max(map(len, lines)) <= size
    assert lines[1].startswith("a-machine-")
    assert "100." in lines[1]
    assert ("PUBLIC KEY" in lines[0]) == (size == 200)


def test_a_node_is_renamed_by_its_name_or_its_key(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("node", "rename", "web", "My Shop", *where)
    assert output.out == "my-shop is the new name.\n"
    _, output = here.run("node", "rename", "web", "web", *where)
    assert output.out == "web is the new name.\n"


def test_a_taken_name_is_refused(mesh: StoppedMesh, here: Here, tmp_path: Path) -> None:
    named = "The name mail belongs to another node; choose another one"
    here.fails(tmp_path, "node", "rename", "web", "mail", status=1, named=named)
    assert names(here, tmp_path) == ["mail", "web"]


def test_a_node_that_is_expired_stays_in_the_list(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("node", "expire", "web", *where)
    assert output.out == "web has to join again with a new token.\n"
    _, output = here.run("node", "list", *where)
    assert output.out.splitlines()[-1].split()[:2] == ["web", "expired"]


def test_a_node_that_is_removed_is_shown_one_last_time(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    where = ("--json", "--data-dir", str(tmp_path))
    _, output = here.run("node", "remove", "web", *where)
    assert json.loads(output.out)["node"]["public_key"] == "web"
    assert names(here, tmp_path) == ["mail"]


def test_removing_a_node_names_the_token_that_let_it_in(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    text, key = new_auth_key(
        os.urandom, reusable=True, ephemeral=False, created=time.time(), lifetime=60.0
    )
    mesh.perform(CreateAuthKey(key))
    for name in ("a", "b", "c"):
        mesh.perform(Join(name, f"s {name}", "home", name, str(text)))
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("node", "remove", "a", *where)
    assert f"'meshwg-coordinator token revoke {key.number}'" in output.out
    _, output = here.run("node", "remove", "b", "--json", *where)
    removed = json.loads(output.out)
    assert removed["node"]["token"] == removed["token"]["id"] == key.number
    assert removed["token"]["state"] == "valid"
    _, output = here.run("node", "remove", "c", "--revoke-token", *where)
    assert output.out.splitlines()[-1] == f"Token {key.number} is revoked."
    # A token that lets nobody in is not worth a word.
    _, output = here.run("node", "remove", "web", *where)
    assert output.out == "web is removed.\n"
    assert "'meshwg trust accept web'" in output.err


@pytest.mark.parametrize(
    "arguments", [("rename", "nobody", "x"), ("expire", "nobody"), ("remove", "nobody")]
)
def test_a_missing_node_is_named(
    mesh: StoppedMesh, here: Here, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    here.fails(tmp_path, "node", *arguments, status=1, named=UNKNOWN)


def names(here: Here, data_dir: Path) -> list[str]:
    _, output = here.run("node", "list", "--json", "--data-dir", str(data_dir))
    return [node["name"] for node in json.loads(output.out)["nodes"]]
