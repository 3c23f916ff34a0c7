"""``meshwg down``: stop the daemon cleanly."""

import time

import click

from meshwg.cli.client import DaemonClient, control_socket_option
from meshwg.errors import DaemonNotRunning, MeshError

PATIENCE = 15.0
"""Seconds for the daemon to stop."""


@click.command()
@control_socket_option
def down(control_socket: str) -> None:
    """Stop the daemon: its interface, addresses and routes go with it."""
    client = DaemonClient(control_socket)
    client.post("/v1/down")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            client.get("/v1/status")
        except DaemonNotRunning:
            return
        except MeshError:
            # It is stopping, and no longer answers.
            pass
        time.sleep(0.05)
    raise MeshError(
        f"The daemon has not stopped within {PATIENCE:.0f} s: look at its log"
    )
