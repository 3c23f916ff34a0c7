"""The ``meshwg`` command line: a group of commands, each imported when it is used."""

import importlib
import sys
from collections.abc import Sequence

import click

from meshwg import __version__
from meshwg.errors import MeshError

COMMANDS = {
    "node": "meshwg.cli.node:node",
    "status": "meshwg.cli.status:status",
    "netcheck": "meshwg.cli.netcheck:netcheck",
    "ping": "meshwg.cli.ping:ping",
    "down": "meshwg.cli.down:down",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    The help of a command is read from it too, so ``--help`` pays for all of them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="meshwg")
def meshwg() -> None:
    """Join this machine to a private network of your own."""


def run(arguments: Sequence[str] | None) -> None:
    """Run a command; end with the exit status of its kind of error."""
    try:
        status = meshwg.main(arguments, prog_name="meshwg", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except MeshError as error:
        click.echo(f"meshwg: {error}", err=True)
        sys.exit(error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has closed it.
        sys.stdout = None
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
