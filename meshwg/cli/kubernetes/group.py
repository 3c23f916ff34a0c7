"""The ``meshwg-k8s`` command line: commands that need the extra ``kubernetes``."""

from collections.abc import Sequence

import click

from meshwg import __version__
from meshwg.cli import program
from meshwg.cli.program import LazyGroup
from meshwg.errors import ConfigError

COMMANDS = {
    "agent": "meshwg.cli.kubernetes.agent:agent",
    "vip": "meshwg.cli.kubernetes.vip:vip",
    "manifest": "meshwg.cli.kubernetes.manifest:manifest_",
    "cleanup": "meshwg.cli.kubernetes.cleanup:cleanup",
}
OPTIONAL = ("lightkube", "httpx2", "msgspec", "yaml")
"""Packages that only this program needs."""


@click.group(cls=LazyGroup, places=COMMANDS)
@click.version_option(__version__, prog_name="meshwg-k8s")
def meshwg_k8s() -> None:
    """Be the network of a Kubernetes cluster whose nodes may be behind NATs."""


def run(arguments: Sequence[str] | None) -> None:
    """Run a command; end with the exit status of its kind of error."""
    program.run(meshwg_k8s, "meshwg-k8s", arguments)


def missing(error: ModuleNotFoundError) -> ConfigError:
    """Return what to tell the user whose installation lacks a package.

    :raises ModuleNotFoundError: if it is none that may be missing.
    """
    if error.name is None or error.name.partition(".")[0] not in OPTIONAL:
        raise error
    return ConfigError(
        f"The Python package {error.name} is missing: install this program with "
        "pip install 'meshwg[kubernetes]'"
    )
