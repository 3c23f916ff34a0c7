"""The ``meshwg`` command line: a group of commands, each imported when it is used."""

from collections.abc import Sequence

import click

from meshwg import __version__
from meshwg.cli import program
from meshwg.cli.program import LazyGroup

COMMANDS = {
    "node": "meshwg.cli.node:node",
    "join": "meshwg.cli.join:join",
    "status": "meshwg.cli.status:status",
    "netcheck": "meshwg.cli.netcheck:netcheck",
    "ping": "meshwg.cli.ping:ping",
    "down": "meshwg.cli.down:down",
}


@click.group(cls=LazyGroup, places=COMMANDS)
@click.version_option(__version__, prog_name="meshwg")
def meshwg() -> None:
    """Join this machine to a private network of your own."""


def run(arguments: Sequence[str] | None) -> None:
    """Run a command; end with the exit status of its kind of error."""
    program.run(meshwg, "meshwg", arguments)
