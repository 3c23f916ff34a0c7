"""``meshwg exit``: through which peer this machine reaches the internet."""

import json
import os
from pathlib import Path
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.table import (
    columns,
    echo,
    milliseconds_text,
    shortened,
    terminal_width,
    wrap,
)
from meshwg.errors import NotPermitted

MIN_NAME = 8


@click.group("exit")
def exit_() -> None:
    """Reach the internet through a peer, and in no other way.

    While an exit is used nothing leaves this machine beside it, in clear or otherwise,
    also while it is away: 'meshwg exit off' ends that. Connections from outside to
    this machine go on.
    """


def exit_names(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of exits that a shell may complete a word to."""
    from meshwg.cli.client import DEFAULT_SOCKET
    from meshwg.errors import MeshError

    path = ctx.params.get("control_socket") or DEFAULT_SOCKET
    try:
        exits = DaemonClient(path, timeout=1.0).get("/v1/exit")["exits"]
    except MeshError:
        return []
    return [each["name"] for each in exits if each["name"].startswith(incomplete)]


@exit_.command("list")
@json_option
@control_socket_option
def list_(as_json: bool, control_socket: str) -> None:
    """Show the approved exits of the mesh, and which one is used."""
    report = DaemonClient(control_socket).get("/v1/exit")
    if as_json:
        click.echo(json.dumps(report))
        return
    for line in render(report, terminal_width()):
        echo(line)


@exit_.command()
@click.argument("name", shell_complete=exit_names)
@click.option(
    "--lan",
    is_flag=True,
    help="Reach private networks that this machine is in beside the exit, too.",
)
@json_option
@control_socket_option
def use(name: str, lan: bool, as_json: bool, control_socket: str) -> None:
    """Reach the internet through NAME only, from now on and after restarts.

    Without --lan neither printers nor other machines of the local network are reached,
    and neither are containers of this machine.
    """
    client = DaemonClient(control_socket)
    used = client.post("/v1/exit/use", {"name": name, "lan": lan})
    if as_json:
        click.echo(json.dumps({"schema": 1, "using": used}))
        return
    beside = ", and private networks of this machine's own links" if lan else ""
    echo(f"The internet is reached through {used['name']} only{beside}.")
    if used["reason"]:
        echo(f"It is away now: {used['reason']}.")


@exit_.command()
@json_option
@control_socket_option
def off(as_json: bool, control_socket: str) -> None:
    """Reach the internet without an exit again."""
    done = DaemonClient(control_socket).post("/v1/exit/off", {})
    if as_json:
        click.echo(json.dumps({"schema": 1, **done}))
    elif done["was"] is None:
        echo("No exit was used.")
    else:
        echo(f"The internet is reached without {done['was']} again.")


@exit_.command()
@click.option(
    "--config",
    "config_file",
    envvar="MESHWG_CONFIG",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The node's settings. Default: /etc/meshwg/node.toml, if there.",
)
@click.option(
    "--state-dir",
    envvar="MESHWG_STATE_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Default: /var/lib/meshwg.",
)
@click.option(
    "--interface",
    envvar="MESHWG_INTERFACE",
    metavar="NAME",
    help="Default: meshwg0.",
)
def hold(
    config_file: Path | None, state_dir: Path | None, interface: str | None
) -> None:
    """Let nothing leave beside the exit that is remembered, before the node runs.

    For machines that start: systemd/meshwg-guard.service runs it before there is a
    network. The node goes on with that, and 'meshwg cleanup' ends it.
    """
    import asyncio
    from contextlib import closing

    from meshwg import config
    from meshwg.runtime import exits
    from meshwg.runtime.state import StateDirectory

    settings = config.load(
        config_file, {"state_dir": state_dir, "interface": interface}
    )
    if os.geteuid() != 0:
        raise NotPermitted("Only root may close this machine: run as root")
    chosen = None
    if settings.state_dir.exists():
        with closing(StateDirectory(settings.state_dir)) as state:
            chosen = asyncio.run(exits.hold(settings.interface, state))
    if chosen is None:
        echo("No exit is used, so nothing is held back.")
    else:
        echo(f"Nothing leaves this machine beside the exit {chosen.name}.")


def render(report: dict[str, Any], size: int) -> list[str]:
    """Return the lines that a person sees.

    :param size: columns of a line.
    """
    lines = _table(report["exits"], size)
    using = report["using"]
    if using is None:
        return [*lines, "No exit is used."]
    name = using["name"]
    text = f"The internet is reached through {name} only."
    if using["state"] == "away":
        reason = click.style(using["reason"], fg="red")
        text = f"Nothing gets to the internet: {reason}. 'meshwg exit off' ends that."
    if using["lan"]:
        text += " Private networks of this machine's own links are reached, too."
    return [*lines, *wrap(text, size)]


def _table(exits: list[dict[str, Any]], size: int) -> list[str]:
    if not exits:
        text = (
            "This mesh has no approved exit: start a node with --exit, and approve it "
            "with 'meshwg-coordinator route approve NAME exit'."
        )
        return wrap(text, size)
    rest = [("STATE", "PATH", "RTT", "ADDRESS"), *map(_cells, exits)]
    taken = max(map(len, columns(rest)))
    room = max(size - 2 - taken, MIN_NAME)
    names = ["EXIT", *(shortened(each["name"], room) for each in exits)]
    head, *lines = columns(
        [(name, *cells) for name, cells in zip(names, rest, strict=True)]
    )
    return [click.style(head, bold=True), *lines, ""]


def _cells(each: dict[str, Any]) -> tuple[str, str, str, str]:
    path = each["path"]
    state = "online" if each["online"] else "offline"
    if each["in_use"]:
        state = f"in use, {state}"
    kind = "-" if path["kind"] == "none" else str(path["kind"])
    rtt = milliseconds_text(path["rtt_ms"])
    return state, kind, rtt, next(iter(each["addresses"]), "-")
