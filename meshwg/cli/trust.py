"""``meshwg trust``: whose keys are known, and who is held because of another key."""

import json
import time
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.table import columns, shortened, terminal_width, wrap

ROOM = 62
"""Columns of a line beside the name: state, day and key."""
MIN_NAME = 8


@click.group()
def trust() -> None:
    """See and decide whose keys are trusted.

    The key of each peer is pinned when it is first seen. A peer whose name or address
    was another key's is held, with no session and no routes, until it is accepted.
    """


def held_names(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of held peers that a shell may complete a word to."""
    from meshwg.cli.client import DEFAULT_SOCKET
    from meshwg.errors import MeshError

    path = ctx.params.get("control_socket") or DEFAULT_SOCKET
    try:
        held = DaemonClient(path, timeout=1.0).get("/v1/trust")["held"]
    except MeshError:
        return []
    return [each["name"] for each in held if each["name"].startswith(incomplete)]


@trust.command("list")
@json_option
@control_socket_option
def list_(as_json: bool, control_socket: str) -> None:
    """Show the pinned keys, and the peers that are held."""
    report = DaemonClient(control_socket).get("/v1/trust")
    if as_json:
        click.echo(json.dumps(report))
        return
    for line in render(report, terminal_width()):
        click.echo(line)


@trust.command()
@click.argument("name", shell_complete=held_names)
@click.option(
    "--key",
    metavar="KEY",
    help="Only if this is the public key, as 'meshwg status' shows it there.",
)
@json_option
@control_socket_option
def accept(name: str, key: str | None, as_json: bool, control_socket: str) -> None:
    """Trust NAME, which is held, with the key that it has now.

    Compare that key first, by another way than the mesh: 'meshwg status' shows it on
    NAME's own machine.
    """
    request = {"name": name} if key is None else {"name": name, "key": key}
    accepted = DaemonClient(control_socket).post("/v1/trust/accept", request)
    if as_json:
        click.echo(json.dumps({"schema": 1, **accepted}))
        return
    click.echo(f"{accepted['name']} is trusted with the key {accepted['public_key']}.")


def render(report: dict[str, Any], size: int) -> list[str]:
    """Return the lines that a person sees.

    :param size: columns of a line.
    """
    room = max(size - ROOM, MIN_NAME)
    rows = [
        (
            shortened(pin["name"], room),
            pin["state"],
            time.strftime("%Y-%m-%d", time.localtime(pin["first_seen"])),
            pin["public_key"],
        )
        for pin in report["pins"]
    ]
    lines = []
    if rows:
        lines += columns([("NAME", "STATE", "SINCE", "PUBLIC KEY"), *rows])
    else:
        lines.append("No key is pinned yet: no peer was seen.")
    for held in report["held"]:
        lines += ["", click.style(f"{held['name']} is held", bold=True)]
        lines += [f"  {line}" for line in wrap(held["reason"], size - 2)]
        lines.append(f"  now     {held['public_key']}")
        if held["known_key"] is not None:
            lines.append(f"  before  {held['known_key']}")
    return lines
