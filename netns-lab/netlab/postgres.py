"""A PostgreSQL of one's own, in a directory that is gone with it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

USER = "postgres"
"""Debian's package makes this user; PostgreSQL refuses to run as root."""

SETTINGS = (
    "listen_addresses=''",
    "fsync=off",
    "shared_buffers=16MB",
    "max_connections=60",
)


class Postgres:
    """A running cluster, which listens on a Unix socket in its directory."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs, self._directory = programs, directory

    def create(self, name: str) -> str:
        """Make an empty database, and return its URL."""
        where = ("-h", str(self._directory), "-U", "mesh")
        _run(self._programs / "createdb", *where, name)
        return f"postgresql://mesh@/{name}?host={self._directory}"


def programs() -> Path | None:
    """Return where PostgreSQL's programs are, if it is installed."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """Run a new cluster."""
    directory = Path(tempfile.mkdtemp(prefix="meshwg-pg-"))
    if os.geteuid() == 0:
        shutil.chown(directory, USER, USER)
    data = str(directory / "data")
    try:
        how = ("-U", "mesh", "-A", "trust", "-N", "-E", "UTF8")
        _run(programs / "initdb", "-D", data, *how)
        _control(programs, directory, "start")
        try:
            yield Postgres(programs, directory)
        finally:
            _control(programs, directory, "stop")
    finally:
        shutil.rmtree(directory)


def _control(programs: Path, directory: Path, action: str) -> None:
    options = " ".join(f"-c {setting}" for setting in SETTINGS)
    arguments = ["-D", str(directory / "data"), "-w", "-m", "immediate"]
    if action == "start":
        arguments = ["-D", str(directory / "data"), "-w"]
        arguments += ["-l", str(directory / "log"), "-o", f"-k {directory} {options}"]
    _run(programs / "pg_ctl", action, *arguments)


def _run(program: Path, *arguments: str) -> None:
    """Run a program of PostgreSQL as a user that it accepts."""
    user = USER if os.geteuid() == 0 else None
    subprocess.run(
        [str(program), *arguments],
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd="/",
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
