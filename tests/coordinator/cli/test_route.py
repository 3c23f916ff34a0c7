"""``meshwg-coordinator route``, without a running server."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import Administered, CreateAuthKey, Join, Refuse
from meshwg.wire.routes import RouteTraits
from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here

SITE = "10.1.0.0/16"


@pytest.fixture
def mesh(tmp_path: Path) -> StoppedMesh:
    made = StoppedMesh(tmp_path)
    offer(made, "router", SITE)
    return made


def offer(mesh: StoppedMesh, name: str, *routes: str) -> None:
    """Let a node in that offers networks, and to be an exit and a hub."""
    text, key = new_auth_key(
        os.urandom, reusable=False, ephemeral=False, created=time.time(), lifetime=60.0
    )
    joining = Join(
        name,
        "session",
        "home",
        name,
        str(text),
        "hub",
        routes,
        traits=tuple(
            RouteTraits(prefix=each, mapped="192.168.0.0/16") for each in routes
        ),
        exit=True,
    )
    mesh.perform(CreateAuthKey(key), joining)


def run(here: Here, tmp_path: Path, *arguments: str) -> str:
    status, output = here.run(*arguments, "--data-dir", str(tmp_path))
    assert (status, output.err) == (0, "")
    return output.out


def states(here: Here, tmp_path: Path) -> dict[str, str]:
    found: dict[str, Any] = json.loads(run(here, tmp_path, "route", "list", "--json"))
    assert found["schema"] == 1
    return {each["prefix"]: each["state"] for each in found["routes"]}


def test_networks_and_exits_are_approved_and_refused(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    assert states(here, tmp_path) == {SITE: "advertised", "exit": "advertised"}

    said = run(here, tmp_path, "route", "approve", "router", SITE)
    assert said == f"{SITE} of router is approved, and others are told of it.\n"
    run(here, tmp_path, "route", "approve", "router", "exit")
    assert states(here, tmp_path) == {SITE: "approved", "exit": "approved"}

    said = run(here, tmp_path, "route", "refuse", "router", SITE)
    assert said == f"{SITE} of router is refused: nobody is told of it.\n"
    said = run(here, tmp_path, "route", "refuse", "router", "exit")
    assert said == "being an exit of router is refused: nobody is told of it.\n"
    assert states(here, tmp_path) == {SITE: "refused", "exit": "refused"}


def test_what_is_not_offered_is_approved_for_later(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    said = run(here, tmp_path, "route", "approve", "router", "10.2.0.0/16")

    assert "does not offer it now" in said
    assert states(here, tmp_path)["10.2.0.0/16"] == "withdrawn"
    shown = run(here, tmp_path, "route", "approve", "router", "10.3.0.0/16", "--json")
    assert json.loads(shown)["route"]["state"] == "withdrawn"


@pytest.mark.parametrize(
    ("node", "item", "status", "named"),
    [
        ("nobody", SITE, 1, "There is no node nobody"),
        ("router", "10.1.0.1/16", 2, "is no network"),
        ("router", "2001:db8::%1/64", 2, "is no network"),
        ("router", "hub", 2, "node approve NAME --hub"),
        ("router", "0.0.0.0/0", 1, "Nobody can have 0.0.0.0/0"),
        ("router", "fd00::/8", 1, "Nobody can have fd00::/8"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    node: str,
    item: str,
    status: int,
    named: str,
) -> None:
    arguments = ("route", "approve", node, item)
    here.fails(tmp_path, *arguments, status=status, named=named)


@pytest.mark.parametrize("size", [60, 80, 120, 200])
def test_the_list_fits_the_terminal_and_says_why_something_waits(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(size))
    offer(mesh, "gateway", "2001:db8:1234:5678::/64")
    run(here, tmp_path, "route", "approve", "gateway", "exit")
    mesh.perform(Administered(Refuse("gateway", "2001:db8:1234:5678::/64"), "mesh"))

    lines = run(here, tmp_path, "route", "list").splitlines()

    assert max(map(len, lines)) <= size
    assert lines[0].startswith("NODE")
    assert lines[1].startswith("gateway")
    text = " ".join(" ".join(lines).split())
    assert "route approve NODE NETWORK" in text
    assert "gateway 2001:db8:1234:5678::/64 mesh has refused it" in text
    assert ("REALLY" in lines[0]) is (size >= 120)


def test_without_offers_the_list_says_so(here: Here, tmp_path: Path) -> None:
    StoppedMesh(tmp_path).join("a")

    said = run(here, tmp_path, "route", "list")

    assert said == "No node offers a network, or itself as an exit.\n"


def test_a_hub_is_approved_as_a_node_and_shown_in_the_list_of_nodes(
    mesh: StoppedMesh, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    listed = run(here, tmp_path, "node", "list")
    assert "router wants to be a hub: " in listed
    assert "'meshwg-coordinator node approve router --hub' lets it." in listed
    assert f"router offers {SITE}: " in listed
    assert "'meshwg-coordinator route approve router exit' lets it." in listed

    said = run(here, tmp_path, "node", "approve", "router", "--hub")
    assert said == "router may be a hub.\n"
    assert "wants to be a hub" not in run(here, tmp_path, "node", "list")
    shown = run(here, tmp_path, "node", "refuse", "router", "--hub", "--json")
    assert json.loads(shown)["node"]["role"] == "node"
    here.fails(tmp_path, "node", "approve", "router", status=2, named="--hub")


def test_decisions_are_in_the_audit_log(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    run(here, tmp_path, "route", "approve", "router", SITE)

    lines = run(here, tmp_path, "audit", "--json").splitlines()

    row = json.loads(lines[-1])
    assert (row["action"], row["target"]) == ("approve", f"router {SITE}")
    assert row["before"] is None
    assert row["after"]["approved"] is True
