"""What the commands that administer a mesh share."""

import asyncio
import getpass
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from coordinator.cli.settings import load_settings
from coordinator.mesh.operations import (
    Accepted,
    Administered,
    Operation,
    Refused,
    Result,
)
from coordinator.mesh.registry import Registry
from coordinator.runtime.files import DataDirectory
from coordinator.store.store import MeshConfig, Store
from meshwg.cli.table import columns, shortened, terminal_width
from meshwg.errors import MeshError
from meshwg.keys import PrivateKey, format_key

_Command = TypeVar("_Command", bound=Callable[..., Any])

MIN_NAME = 8
"""Columns of a name that are always left."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs."
)


def database_options(command: _Command) -> _Command:
    """Add the options by which a command finds the mesh."""
    for option in (
        click.option(
            "--database",
            metavar="URL",
            help="The database, if not in the data dir; may be @FILE.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Default: /var/lib/meshwg-coordinator.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The server's TOML file.",
        ),
    ):
        command = option(command)
    return command


class Mesh:
    """An open database, with the key of its coordinator."""

    def __init__(self, store: Store, private_key: PrivateKey) -> None:
        self.store = store
        self.coordinator_key = private_key.public_bytes

    async def registry(self) -> Registry:
        return (await self.store.load())[0]

    async def perform(self, operation: Operation) -> Accepted:
        """Carry out one operation.

        :raises MeshError: if it is refused.
        """
        result = await self.request(operation)
        if isinstance(result, Refused):
            raise MeshError(result.message)
        return result

    async def request(self, operation: Operation) -> Result:
        """Carry out one operation; return what came of it, also if it is refused."""
        await self.store.load()
        administered = Administered(operation, administrator())
        commit = await self.store.commit([administered], time.time())
        _, result = commit.outcomes[0]
        return result


@asynccontextmanager
async def open_mesh(
    config: Path | None, data_dir: Path | None, database: str | None
) -> AsyncIterator[Mesh]:
    """Open the mesh that the options name.

    :raises MeshError: if there is none.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database": database})
    directory = DataDirectory(settings.data_dir, os.urandom)
    if not directory.exists:
        raise MeshError(
            f"There is no coordinator in {settings.data_dir} yet; start "
            "'meshwg-coordinator serve' once, or name another --data-dir"
        )
    private_key, former = directory.private_key(), directory.former_key()
    mesh = MeshConfig(
        format_key(private_key.public_bytes),
        begins=False,
        former_key=None if former is None else format_key(former.public_bytes),
    )
    url = settings.database or directory.default_database
    store = await Store.open(url, mesh, random=os.urandom)
    try:
        yield Mesh(store, private_key)
    finally:
        await store.close()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine."""
    asyncio.run(coroutine)


def echo_json(record: dict[str, Any]) -> None:
    """Print one object of the outside contract."""
    click.echo(json.dumps({"schema": 1, **record}))


def echo_fitted(
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]], empty: str
) -> None:
    """Print the first table that the terminal is wide enough for.

    :param tables: heads and rows of each, the richest first. Where even the last one is
        too wide, names in its first column lose their middle.
    """
    if not tables[0][1]:
        click.echo(empty)
        return
    size = terminal_width()
    fitting = (each for each in tables if max(map(len, _lines(*each))) <= size)
    table = next(fitting, None)
    if table is None:
        head, rows = tables[-1]
        rest = max(map(len, _lines(head[1:], [row[1:] for row in rows])))
        room = max(size - rest - 2, MIN_NAME)
        table = head, [(shortened(name, room), *more) for name, *more in rows]
    _echo_lines(_lines(*table))


def _echo_lines(lines: Sequence[str]) -> None:
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for number, line in enumerate(lines):
        click.echo(click.style(line, bold=True) if bold and not number else line)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return columns([head, *rows])


def time_text(unix_time: float | None) -> str:
    """Return a local time to the minute, a dash for none."""
    if unix_time is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_time))


def identity_text(owner: str, tags: Sequence[str]) -> str:
    """Return what nodes are to policies, a dash for nothing."""
    return " ".join((owner, *(f"tag:{tag}" for tag in tags))).strip() or "-"


def administrator() -> str:
    """Return who uses this command, as the system knows him."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        # The system has no name for this user.
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"[:255]
