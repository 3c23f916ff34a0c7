"""The guard at boot: nothing leaves beside an exit before the node runs."""

import json
from collections.abc import Iterator

import pytest

from tests.interop.machines import ADDRESS, Machine

pytestmark = pytest.mark.netns

GUARD = "meshwg-guard.service"
NEIGHBOUR = "192.0.2.7"
EXIT = {"public_key": "A" * 43 + "=", "name": "ams", "lan": False}
TABLE = "meshwg-killswitch-meshwg0"


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.add_unit(GUARD)
    made.file("/etc/systemd/system/meshwg-test.target").write_text(
        f"[Unit]\nRequires=basic.target\nWants={GUARD}\n"
    )
    try:
        yield made
    finally:
        made.close()


def test_what_was_closed_is_closed_after_a_boot_until_cleanup(machine: Machine) -> None:
    machine.file("/var/lib/meshwg/exit.json").write_text(json.dumps(EXIT))
    machine.boot()
    machine.wait_until(lambda: state(machine) == "active", "the guard is there")
    assert TABLE in machine.run("nft list tables").stdout
    assert "exit ams" in machine.log(GUARD)
    assert "Operation not permitted" in refusal(machine)

    assert TABLE in machine.run("meshwg cleanup").stdout
    assert machine.run("nft list tables").stdout == ""
    assert "Operation not permitted" not in refusal(machine)

    # It is there again after the next boot: the exit is still remembered.
    machine.cut_power()
    machine.boot()
    machine.wait_until(lambda: state(machine) == "active", "the guard is there")
    assert TABLE in machine.run("nft list tables").stdout


@pytest.mark.parametrize("file", ["", "down"])
def test_without_an_exit_or_on_a_node_that_is_down_nothing_is_held(
    machine: Machine, file: str
) -> None:
    if file:
        machine.file("/var/lib/meshwg/exit.json").write_text(json.dumps(EXIT))
        machine.file(f"/var/lib/meshwg/{file}").write_text("")
    machine.boot()
    machine.wait_until(lambda: looked(machine), "the guard has looked")
    assert state(machine) == "inactive"
    assert machine.run("nft list tables").stdout == ""


def looked(machine: Machine) -> bool:
    return machine.show(GUARD, "ConditionTimestampMonotonic") not in ("", "0")


def state(machine: Machine) -> str:
    return machine.show(GUARD, "ActiveState")


def refusal(machine: Machine) -> str:
    """Return what the system says to somebody who sends something."""
    script = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        f"s.bind(('{ADDRESS}', 0)); s.sendto(b'x', ('{NEIGHBOUR}', 9))"
    )
    return machine.run(f'python3 -c "{script}"').stderr
