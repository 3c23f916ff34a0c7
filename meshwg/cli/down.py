"""``meshwg down`` and ``meshwg up``: disconnect and connect, and remember it."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option
from meshwg.errors import DaemonNotRunning, MeshError

PATIENCE = 15.0
"""Seconds for the daemon to stop, or to be up."""
SERVICE = "meshwg.service"

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/meshwg"),
    envvar="MESHWG_STATE_DIR",
    show_default=True,
    metavar="DIR",
    help="Where the node keeps what it remembers.",
)


@click.command()
@control_socket_option
def down(control_socket: str) -> None:
    """Disconnect, and stay down after restarts.

    The daemon ends, or says that it is down if the service manager starts it again. Its
    interface, addresses and routes go with it. 'meshwg up' connects it again.
    """
    client = DaemonClient(control_socket)
    client.post("/v1/down")
    if not wait_until(lambda: is_gone_or(client, "down")):
        raise MeshError(
            f"The daemon has not stopped within {PATIENCE:.0f} s: look at its log"
        )


@click.command()
@state_dir_option
@control_socket_option
def up(state_dir: Path, control_socket: str) -> None:
    """Connect again after 'meshwg down', and stay up."""
    client = DaemonClient(control_socket)
    try:
        client.post("/v1/up")
    except DaemonNotRunning as error:
        _begin(state_dir, error)
    if not wait_until(lambda: _state(client) == "up"):
        raise MeshError(
            f"The node is not up after {PATIENCE:.0f} s: look at the daemon's log"
        )
    own = client.get("/v1/status")["self"]
    addresses = ", ".join(own["addresses"]) or "no address yet"
    click.echo(f"{own['name']} is up: {addresses}")


def _begin(state_dir: Path, error: DaemonNotRunning) -> None:
    """Have the service manager start the daemon, which is to be up.

    :raises DaemonNotRunning: if there is no service to start.
    """
    remembered = (state_dir / "down").exists() and os.access(state_dir, os.W_OK)
    if remembered:
        (state_dir / "down").unlink(missing_ok=True)
    if os.geteuid() == 0 and start_service():
        return
    if remembered:
        raise DaemonNotRunning(
            "The node is to be up from now on, but its daemon is not running: start "
            "it with 'meshwg node'"
        ) from None
    raise error


def start_service() -> bool:
    """Start the daemon's service, if there is one; tell whether there is."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").is_dir():
        return False
    done = subprocess.run(
        [systemctl, "start", SERVICE], capture_output=True, check=False
    )
    return done.returncode == 0


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; tell whether it came about."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def is_gone_or(client: DaemonClient, state: str) -> bool:
    """Tell whether the daemon has ended, or is in a state now."""
    try:
        return _own(client).get("state") == state
    except DaemonNotRunning:
        return True
    except MeshError:
        # It is stopping, and no longer answers.
        return False


def _state(client: DaemonClient) -> str:
    try:
        return str(_own(client).get("state", "up"))
    except MeshError:
        # One daemon makes room for the next.
        return ""


def _own(client: DaemonClient) -> dict[str, Any]:
    return client.get("/v1/status").get("self") or {}
