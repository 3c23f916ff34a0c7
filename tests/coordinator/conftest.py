"""Databases, SQLite files and a PostgreSQL of our own, and programs for tests."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab import postgres
from tests.coordinator.programs import Here, Program, program

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """A PostgreSQL cluster for the whole session."""
    programs = postgres.programs()
    if programs is None:
        pytest.skip("needs PostgreSQL: install Debian's package 'postgresql'")
    with postgres.running(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.Postgres) -> str:
    """An empty PostgreSQL database."""
    return postgres_server.create(f"test_{next(_NUMBERS)}")


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
