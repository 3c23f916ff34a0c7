"""``meshwg join``: become a member of a mesh."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.secrets import read_secret
from meshwg.cli.table import echo
from meshwg.errors import ConfigError, DaemonNotRunning
from meshwg.wire.token import JoinToken

ANSWER_LIMIT = 60.0
"""Seconds to wait for a daemon that joins."""


@click.command(context_settings={"auto_envvar_prefix": "MESHWG"})
@click.argument(
    "token", default="-", envvar="MESHWG_JOIN", metavar="[TOKEN | @FILE | -]"
)
@click.option(
    "--config",
    "config_file",
    envvar="MESHWG_CONFIG",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The node's TOML file.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Default: /var/lib/meshwg.",
)
@click.option("--name", metavar="NAME", help="Default: the host's name.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=20.0,
    show_default=True,
    help="Seconds to wait for the coordinator.",
)
@click.option(
    "--new-key",
    is_flag=True,
    help="The coordinator of this node's mesh has another key now, the token's.",
)
@json_option
@control_socket_option
def join(
    token: str,
    config_file: Path | None,
    state_dir: Path | None,
    name: str | None,
    timeout: float,
    new_key: bool,
    as_json: bool,
    control_socket: str,
) -> None:
    """Join a mesh, so that 'meshwg node' needs no token.

    The token comes from a FILE, or from the input, which is asked for at a terminal.
    A daemon that runs joins itself: after its mesh was restored, for instance.
    """
    secret = read_secret(token, "join token")
    if secret.startswith(("http://", "https://")):
        raise ConfigError(
            "This coordinator's nodes join by a token: get one with "
            "'meshwg-coordinator token create'"
        )
    JoinToken.parse(secret)
    try:
        daemon = DaemonClient(control_socket, timeout + ANSWER_LIMIT)
        request: dict[str, Any] = {"token": secret, "timeout": timeout}
        if new_key:
            request["new_key"] = True
        answer, runs = daemon.post("/v1/join", request), True
    except DaemonNotRunning:
        options = {"state_dir": state_dir, "name": name, "join": secret}
        answer = _join_alone(config_file, options, timeout, new_key=new_key)
        runs = False
    if as_json:
        click.echo(json.dumps({"schema": 1, **answer, "running": runs}))
        return
    echo(f"Joined as {answer['name']}: {' '.join(answer['addresses'])}")
    if not runs:
        echo("Start the node with 'systemctl start meshwg', or 'meshwg node'.")


def _join_alone(
    config_file: Path | None,
    options: dict[str, Any],
    timeout: float,
    *,
    new_key: bool,
) -> dict[str, Any]:
    from meshwg.config import load
    from meshwg.runtime.joining import join as join_alone

    config = load(config_file, options)
    registered = asyncio.run(join_alone(config, timeout, new_key=new_key))
    return {"name": registered.name, "addresses": list(registered.addresses)}
