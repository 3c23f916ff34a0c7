"""``meshwg-k8s cleanup``: takes away what an agent left for the pods of a machine."""

import asyncio
from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "--cni-dir",
    type=PATH,
    default=Path("/etc/cni/net.d"),
    metavar="DIR",
    help="Of network lists. Default: /etc/cni/net.d.",
)
@click.option(
    "--replaced",
    multiple=True,
    metavar="NAME",
    help="A list of another program to put back, as 10-flannel.conflist.",
)
def cleanup(cni_dir: Path, replaced: tuple[str, ...]) -> None:
    """Remove the network list and the rules, after the agent has stopped for good.

    Pods that run keep their interfaces until they end.
    """
    from meshwg.kubernetes.networklist import BRIDGE
    from meshwg.runtime.kubernetes.podmachine import PodMachine

    machine = PodMachine(cni_dir, BRIDGE, "", replaced)
    had_list = asyncio.run(machine.unconfigure())
    click.echo("Removed the pods' network." if had_list else "There was none.")
