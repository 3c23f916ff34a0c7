"""``meshwg-coordinator``: the server and its administration.

Each command is imported only when it is used. ``token`` and ``node`` work on the
database, so they need no running server; one that runs notices within a second.
"""

import importlib
import sys
from collections.abc import Sequence

import click

from meshwg import __version__
from meshwg.errors import MeshError

ENVIRONMENT = "MESHWG_COORDINATOR"
"""Of environment variables: ``--data-dir`` is ``MESHWG_COORDINATOR_DATA_DIR``."""

COMMANDS = {
    "serve": "coordinator.cli.serve:serve",
    "token": "coordinator.cli.token:token",
    "node": "coordinator.cli.node:node",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise MeshError(
                f"The Python package {error.name} is missing; install the coordinator "
                "with: pip install 'meshwg[coordinator]'"
            ) from None
        _name_environment(command)
        return command


def _name_environment(command: click.Command) -> None:
    """Let a command's options have one variable each, without the command's name."""
    command.context_settings["auto_envvar_prefix"] = ENVIRONMENT
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _name_environment(inner)


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="meshwg-coordinator")
def coordinator() -> None:
    """Coordinate a private network of your own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end with 0 done, 1 failed, 2 wrong usage or 5 not permitted."""
    try:
        coordinator.main(
            arguments, prog_name="meshwg-coordinator", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except MeshError as error:
        click.echo(f"meshwg-coordinator: {error}", err=True)
        sys.exit(error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has closed it.
        sys.stdout = None
        sys.exit(1)
