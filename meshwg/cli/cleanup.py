"""``meshwg cleanup``: undo what a killed node left in the system."""

from pathlib import Path

import click

from meshwg.cli.down import state_dir_option
from meshwg.errors import NotPermitted


@click.command()
@state_dir_option
def cleanup(state_dir: Path) -> None:
    """Undo what a killed node has left in the system.

    That are rules, routes, forwarding and name servers. The next start of the node
    does the same. What belongs to a node that runs is left alone.
    """
    import asyncio
    import os

    from meshwg.runtime.cleanup import clean_up

    if os.geteuid() != 0:
        raise NotPermitted("Only root may change the system's network: run as root")
    undone = asyncio.run(clean_up(state_dir))
    for each in undone:
        click.echo(each)
    if not undone:
        click.echo("There is nothing to undo.")
