"""``meshwg-coordinator dns``, without a running server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here


@pytest.fixture
def mesh(tmp_path: Path) -> StoppedMesh:
    made = StoppedMesh(tmp_path)
    made.join("db")
    return made


def run(here: Here, tmp_path: Path, *arguments: str) -> str:
    status, output = here.run("dns", *arguments, "--data-dir", str(tmp_path))
    assert (status, output.err) == (0, "")
    return output.out


def listed(here: Here, tmp_path: Path) -> list[tuple[str, str, str]]:
    found: dict[str, Any] = json.loads(run(here, tmp_path, "list", "--json"))
    assert (found["schema"], found["domain"]) == (1, "mesh.internal")
    return [(each["name"], each["type"], each["value"]) for each in found["records"]]


def test_records_come_and_go(mesh: StoppedMesh, here: Here, tmp_path: Path) -> None:
    said = run(here, tmp_path, "add", "API.mesh.internal", "a", "10.0.0.5")
    assert said == "api.mesh.internal is A 10.0.0.5.\n"
    run(here, tmp_path, "add", "api", "A", "10.0.0.6")
    run(here, tmp_path, "add", "_pg._tcp", "SRV", "10", "5", "5432", "db")
    run(here, tmp_path, "add", "www", "CNAME", "db.mesh.internal.")
    assert listed(here, tmp_path) == [
        ("api", "A", "10.0.0.5"),
        ("api", "A", "10.0.0.6"),
        ("_pg._tcp", "SRV", "10 5 5432 db"),
        ("www", "CNAME", "db"),
    ]

    said = run(here, tmp_path, "remove", "api", "A", "10.0.0.5")
    assert said == "api.mesh.internal is A no longer.\n"
    run(here, tmp_path, "remove", "_pg._tcp.mesh.internal")
    run(here, tmp_path, "remove", "www", "cname")
    assert listed(here, tmp_path) == [("api", "A", "10.0.0.6")]
    assert "api.mesh.internal  A     10.0.0.6" in run(here, tmp_path, "list")


def test_without_records_there_are_names_of_nodes(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    said = run(here, tmp_path, "list")

    assert said == "There are no records, only the names of nodes in mesh.internal.\n"


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("add", "api", "A", "nonsense"), 2, "There is no such record"),
        (("add", "a b", "A", "10.0.0.5"), 2, "a name has labels"),
        (("add", "x", "CNAME", "www.example.org!"), 2, "a name has labels"),
        (("add", "api", "MX", "10 db"), 2, "'MX' is not one of"),
        (("add", "api", "A"), 2, "Missing argument"),
        (("add", "db", "A", "10.0.0.5"), 1, "belongs to a node"),
        (("remove", "api"), 1, "no such record at api"),
        (("remove", "a b"), 2, "a name has labels"),
    ],
)
def test_what_cannot_be_is_explained(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    named: str,
) -> None:
    here.fails(tmp_path, "dns", *arguments, status=status, named=named)

    assert listed(here, tmp_path) == []
