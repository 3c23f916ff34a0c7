"""``meshwg leave``: give up the membership."""

from pathlib import Path

import click

from meshwg.cli.client import DaemonClient, control_socket_option
from meshwg.cli.down import PATIENCE, state_dir_option, wait_until
from meshwg.errors import DaemonNotRunning, MeshError, NotJoined

UNTOLD = (
    "The coordinator could not be told: remove this node there with "
    "'meshwg-coordinator node remove'."
)


@click.command()
@state_dir_option
@control_socket_option
def leave(state_dir: Path, control_socket: str) -> None:
    """Leave the mesh for good, and forget all about it.

    The membership is given up, and the daemon ends. To join again, get a new token.
    """
    client = DaemonClient(control_socket)
    try:
        told = client.post("/v1/leave").get("told", False)
    except DaemonNotRunning:
        _forget(state_dir)
        told = False
    else:
        if not wait_until(lambda: _is_gone(client)):
            raise MeshError(
                f"The daemon has not stopped within {PATIENCE:.0f} s: look at its log"
            )
    click.echo("This node has left its mesh.")
    if not told:
        click.echo(UNTOLD)


def _is_gone(client: DaemonClient) -> bool:
    try:
        client.get("/v1/status")
    except DaemonNotRunning:
        return True
    except MeshError:
        # It is stopping, and no longer answers.
        pass
    return False


def _forget(state_dir: Path) -> None:
    """Forget the mesh while no daemon runs.

    :raises NotJoined: if there is none.
    """
    from meshwg.runtime.state import StateDirectory

    if not state_dir.exists():
        raise NotJoined(f"This node belongs to no mesh: {state_dir} does not exist")
    state = StateDirectory(state_dir)
    try:
        if state.membership() is None:
            raise NotJoined(f"This node belongs to no mesh: {state_dir} names none")
        state.forget()
    finally:
        state.close()
