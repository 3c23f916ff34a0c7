"""``meshwg-coordinator key``: the key by which nodes know the coordinator."""

import os
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import database_options, echo_json, json_option
from coordinator.cli.settings import load_settings
from coordinator.runtime.files import DataDirectory
from meshwg.errors import MeshError
from meshwg.keys import PrivateKey, format_key

ROTATED = (
    "Nodes that are connected learn it now, others when they next connect, and new "
    "tokens name it. Make a new backup: an older one holds a key that nodes will not "
    "know any more. When all nodes have been there, 'meshwg-coordinator key retire'."
)
SHARED = (
    "Other coordinators on the same database need both files, coordinator.key and "
    "coordinator.key.old, as well."
)
RETIRED = (
    "Nodes that have not been there since the key was rotated are told that this is "
    "not their coordinator; each needs a new token: 'meshwg join --new-key'."
)


@click.group()
def key() -> None:
    """Show, rotate and retire the key by which nodes know the coordinator."""


@key.command()
@database_options
@json_option
def show(as_json: bool, **where: Any) -> None:
    """Show the public key, and the one before if it is still served."""
    directory = _directory(**where)
    _tell(directory.private_key(), directory.former_key(), as_json)


@key.command()
@database_options
@json_option
def rotate(as_json: bool, **where: Any) -> None:
    """Make a new key, and serve the one before as well.

    Nodes are told the new key over connections that the old one has proved, and use
    only that from then on. A coordinator that runs takes it over within seconds.
    """
    directory = _directory(**where)
    new = directory.rotate_key()
    _tell(new, directory.former_key(), as_json)
    if not as_json:
        click.echo(ROTATED)
        if not _is_alone(**where):
            click.echo(SHARED)


@key.command()
@database_options
@json_option
def retire(as_json: bool, **where: Any) -> None:
    """Serve the key before the last rotation no more."""
    directory = _directory(**where)
    if not directory.retire_key():
        raise MeshError("No key but the present one is served: there is none to retire")
    _tell(directory.private_key(), None, as_json)
    if not as_json:
        click.echo(RETIRED)


def _directory(
    config: Path | None, data_dir: Path | None, database: str | None
) -> DataDirectory:
    settings = load_settings(config, {"data_dir": data_dir, "database": database})
    directory = DataDirectory(settings.data_dir, os.urandom)
    if not directory.exists:
        raise MeshError(
            f"There is no coordinator in {settings.data_dir} yet; start "
            "'meshwg-coordinator serve' once, or name another --data-dir"
        )
    return directory


def _is_alone(config: Path | None, data_dir: Path | None, database: str | None) -> bool:
    settings = load_settings(config, {"data_dir": data_dir, "database": database})
    return settings.database is None or settings.database.startswith("sqlite")


def _tell(present: PrivateKey, former: PrivateKey | None, as_json: bool) -> None:
    texts = [
        None if each is None else format_key(each.public_bytes)
        for each in (present, former)
    ]
    if as_json:
        echo_json({"public_key": texts[0], "former_key": texts[1]})
        return
    click.echo(f"The coordinator's key is {texts[0]}.")
    if texts[1] is not None:
        click.echo(f"The one before, {texts[1]}, is served, too.")
