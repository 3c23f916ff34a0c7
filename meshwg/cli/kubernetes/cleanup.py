"""``meshwg-k8s cleanup``: takes away what an agent left for the pods of a machine."""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshwg.errors import MeshError

if TYPE_CHECKING:
    from meshwg.runtime.kubernetes.podmachine import PodMachine

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
    had_list = asyncio.run(_clean_up(machine))
    click.echo("Removed the pods' network." if had_list else "There was none.")


async def _clean_up(machine: "PodMachine") -> bool:
    from meshwg.kubernetes.flannel import rules_removal
    from meshwg.runtime.nft import nft

    had_list = await machine.unconfigure()
    with contextlib.suppress(MeshError):
        await nft(rules_removal())
    return had_list
