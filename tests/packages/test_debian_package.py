"""The life of the Debian package on a machine, from its installation to its purge."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.packages.debian import ROOT, DebianMachine

pytestmark = pytest.mark.packages

NODE, COORDINATOR = "meshwg.service", "meshwg-coordinator.service"
CLEANUP = "meshwg-cleanup.service"
REMOVED = "6"


@pytest.fixture(scope="module")
def package() -> Path:
    built = sorted((ROOT / "dist").glob("meshwg_*.deb"))
    if not built:
        pytest.fail("There is no package in dist/: run 'make packages'")
    return built[-1]


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, package: Path
) -> Iterator[DebianMachine]:
    made = DebianMachine(tmp_path_factory.mktemp("debian"))
    made.boot()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def untouched(machine: DebianMachine) -> set[str]:
    """Have it without the package; return what files that leaves."""
    purge(machine)
    return machine.files()


def test_lintian_has_nothing_to_say(package: Path) -> None:
    checked = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_nothing_in_it_names_the_place_where_it_was_built(package: Path) -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True
    )
    assert str(ROOT).encode() not in listed.stdout
    assert b"/tmp/" + b"tmp." not in listed.stdout


def test_it_is_installed_and_starts_nothing(
    machine: DebianMachine, untouched: set[str], package: Path
) -> None:
    install(machine, package)
    for unit in (NODE, COORDINATOR):
        assert machine.show(unit, "ActiveState") == "inactive"
        assert machine.show(unit, "UnitFileState") == "disabled"
    assert machine.show(CLEANUP, "UnitFileState") == "enabled"
    for program in ("meshwg", "meshwg-coordinator"):
        assert machine.run(f"/usr/bin/{program} --version").returncode == 0
    assert "meshwg" in machine.run("getent group meshwg").stdout


@pytest.mark.parametrize("unit", [NODE, COORDINATOR, CLEANUP])
def test_the_units_expose_little(machine: DebianMachine, unit: str) -> None:
    rated = machine.run(f"systemd-analyze security --no-pager {unit}").stdout
    found = re.search(r"exposure level for .*: ([\d.]+)", rated)
    assert found is not None
    assert float(found[1]) < 3.0


def test_a_mesh_begins_with_three_commands(machine: DebianMachine) -> None:
    (machine.tree / "etc/meshwg/coordinator.toml").write_text(
        'listen = "0.0.0.0:443"\nadvertise = "192.0.2.1"\n'
    )
    do(machine, f"systemctl enable --now {COORDINATOR}")
    machine.wait_until(lambda: "ready:" in machine.log(COORDINATOR), "it is ready")
    token = do(machine, "meshwg-coordinator token create --reusable")
    assert machine.run("meshwg join -", text=token).returncode == 0
    do(machine, f"systemctl enable --now {NODE}")
    wait_until_connected(machine)


def test_it_is_there_after_a_reboot(machine: DebianMachine) -> None:
    before = itself(machine)["addresses"]
    machine.reboot()
    wait_until_connected(machine)
    assert itself(machine)["addresses"] == before


def test_down_stays_down_over_a_reboot(machine: DebianMachine) -> None:
    do(machine, "meshwg down")
    assert machine.run("ip link show meshwg0").returncode != 0
    machine.reboot()
    machine.wait_until(lambda: itself(machine).get("state") == "down", "it is down")
    assert machine.run("ip link show meshwg0").returncode != 0
    do(machine, "meshwg up")
    wait_until_connected(machine)


def test_an_upgrade_starts_the_new_version(
    machine: DebianMachine, package: Path, tmp_path: Path
) -> None:
    before = {unit: machine.show(unit, "MainPID") for unit in (NODE, COORDINATOR)}
    install(machine, later_version(package, tmp_path))
    for unit, process in before.items():
        others = partial(runs_as_another, machine, unit, process)
        machine.wait_until(others, f"{unit} has been started again")
    wait_until_connected(machine)


def test_a_removed_node_rests(machine: DebianMachine) -> None:
    name = itself(machine)["name"]
    do(machine, f"meshwg-coordinator node remove {name}")
    machine.wait_until(
        lambda: machine.show(NODE, "ActiveState") == "failed", "it has ended"
    )
    assert machine.show(NODE, "ExecMainStatus") == REMOVED
    machine.reboot()
    machine.wait_until(
        lambda: machine.show(NODE, "ActiveState") == "failed", "it has ended again"
    )
    assert machine.show(NODE, "NRestarts") == "0"


def test_a_removal_leaves_the_settings_and_the_state(machine: DebianMachine) -> None:
    do(machine, "dpkg --remove meshwg")
    assert not (machine.tree / "opt/meshwg").exists()
    assert (machine.tree / "etc/meshwg/coordinator.toml").exists()
    assert (machine.tree / "var/lib/private/meshwg-coordinator").is_dir()
    assert machine.run("ip link show meshwg0").returncode != 0


def test_a_purge_leaves_nothing(machine: DebianMachine, untouched: set[str]) -> None:
    purge(machine)
    assert machine.files() - untouched == set()


def do(machine: DebianMachine, command: str) -> str:
    """Run a command that is to succeed, and return what it prints."""
    done = machine.run(command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(machine: DebianMachine, package: Path) -> None:
    do(machine, f"dpkg --install {machine.take(package)}")


def purge(machine: DebianMachine) -> None:
    do(machine, "dpkg --purge meshwg")


def later_version(package: Path, directory: Path) -> Path:
    """Return the same package under a later version."""
    tree, made = directory / "unpacked", directory / "meshwg_later.deb"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+later", control.read_text()))
    subprocess.run(["dpkg-deb", "-b", str(tree), str(made)], check=True)
    shutil.rmtree(tree)
    return made


def runs_as_another(machine: DebianMachine, unit: str, process: str) -> bool:
    return machine.show(unit, "MainPID") not in ("0", process)


def itself(machine: DebianMachine) -> dict[str, Any]:
    shown = machine.run("meshwg status --json").stdout
    found: dict[str, Any] = json.loads(shown) if shown.startswith("{") else {}
    return found.get("self") or {}


def wait_until_connected(machine: DebianMachine) -> None:
    machine.wait_until(
        lambda: itself(machine).get("coordinator", {}).get("state") == "connected",
        "the node is connected",
    )
