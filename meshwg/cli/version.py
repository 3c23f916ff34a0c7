"""``meshwg version``: of this program, and of the daemon."""

import json

import click

from meshwg import __version__
from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.errors import MeshError


@click.command()
@json_option
@control_socket_option
def version(as_json: bool, control_socket: str) -> None:
    """Print the version, and the daemon's if that differs."""
    try:
        report = DaemonClient(control_socket, timeout=2.0).get("/v1/status")
        daemon = report["self"].get("version")
    except (MeshError, KeyError):
        daemon = None
    if as_json:
        click.echo(json.dumps({"schema": 1, "version": __version__, "daemon": daemon}))
        return
    click.echo(f"meshwg {__version__}")
    if daemon not in (None, __version__):
        click.echo(f"daemon {daemon}: restart it to use this version")
