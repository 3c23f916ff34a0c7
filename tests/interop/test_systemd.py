"""The units of the project, under Debian's systemd: a machine's life in one test each.

The coordinator and the node are on one machine, which is booted for all tests.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.machines import Machine

pytestmark = pytest.mark.netns

NODE, COORDINATOR = "meshwg.service", "meshwg-coordinator.service"
REMOVED = 6


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.add_unit(NODE)
    # The sources under test may be where only root may look.
    reading = "CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH"
    made.add_unit(
        COORDINATOR,
        f"AmbientCapabilities={reading}",
        f"CapabilityBoundingSet={reading}",
    )
    made.file("/etc/meshwg/coordinator.toml").write_text(
        'listen = "0.0.0.0:443"\nadvertise = "192.0.2.1"\n'
    )
    made.file("/etc/meshwg/node.toml").write_text(
        'name = "of-the-file"\nno-birthday = true\nhub = true\nport_mapping = false\n'
    )
    made.boot()
    try:
        yield made
    finally:
        made.close()


def test_a_machine_becomes_a_member_and_stays_one(machine: Machine) -> None:
    start(machine, COORDINATOR)
    wait_for_ready(machine)
    assert "listening on 0.0.0.0:443" in machine.log(COORDINATOR)

    # Not joined yet: one try, one sentence.
    assert machine.run(f"systemctl start {NODE}").returncode != 0
    assert machine.show(NODE, "ExecMainStatus") == "4"
    assert machine.show(NODE, "NRestarts") == "0"

    joined = machine.run("meshwg join -", text=token(machine))
    assert joined.returncode == 0, joined.stderr
    start(machine, NODE)
    wait_until_connected(machine)
    assert status(machine)["self"]["name"] == "of-the-file"
    assert node(machine)["role"] == "hub"

    # A reboot without warning.
    for unit in (NODE, COORDINATOR):
        machine.run(f"systemctl enable {unit}")
    machine.cut_power()
    machine.boot()
    for unit in (COORDINATOR, NODE):
        start(machine, unit)
    wait_until_connected(machine)


def test_it_reloads_and_is_upgraded(machine: Machine) -> None:
    before = machine.show(NODE, "MainPID")
    machine.file("/etc/meshwg/node.toml").write_text('name = "of-the-file"\nx = 1\n')
    assert machine.run(f"systemctl reload {NODE}").returncode == 0
    machine.wait_until(
        lambda: "The settings stay as they are" in machine.log(NODE), "it has reloaded"
    )
    assert machine.show(NODE, "MainPID") == before
    assert machine.run(f"systemctl reload {COORDINATOR}").returncode == 0

    machine.file("/etc/meshwg/node.toml").write_text('name = "of-the-file"\n')
    machine.install("meshwg", "meshwg")
    assert machine.run(f"systemctl restart {NODE}").returncode == 0
    wait_until_connected(machine)
    assert machine.show(NODE, "MainPID") != before


def test_a_node_that_is_taken_down_stays_down(machine: Machine) -> None:
    assert machine.run("meshwg down").returncode == 0
    machine.wait_until(
        lambda: machine.show(NODE, "ActiveState") == "inactive", "its service has ended"
    )
    assert machine.show(NODE, "Result") == "success"
    assert machine.run("ip link show meshwg0").returncode != 0
    assert machine.run("meshwg up").returncode == 0
    wait_until_connected(machine)

    assert machine.run("meshwg down").returncode == 0
    machine.run(f"systemctl restart {NODE}")
    wait_until_down(machine)
    assert machine.run("ip link show meshwg0").returncode != 0

    assert machine.run("meshwg up").returncode == 0
    wait_until_connected(machine)


def test_a_reboot_in_good_order_brings_back_what_was_there(machine: Machine) -> None:
    for unit in (COORDINATOR, NODE):
        machine.run(f"systemctl add-wants meshwg-test.target {unit}")
    before = status(machine)["self"]

    machine.reboot()
    wait_until_connected(machine)
    after = status(machine)["self"]
    for name in ("name", "public_key", "addresses"):
        assert after[name] == before[name]
    for unit in (COORDINATOR, NODE):
        assert machine.show(unit, "NRestarts") == "0"

    assert machine.run("meshwg down").returncode == 0
    machine.reboot()
    wait_until_down(machine)
    assert machine.run("ip link show meshwg0").returncode != 0
    assert machine.show(COORDINATOR, "ActiveState") == "active"

    assert machine.run("meshwg up").returncode == 0
    wait_until_connected(machine)


def test_a_node_that_dies_is_started_again(machine: Machine) -> None:
    before = machine.show(NODE, "MainPID")
    machine.run(f"kill -KILL {before}")
    machine.wait_until(
        lambda: machine.show(NODE, "MainPID") not in ("0", before), "it is back"
    )
    wait_until_connected(machine)


def test_stopping_leaves_nothing_behind(machine: Machine) -> None:
    assert machine.run(f"systemctl stop {NODE}").returncode == 0
    assert machine.show(NODE, "Result") == "success"
    assert machine.run("ip link show meshwg0").returncode != 0
    assert "5100" not in machine.run("ip rule").stdout
    start(machine, NODE)
    wait_until_connected(machine)


def test_a_mesh_is_restored_for_the_service_s_own_user(machine: Machine) -> None:
    coordinator(machine, "backup /var/lib/mesh.backup")
    machine.run(f"systemctl stop {COORDINATOR}")
    machine.run("find /var/lib/meshwg-coordinator/ -name coordinator.db* -delete")

    # The key alone begins no new mesh, and is not tried again and again.
    machine.run(f"systemctl start {COORDINATOR}")
    machine.wait_until(
        lambda: machine.show(COORDINATOR, "ActiveState") == "failed", "it is refused"
    )
    assert "holds no mesh, but" in machine.log(COORDINATOR)

    coordinator(machine, "restore /var/lib/mesh.backup")
    start(machine, COORDINATOR)
    # It need not wait for its next attempt.
    machine.run(f"systemctl restart {NODE}")
    wait_until_connected(machine)
    assert node(machine)["name"] == "of-the-file"


def test_a_removed_node_ends_once_and_for_all(machine: Machine) -> None:
    restarts = machine.show(NODE, "NRestarts")

    assert coordinator(machine, "node remove of-the-file").returncode == 0

    machine.wait_until(
        lambda: machine.show(NODE, "ActiveState") == "failed", "it has ended"
    )
    assert machine.show(NODE, "ExecMainStatus") == str(REMOVED)
    assert machine.show(NODE, "NRestarts") == restarts
    assert "was removed from the mesh" in machine.log(NODE)

    # After a reboot, for instance.
    machine.run(f"systemctl start {NODE}")
    machine.wait_until(
        lambda: machine.show(NODE, "ActiveState") == "failed", "it has ended again"
    )
    assert machine.show(NODE, "ExecMainStatus") == str(REMOVED)
    assert "Join again with 'meshwg join'" in machine.log(NODE)

    assert machine.run("meshwg join -", text=token(machine)).returncode == 0
    start(machine, NODE)
    wait_until_connected(machine)


def start(machine: Machine, unit: str) -> None:
    started = machine.run(f"systemctl start {unit}")
    assert started.returncode == 0, machine.log(unit)


def wait_for_ready(machine: Machine) -> None:
    machine.wait_until(lambda: "ready:" in machine.log(COORDINATOR), "it is ready")


def wait_until_connected(machine: Machine) -> None:
    machine.wait_until(
        lambda: (
            (status(machine).get("self") or {}).get("coordinator", {}).get("state")
            == "connected"
        ),
        "the node is connected",
    )


def wait_until_down(machine: Machine) -> None:
    machine.wait_until(
        lambda: (status(machine).get("self") or {}).get("state") == "down", "it is down"
    )


def status(machine: Machine) -> dict[str, Any]:
    shown = machine.run("meshwg status --json").stdout
    found: dict[str, Any] = json.loads(shown) if shown.startswith("{") else {}
    return found


def node(machine: Machine) -> dict[str, Any]:
    (listed,) = json.loads(coordinator(machine, "node list --json").stdout)["nodes"]
    found: dict[str, Any] = listed
    return found


def token(machine: Machine) -> str:
    return coordinator(machine, "token create --hub").stdout


def coordinator(machine: Machine, command: str) -> "subprocess.CompletedProcess[str]":
    done = machine.run(f"meshwg-coordinator {command}")
    assert done.returncode == 0, done.stderr
    return done
