"""``meshwg-coordinator``: the server and its administration.

Each command is imported only when it is used. ``token``, ``node``, ``route``, ``peer``
and ``dns`` work on the database and ``key`` on files, so they need no running server;
one that runs notices within a second. With ``--server`` the former ask one that runs
elsewhere.
"""

from collections.abc import Sequence

import click

from meshwg import __version__
from meshwg.cli.program import LazyGroup, run
from meshwg.errors import MeshError

ENVIRONMENT = "MESHWG_COORDINATOR"
"""Of environment variables: ``--data-dir`` is ``MESHWG_COORDINATOR_DATA_DIR``."""

COMMANDS = {
    "serve": "coordinator.cli.serve:serve",
    "token": "coordinator.cli.token:token",
    "apitoken": "coordinator.cli.apitoken:apitoken",
    "node": "coordinator.cli.node:node",
    "route": "coordinator.cli.route:route",
    "peer": "coordinator.cli.peer:peer",
    "dns": "coordinator.cli.dns:dns",
    "key": "coordinator.cli.key:key",
    "user": "coordinator.cli.user:user",
    "policy": "coordinator.cli.policy:policy",
    "audit": "coordinator.cli.audit:audit",
    "relay": "coordinator.cli.relay:relay",
    "config": "coordinator.cli.config:config",
    "backup": "coordinator.cli.backup:backup",
    "restore": "coordinator.cli.backup:restore",
}


class CoordinatorGroup(LazyGroup):
    """The commands, whose options can also be set in the environment."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        try:
            command = super().get_command(ctx, cmd_name)
        except ModuleNotFoundError as error:
            raise MeshError(
                f"The Python package {error.name} is missing; install the coordinator "
                "with: pip install 'meshwg[coordinator]'"
            ) from None
        if command is not None:
            _name_environment(command)
        return command


def _name_environment(command: click.Command) -> None:
    """Let a command's options have one variable each, without the command's name."""
    command.context_settings["auto_envvar_prefix"] = ENVIRONMENT
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _name_environment(inner)


@click.group(cls=CoordinatorGroup, places=COMMANDS)
@click.version_option(__version__, prog_name="meshwg-coordinator")
def coordinator() -> None:
    """Coordinate a private network of your own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end with 0 done, 1 failed, 2 wrong usage or 5 not permitted."""
    run(coordinator, "meshwg-coordinator", arguments)
