"""The ``meshwg`` command line: a group of commands, each imported when it is used."""

from collections.abc import Sequence

import click

from meshwg import __version__
from meshwg.cli import program
from meshwg.cli.program import LazyGroup

COMMANDS = {
    "node": "meshwg.cli.node:node",
    "join": "meshwg.cli.join:join",
    "up": "meshwg.cli.down:up",
    "down": "meshwg.cli.down:down",
    "leave": "meshwg.cli.leave:leave",
    "status": "meshwg.cli.status:status",
    "ping": "meshwg.cli.ping:ping",
    "ip": "meshwg.cli.ip:ip",
    "whois": "meshwg.cli.ip:whois",
    "dns": "meshwg.cli.dns:dns",
    "exit": "meshwg.cli.exit:exit_",
    "route": "meshwg.cli.route:route",
    "trust": "meshwg.cli.trust:trust",
    "why": "meshwg.cli.why:why",
    "doctor": "meshwg.cli.doctor:doctor",
    "netcheck": "meshwg.cli.netcheck:netcheck",
    "bugreport": "meshwg.cli.bugreport:bugreport",
    "cleanup": "meshwg.cli.cleanup:cleanup",
    "completion": "meshwg.cli.completion:completion",
    "version": "meshwg.cli.version:version",
}
SECTIONS = {
    "The node": ("node", "join", "up", "down", "leave"),
    "The mesh": (
        *("status", "ping", "ip", "whois", "dns"),
        *("route", "exit", "trust"),
    ),
    "Finding faults": ("why", "doctor", "netcheck", "bugreport", "cleanup"),
    "This program": ("completion", "version"),
}
"""What ``--help`` shows, and in which order."""


@click.group(cls=LazyGroup, places=COMMANDS, sections=SECTIONS)
@click.version_option(__version__, prog_name="meshwg")
def meshwg() -> None:
    """Join this machine to a private network of your own."""


def run(arguments: Sequence[str] | None) -> None:
    """Run a command; end with the exit status of its kind of error."""
    program.run(meshwg, "meshwg", arguments)
