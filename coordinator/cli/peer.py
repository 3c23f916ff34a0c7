"""``meshwg-coordinator peer``: phones and routers with plain WireGuard."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    identity_text,
    json_option,
    run,
)
from coordinator.cli.desk import Record, open_desk
from coordinator.mesh.endpoints import parse_endpoint
from coordinator.runtime.qr import qr_width
from meshwg.cli.table import terminal_width
from meshwg.errors import ConfigError
from meshwg.keys import format_key, parse_key

LAYOUTS = (
    ("NAME", "HUB", "ADDRESSES", "OWNER", "PUBLIC KEY"),
    ("NAME", "HUB", "ADDRESSES", "OWNER"),
    ("NAME", "HUB", "ADDRESS", "OWNER"),
    ("NAME", "HUB", "ADDRESS"),
)
"""Columns of the list, for terminals from the widest to the narrowest."""
SECRET_MODE = 0o600

ONCE = (
    "Its private key is shown only now, and kept nowhere: scan the code with the "
    "WireGuard app, or save the text below as {name}.conf."
)
TOO_WIDE = "The QR code needs {width} columns, and this terminal has fewer."
PINNED = (
    "Nodes have pinned its key: if another one is to be called {name}, each of them "
    "holds that until 'meshwg trust accept {name}' there."
)


@click.group()
def peer() -> None:
    """Add phones and routers with plain WireGuard; list and remove them."""


@peer.command()
@click.argument("name")
@click.option("--hub", default="", metavar="NODE", help="Not the first hub that can.")
@click.option(
    "--full-tunnel", is_flag=True, help="All it sends goes to the hub, an exit."
)
@click.option(
    "--public-key", metavar="KEY", help="It has a private key of its own already."
)
@click.option(
    "--endpoint",
    default="",
    metavar="HOST[:PORT]",
    help="Where it reaches the hub, if not at its public address.",
)
@click.option("--owner", default="", metavar="USER", help="Whose it is.")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="What it is, to policies."
)
@click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="A new file."
)
@administration_options
@json_option
def add(
    name: str,
    hub: str,
    full_tunnel: bool,
    public_key: str | None,
    endpoint: str,
    owner: str,
    tags: tuple[str, ...],
    file: Path | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Add a phone or a router, and print what it has to know: once."""
    wanted = {
        "name": name,
        "hub": hub,
        "full_tunnel": full_tunnel,
        "public_key": _checked_key(public_key),
        "endpoint": _checked(endpoint),
        "owner": owner,
        "tags": list(dict.fromkeys(tags)),
    }

    async def store() -> None:
        # Without a file that is asked for, there is to be no peer.
        with _NewFile(file) as written:
            async with open_desk(**where) as desk:
                answer = await desk.ask("add-peer", body=wanted)
            written.write(answer["config"])
        if as_json:
            echo_json(answer)
        else:
            _echo_added(answer, public_key is None, file)

    run(store())


@peer.command("list")
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all plain WireGuard peers."""

    async def show_all() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-peers")
        peers: list[Record] = answer["peers"]
        if as_json:
            echo_json(answer)
            return
        tables = [
            (layout, [_row(each, layout) for each in peers]) for layout in LAYOUTS
        ]
        empty = "There is no plain WireGuard peer; 'peer add NAME' adds one."
        echo_fitted(tables, empty)

    run(show_all())


@peer.command()
@click.argument("name")
@administration_options
@json_option
def show(name: str, as_json: bool, **where: Any) -> None:
    """Show what a peer has to know now, without its private key."""

    async def look() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("show-peer", peer=name)
        if as_json:
            echo_json(answer)
        else:
            click.echo(answer["config"], nl=False)

    run(look())


@peer.command()
@click.argument("name")
@administration_options
@json_option
def remove(name: str, as_json: bool, **where: Any) -> None:
    """Remove a peer: its hub cuts it off at once."""

    async def store() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("remove-peer", peer=name)
        if as_json:
            echo_json(answer)
            return
        removed = answer["peer"]["name"]
        click.echo(f"{removed} is removed.")
        click.echo(PINNED.format(name=removed), err=True)

    run(store())


class _NewFile:
    """A file that only its owner reads, and that goes again if nothing came of it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._text = ""

    def __enter__(self) -> "_NewFile":
        if self._path is None:
            return self
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            os.close(os.open(self._path, flags, SECRET_MODE))
        except FileExistsError:
            raise ConfigError(
                f"{self._path} is there already, and may be another peer's: name a new "
                "file"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be written ({error.strerror}): name another file"
            ) from None
        return self

    def write(self, text: str) -> None:
        if self._path is not None:
            self._path.write_text(text)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _echo_added(answer: Record, has_key: bool, file: Path | None) -> None:
    """Print the code and the text; where no terminal is, nothing but the text."""
    record, config, code = answer["peer"], answer["config"], answer["qr"]
    on_screen = is_terminal()
    if on_screen and code:
        width = qr_width(code)
        fits = width <= terminal_width()
        click.echo(code if fits else TOO_WIDE.format(width=width), nl=not fits)
    addresses = " and ".join(record["addresses"])
    name, hub = record["name"], record["hub"]
    lines = [f"{name} is {addresses} in the mesh, by the hub {hub}."]
    if file is not None:
        lines.append(f"What it has to know is in {file}.")
    elif has_key:
        lines.append(ONCE.format(name=name))
    if answer["url"]:
        lines.append(f"A router fetches what changes from {answer['url']}")
    for line in lines:
        click.echo(line, err=not on_screen)
    if file is None:
        click.echo(f"\n{config}" if on_screen else config, nl=False)


def is_terminal() -> bool:
    """Tell whether somebody looks at what is printed."""
    return sys.stdout.isatty()


def _checked_key(public_key: str | None) -> str | None:
    """Return a public key as it is written everywhere.

    :raises ConfigError: if it is none.
    """
    if public_key is None:
        return None
    try:
        return format_key(parse_key(public_key))
    except ValueError as error:
        raise ConfigError(f"--public-key is none: {error}") from None


def _checked(endpoint: str) -> str:
    """Return an endpoint as it was written.

    :raises ConfigError: if it is none.
    """
    if endpoint:
        try:
            parse_endpoint(endpoint)
        except ValueError as error:
            raise ConfigError(f"--endpoint: {error}") from None
    return endpoint


def _row(each: Record, layout: Sequence[str]) -> tuple[str, ...]:
    addresses = each["addresses"]
    cells = {
        "NAME": each["name"],
        "HUB": "expired" if each["expired"] else each["hub"] or "gone",
        "ADDRESSES": " ".join(addresses),
        "ADDRESS": addresses[0],
        "OWNER": identity_text(each["owner"] or "", each["tags"]),
        "PUBLIC KEY": each["public_key"],
    }
    return tuple(cells[head] for head in layout)
