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
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.audit import AuditRow
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.flows import Flow
from coordinator.mesh.operations import Administered, Result
from coordinator.mesh.policies import PolicyVersion, User
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


def administration_options(command: _Command) -> _Command:
    """Add the options by which a command finds the administration of the mesh."""
    command = click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Of --server: a file with an API token, or - for the standard input.",
    )(command)
    command = click.option(
        "--server",
        metavar="URL",
        help="Ask a coordinator elsewhere, not the database: https://… or unix:PATH.",
    )(command)
    return database_options(command)


class Mesh:
    """An open database, with the key of its coordinator.

    :param relays: the URLs of relays that the settings name.
    """

    def __init__(
        self, store: Store, private_key: PrivateKey, relays: Sequence[str] = ()
    ) -> None:
        self.store = store
        self.coordinator_key = private_key.public_bytes
        self.relays = [(url, False) for url in relays]
        self._registry: Registry | None = None

    async def urls(self) -> list[str]:
        return await self.store.coordinator_urls()

    async def registry(self) -> Registry:
        if self._registry is None:
            # It follows what is committed here.
            self._registry = (await self.store.load())[0]
        return self._registry

    async def auth_keys(self) -> list[AuthKey]:
        return await self.store.auth_keys()

    async def api_tokens(self) -> list[ApiToken]:
        return await self.store.api_tokens()

    async def users(self) -> list[User]:
        return await self.store.users()

    async def policies(self) -> list[PolicyVersion]:
        return await self.store.policies()

    async def flows(self) -> dict[Flow, float]:
        return await self.store.flows()

    async def audit(
        self, after: int = 0, since: float = 0.0, limit: int | None = None
    ) -> list[AuditRow]:
        return await self.store.audit(after, since, limit)

    async def perform(self, operation: Administered) -> Result:
        await self.registry()
        commit = await self.store.commit([operation], time.time())
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
        yield Mesh(store, private_key, settings.relays)
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
