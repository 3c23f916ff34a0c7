"""What command lines share: commands that are imported late, and how they end."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from meshwg.cli.startup import kept
from meshwg.errors import MeshError


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    The help of a command is read from it too, so ``--help`` pays for all of them.

    :param places: where each command is, as ``module:attribute``.
    :param sections: the commands by what they are for, if ``--help`` groups them.
    """

    def __init__(
        self,
        *arguments: Any,
        places: Mapping[str, str],
        sections: Mapping[str, Sequence[str]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self._places = places
        self._sections = sections or {"Commands": tuple(places)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name].partition(":")
        with kept():
            found = importlib.import_module(module)
        command: click.Command = getattr(found, attribute)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands below the heading of each section."""
        widest = max(map(len, self._places), default=0)
        for heading, names in self._sections.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                if command is not None:
                    help_ = command.get_short_help_str(limit=80)
                    rows.append((name.ljust(widest), help_))
            with formatter.section(heading):
                formatter.write_dl(rows)


def run(group: click.Group, name: str, arguments: Sequence[str] | None) -> NoReturn:
    """Run a command; end with the exit status of its kind of error.

    :param name: the program's.
    """
    try:
        status = group.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except MeshError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has closed it.
        sys.stdout = None
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
