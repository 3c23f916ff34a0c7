"""Evidence: a capture of a lab's internet, for finding out why a cell failed.

It covers all links of the routing core, so it has every packet twice: coming in from
one customer and going out to the other. It keeps the headers and the first bytes,
which tell STUN, TURN and WireGuard apart.
"""

import contextlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

from netlab.errors import LabError
from netlab.lan import Lan
from netlab.machine import Machine

LENGTH = 160
"""Bytes kept of each frame: all headers, and a STUN message's first attributes."""
LIMIT = 1_000_000
"""Frames that are kept at most: 176 MB."""


class Evidence:
    """A capture of the whole internet of a lab."""

    def __init__(self, core: Machine) -> None:
        self._capture = core.capture("any", length=LENGTH, limit=LIMIT)

    def save(self, path: Path, machines: Iterable[Machine]) -> Path:
        """Write what some machines sent and received to a separate file.

        :raises LabError: if the file cannot be written.
        """
        addresses = sorted({each for one in machines for each in _public(one)})
        command = ["tcpdump", "-r", str(self._capture.path), "-w", str(path)]
        command += ["-Z", "root", " or ".join(f"host {each}" for each in addresses)]
        # If tcpdump dropped some frames, the others are still worth keeping.
        with contextlib.suppress(LabError):
            self._capture.stop()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{path} cannot be written: {done.stderr.strip()}.")
        return path


def _public(machine: Machine) -> set[str]:
    """Return the addresses that a machine may have on the internet."""
    found: set[str] = set()
    for attachment in machine.attachments.values():
        found |= {*attachment.addresses}
        uplink = attachment.uplink
        owner = uplink.owner if isinstance(uplink, Lan) else uplink
        if isinstance(owner, Machine):
            found |= _public(owner)
    return found
