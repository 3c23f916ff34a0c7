"""Databases, SQLite files and a PostgreSQL of our own, and programs for tests."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coordinator.programs import Here, Program, program

_NUMBERS = itertools.count()

POSTGRES_USER = "postgres"
"""Debian's package makes this user; PostgreSQL refuses to run as root."""

SETTINGS = (
    "listen_addresses=''",
    "fsync=off",
    "shared_buffers=16MB",
    "max_connections=60",
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    """A PostgreSQL cluster in a directory of its own, on a Unix socket in it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("needs PostgreSQL: install Debian's package 'postgresql'")
    directory = Path(tempfile.mkdtemp(prefix="meshwg-pg-"))
    if os.geteuid() == 0:
        shutil.chown(directory, POSTGRES_USER, POSTGRES_USER)
    try:
        _initialise(programs[-1], directory)
        _control(programs[-1], directory, "start")
        try:
            yield directory
        finally:
            _control(programs[-1], directory, "stop")
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def postgres_url(postgres_server: Path) -> str:
    """An empty PostgreSQL database."""
    name = f"test_{next(_NUMBERS)}"
    program = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1] / "createdb"
    _run(program, "-h", str(postgres_server), "-U", "mesh", name)
    return f"postgresql://mesh@/{name}?host={postgres_server}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/coordinator.db"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    """A server for one test."""
    with program(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server that tests do not stop, nor do they rely on what is in it."""
    with program(tmp_path_factory.mktemp("common") / "data") as made:
        yield made


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


def _initialise(programs: Path, directory: Path) -> None:
    data = str(directory / "data")
    _run(
        programs / "initdb", "-D", data, "-U", "mesh", "-A", "trust", "-N", "-E", "UTF8"
    )


def _control(programs: Path, directory: Path, action: str) -> None:
    options = " ".join(f"-c {setting}" for setting in SETTINGS)
    arguments = ["-D", str(directory / "data"), "-w", "-m", "immediate"]
    if action == "start":
        arguments = ["-D", str(directory / "data"), "-w"]
        arguments += ["-l", str(directory / "log"), "-o", f"-k {directory} {options}"]
    _run(programs / "pg_ctl", action, *arguments)


def _run(program: Path, *arguments: str) -> None:
    """Run a program of PostgreSQL as a user that it accepts."""
    user = POSTGRES_USER if os.geteuid() == 0 else None
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
