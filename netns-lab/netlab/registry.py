"""Records of labs, by which a later run can clean up after a killed one.

Each lab has a file ``/run/netlab/PREFIX``: its owner on the first line, then the name
of every namespace, written before the namespace is made. A lab is a leftover if its
owner, the process with that id *and* that start time, is gone. Nothing that is not
recorded is ever touched.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from netlab import netns
from netlab.errors import LabError

RECORDS = Path("/run/netlab")
KILL_WITHIN = 5.0
"""Seconds that killed processes have to end."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that runs a lab."""

    pid: int
    started: int
    """Clock ticks since boot, by which a reused process id is recognised."""
    directory: str
    """Where the lab keeps its logs, captures and files."""
    title: str
    """What runs in the lab, as ``netns-lab list`` shows it."""

    @property
    def alive(self) -> bool:
        return _start_time(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class Record:
    """One lab of this machine, running or left over."""

    prefix: str
    owner: Owner
    namespaces: list[str]

    @property
    def machines(self) -> list[str]:
        return [name.removeprefix(f"{self.prefix}-") for name in self.namespaces]


def register(prefix: str, directory: Path, title: str) -> None:
    """Claim a prefix for this process.

    :raises LabError: if a running lab has it. A leftover is removed first.
    """
    owner = Owner(os.getpid(), _start_time(os.getpid()) or 0, str(directory), title)
    RECORDS.mkdir(parents=True, exist_ok=True)
    path = RECORDS / prefix
    draft = RECORDS / f".{prefix}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(owner)) + "\n")
    try:
        while True:
            try:
                # Unlike a rename, a link fails if the name is taken; the record is
                # never seen half-written.
                path.hardlink_to(draft)
                return
            except FileExistsError:
                _evict(path)
    finally:
        draft.unlink()


def add_namespace(prefix: str, name: str) -> None:
    """Record a namespace that is about to be made."""
    with (RECORDS / prefix).open("a") as record:
        record.write(name + "\n")


def records() -> Iterator[Record]:
    """Yield every lab that is recorded on this machine."""
    if not RECORDS.exists():
        return
    for path in sorted(RECORDS.iterdir()):
        if not path.name.startswith("."):
            record = _read(path)
            if record is not None:
                yield record


def remove(record: Record) -> None:
    """Kill a lab's processes, remove its namespaces, then its record."""
    _kill_inside(record.namespaces)
    for name in record.namespaces:
        netns.delete(name)
    (RECORDS / record.prefix).unlink(missing_ok=True)


def read(prefix: str) -> Record | None:
    """Return the record of one lab."""
    return _read(RECORDS / prefix)


def clean() -> list[str]:
    """Remove what killed runs left behind; return the prefixes that were removed."""
    removed = []
    for record in list(records()):
        if not record.owner.alive:
            _remove_leftover(record)
            removed.append(record.prefix)
    return removed


def _remove_leftover(record: Record) -> None:
    remove(record)
    shutil.rmtree(record.owner.directory, ignore_errors=True)


def _evict(path: Path) -> None:
    record = _read(path)
    if record is None:
        return
    if record.owner.alive:
        raise LabError(
            f"A lab with the prefix {record.prefix} is running already "
            f"(process {record.owner.pid}): choose another prefix, or end that one."
        )
    _remove_leftover(record)


def _read(path: Path) -> Record | None:
    try:
        first, *names = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    return Record(path.name, Owner(**json.loads(first)), names)


def _kill_inside(names: list[str]) -> None:
    """Kill all processes in the namespaces, and wait until they have ended."""
    deadline = time.monotonic() + KILL_WITHIN
    while pids := netns.pids_inside(names):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)


def _start_time(pid: int) -> int | None:
    """Return when a process started, ``None`` if it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may contain spaces; the state follows it.
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])
