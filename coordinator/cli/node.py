"""``meshwg-coordinator node``: the members of the mesh."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import (
    database_options,
    echo_fitted,
    echo_json,
    json_option,
    open_mesh,
    run,
    time_text,
)
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Expire, Operation, Remove, Rename
from coordinator.mesh.records import node_record

LAYOUTS = (
    ("NAME", "STATE", "ADDRESSES", "ROLE", "SEEN", "PUBLIC KEY"),
    ("NAME", "STATE", "ADDRESSES", "ROLE", "SEEN"),
    ("NAME", "STATE", "ADDRESS", "ROLE", "SEEN"),
    ("NAME", "STATE", "ADDRESS"),
)
"""Columns of the list, for terminals from the widest to the narrowest."""


@click.group()
def node() -> None:
    """List, rename, expire and remove nodes."""


@node.command("list")
@database_options
@json_option
def list_(
    config: Path | None, data_dir: Path | None, database: str | None, as_json: bool
) -> None:
    """Show all nodes."""

    async def show() -> None:
        async with open_mesh(config, data_dir, database) as mesh:
            registry = await mesh.registry()
        networks = registry.networks
        nodes = sorted(registry.nodes.values(), key=lambda each: each.name)
        if as_json:
            echo_json({"nodes": [node_record(each, networks) for each in nodes]})
        else:
            tables = [
                (layout, [_row(each, networks, layout) for each in nodes])
                for layout in LAYOUTS
            ]
            echo_fitted(tables, "No node has joined yet.")

    run(show())


@node.command()
@click.argument("name")
@click.argument("new_name")
@database_options
@json_option
def rename(name: str, new_name: str, as_json: bool, **where: Any) -> None:
    """Give a node another name. NAME may also be its public key."""
    _perform(Rename(name, new_name), "is the new name", as_json, where)


@node.command()
@click.argument("name")
@database_options
@json_option
def expire(name: str, as_json: bool, **where: Any) -> None:
    """Make a node join anew; it keeps its addresses."""
    _perform(Expire(name), "has to join again with a new token", as_json, where)


@node.command()
@click.argument("name")
@database_options
@json_option
def remove(name: str, as_json: bool, **where: Any) -> None:
    """Make a node no member any more; its addresses become free."""
    _perform(Remove(name), "is removed", as_json, where)


def _perform(
    operation: Operation, said: str, as_json: bool, where: dict[str, Any]
) -> None:
    async def store() -> None:
        async with open_mesh(**where) as mesh:
            accepted = await mesh.perform(operation)
            networks = (await mesh.registry()).networks
        assert accepted.node is not None
        if as_json:
            echo_json({"node": node_record(accepted.node, networks)})
        else:
            click.echo(f"{accepted.node.name} {said}.")

    run(store())


def _row(each: Node, networks: Networks, layout: Sequence[str]) -> tuple[str, ...]:
    state = "expired" if each.expired else "online" if each.online else "offline"
    addresses = networks.addresses(each.number)
    cells = {
        "NAME": each.name,
        "STATE": state,
        "ADDRESSES": " ".join(addresses),
        "ADDRESS": addresses[0] if addresses else "-",
        "ROLE": f"{each.role}, ephemeral" if each.ephemeral else each.role,
        "SEEN": time_text(each.seen),
        "PUBLIC KEY": each.key,
    }
    return tuple(cells[head] for head in layout)
