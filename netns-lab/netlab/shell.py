"""A shell in a machine of a lab that runs in another terminal."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from netlab import registry
from netlab.errors import LabError
from netlab.netns import Namespace
from netlab.registry import Record


def enter(name: str, command: Sequence[str] = ()) -> None:
    """Replace this process by a shell, or a command, in a machine.

    :param name: of the machine, or the full name of its namespace if several labs have
        a machine of that name.
    """
    record, namespace = _find(name)
    machine = namespace.removeprefix(f"{record.prefix}-")
    run_directory = Path(record.owner.directory, machine, "run")
    os.environ["PS1"] = f"[{machine}] \\w# "
    shell = ["bash", "--norc"] if sys.stdin.isatty() else ["sh"]
    try:
        Namespace(namespace, run_directory).become([*command] or shell)
    except FileNotFoundError as error:
        raise LabError(f"{machine} cannot run the command: {error}.") from None


def _find(name: str) -> tuple[Record, str]:
    running = [each for each in registry.records() if each.owner.alive]
    found = [
        (record, namespace)
        for record in running
        for namespace in record.namespaces
        if name in (namespace, namespace.removeprefix(f"{record.prefix}-"))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(namespace for _, namespace in found)
        raise LabError(f"Several labs have a machine named {name}; say which: {names}.")
    if not running:
        raise LabError(
            "No lab is running: start one that stays, with "
            "'make lab SCENARIO=container HOLD=yes'."
        )
    known = ", ".join(machine for record in running for machine in record.machines)
    raise LabError(f"No running lab has a machine named {name}; there are: {known}.")
