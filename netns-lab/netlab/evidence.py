"""Evidence: what crossed a lab's internet, kept for those who want to know why.

One capture sees all wires of the routing core, so it sees every packet twice: as it
came in, and as it went out to the other customer. It keeps the headers and the first
bytes, which tell STUN, TURN and WireGuard from each other.
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
"""Frames after which no more are kept: at most 176 MB."""


class Evidence:
    """A capture of the whole internet of a lab."""

    def __init__(self, core: Machine) -> None:
        self._capture = core.capture("any", length=LENGTH, limit=LIMIT)

    def save(self, path: Path, machines: Iterable[Machine]) -> Path:
        """Write what some machines sent and received into a file of its own.

        :raises LabError: if that cannot be done.
        """
        addresses = sorted({each for one in machines for each in _public(one)})
        command = ["tcpdump", "-r", str(self._capture.path), "-w", str(path)]
        command += ["-Z", "root", " or ".join(f"host {each}" for each in addresses)]
        # Where tcpdump had to drop some frames, the others are evidence still.
        with contextlib.suppress(LabError):
            self._capture.stop()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{path} cannot be written: {done.stderr.strip()}.")
        return path


def _public(machine: Machine) -> set[str]:
    """Return the addresses by which the internet may know a machine."""
    found: set[str] = set()
    for attachment in machine.attachments.values():
        found |= {*attachment.addresses}
        uplink = attachment.uplink
        owner = uplink.owner if isinstance(uplink, Lan) else uplink
        if isinstance(owner, Machine):
            found |= _public(owner)
    return found
