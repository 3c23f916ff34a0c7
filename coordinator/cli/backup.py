"""``meshwg-coordinator backup`` and ``restore``: all of a mesh in one file.

The file is compressed JSON: the database's rows, whichever kind of database it is, and
the secrets beside it. It is as secret as the data directory.
"""

import contextlib
import gzip
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import database_options, echo_json, json_option, run
from coordinator.cli.settings import load_settings
from coordinator.config import CoordinatorConfig
from coordinator.dsn import parse_url
from coordinator.runtime.files import (
    KEY_FILE,
    SECRET_FILES,
    DataDirectory,
    write_private,
)
from coordinator.store import archive
from coordinator.store.archive import NoArchive
from coordinator.store.engine import holds_mesh
from meshwg import __version__
from meshwg.errors import ConfigError, MeshError
from meshwg.keys import parse_key

FORMAT = "meshwg-coordinator-backup"

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=PATH)
@database_options
@json_option
def backup(
    file: Path,
    config: Path | None,
    data_dir: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Write the whole mesh into FILE, also while the coordinator runs.

    FILE holds the coordinator's key and secrets: keep it as safe as those.
    """
    settings = load_settings(config, {"data_dir": data_dir, "database": database})
    directory = DataDirectory(settings.data_dir, os.urandom)
    if not directory.exists:
        raise MeshError(
            f"There is no coordinator in {settings.data_dir}; name another --data-dir"
        )

    async def write() -> None:
        address = parse_url(settings.database or directory.default_database)
        if not await holds_mesh(address):
            raise ConfigError(
                f"The database of {settings.data_dir} holds no mesh, but its key "
                "belongs to one: put an older backup back with 'restore'"
            )
        record = {
            "format": FORMAT,
            "software": f"meshwg {__version__}",
            "made": time.time(),
            "files": directory.contents(),
            **await archive.take(address),
        }
        data = gzip.compress(json.dumps(record).encode())
        try:
            write_private(file, data)
        except OSError as error:
            raise MeshError(
                f"The backup {file} cannot be written: {error.strerror}"
            ) from None
        _tell(record, f"are backed up in {file}", as_json)

    run(write())


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--replace", is_flag=True, help="Replace the mesh that is there, for good."
)
@database_options
@json_option
def restore(
    file: Path,
    replace: bool,
    config: Path | None,
    data_dir: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Put a mesh back from FILE; the coordinator must not run.

    Nodes find it again by its key. Those that joined after the backup keep their
    connections, and have to join again.
    """
    record = _read(file)
    settings = load_settings(config, {"data_dir": data_dir, "database": database})
    directory = DataDirectory(settings.data_dir, os.urandom)
    directory.create()

    async def put_back() -> None:
        if not replace:
            await _refuse_to_replace(settings, directory, record)
        with _naming(file):
            await archive.put_back(
                parse_url(settings.database or directory.default_database),
                record,
                random=os.urandom,
                before_commit=lambda: directory.put_back(record["files"]),
            )
        directory.begun()
        directory.give_to_owner()
        _tell(record, f"are restored from {file}", as_json)

    with directory.lock():
        run(put_back())


async def _refuse_to_replace(
    settings: CoordinatorConfig, directory: DataDirectory, record: dict[str, Any]
) -> None:
    """Refuse if anything would be lost."""
    address = parse_url(settings.database or directory.default_database)
    key = record["files"][KEY_FILE].strip()
    is_another = directory.exists and not directory.begin()
    is_another = is_another and directory.contents()[KEY_FILE].strip() != key
    if is_another or await holds_mesh(address):
        raise MeshError(
            f"{settings.data_dir} already holds a mesh; name another --data-dir, or "
            "give --replace to lose that mesh"
        )


def _read(file: Path) -> dict[str, Any]:
    """Return what a backup holds.

    :raises NoArchive: if the file is no backup.
    """
    try:
        record = json.loads(gzip.decompress(file.read_bytes()))
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError):
        record = None
    except OSError as error:
        raise MeshError(f"The backup {file} cannot be read: {error.strerror}") from None
    with _naming(file):
        _check(record)
    assert isinstance(record, dict)
    return record


def _check(record: object) -> None:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise NoArchive("it is damaged, or something else")
    files, tables = record.get("files"), record.get("tables")
    if not isinstance(files, dict) or not isinstance(tables, dict):
        raise NoArchive("parts of it are missing")
    if not set(files) <= set(SECRET_FILES) or not isinstance(record["revision"], str):
        raise NoArchive("it holds what no backup does")
    if not all(isinstance(each, str) for each in files.values()):
        raise NoArchive("its files are damaged")
    try:
        parse_key(files.get(KEY_FILE, ""))
    except ValueError:
        raise NoArchive("its key is damaged") from None


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except NoArchive as error:
        raise NoArchive(f"{file} is no backup of a mesh: {error}") from None


def _tell(record: dict[str, Any], what: str, as_json: bool) -> None:
    nodes, tokens = (
        len(record["tables"].get(name, {"rows": ()})["rows"])
        for name in ("nodes", "auth_keys")
    )
    if as_json:
        echo_json({"nodes": nodes, "tokens": tokens, "made": record["made"]})
    else:
        click.echo(f"{_count(nodes, 'node')} and {_count(tokens, 'token')} {what}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
