"""``meshwg-coordinator node``: the members of the mesh."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import (
    Mesh,
    database_options,
    echo_fitted,
    echo_json,
    identity_text,
    json_option,
    open_mesh,
    run,
    time_text,
)
from coordinator.mesh.approvals import EXIT, HUB
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Approve,
    Assign,
    Expire,
    Operation,
    Refuse,
    Remove,
    Rename,
    RevokeAuthKey,
)
from coordinator.mesh.records import auth_key_record, node_record
from meshwg.cli.table import terminal_width, wrap
from meshwg.errors import ConfigError

LAYOUTS = (
    ("NAME", "STATE", "ADDRESSES", "ROLE", "SEEN", "PUBLIC KEY"),
    ("NAME", "STATE", "ADDRESSES", "ROLE", "SEEN"),
    ("NAME", "STATE", "ADDRESS", "ROLE", "SEEN"),
    ("NAME", "STATE", "ADDRESS"),
)
"""Columns of the list, for terminals from the widest to the narrowest."""

MAX_WAITING = 3
"""Items of one node that the list tells of."""
MENDS = {
    EXIT: "'meshwg-coordinator route approve {name} exit' lets it.",
    HUB: "'meshwg-coordinator node approve {name} --hub' lets it.",
}
PINNED = (
    "Nodes have pinned its key: if another machine, or a new key, is to be called "
    "{name}, each of them holds that until 'meshwg trust accept {name}' there."
)


@click.group()
def node() -> None:
    """List, rename, tag, approve, expire and remove nodes."""


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
            _echo_waiting(nodes)

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
@click.argument("tags", nargs=-1)
@click.option("--owner", metavar="USER", help="Whose it is; empty for nobody's.")
@database_options
@json_option
def tag(
    name: str, tags: tuple[str, ...], owner: str | None, as_json: bool, **where: Any
) -> None:
    """Say what a node is to policies: these TAGS and no others, and whose it is."""

    async def store() -> None:
        async with open_mesh(**where) as mesh:
            registry = await mesh.registry()
            known = registry.nodes.get(registry.names.get(name, name))
            whose = "" if known is None else known.owner
            listed = tuple(dict.fromkeys(tags))
            operation = Assign(name, whose if owner is None else owner, listed)
            assigned = (await mesh.perform(operation)).node
            assert assigned is not None
        if as_json:
            echo_json({"node": node_record(assigned, registry.networks)})
        else:
            identity = identity_text(assigned.owner, assigned.tags)
            click.echo(f"{assigned.name} is {identity} to policies.")

    run(store())


@node.command()
@click.argument("name")
@click.option("--hub", is_flag=True, help="Its wish to be a hub.")
@database_options
@json_option
def approve(name: str, hub: bool, as_json: bool, **where: Any) -> None:
    """Approve a node's wish to be a hub, which forwards between others."""
    _require_hub(hub)
    _perform(Approve(name, HUB), "may be a hub", as_json, where)


@node.command()
@click.argument("name")
@click.option("--hub", is_flag=True, help="Its wish to be a hub.")
@database_options
@json_option
def refuse(name: str, hub: bool, as_json: bool, **where: Any) -> None:
    """Refuse a node's wish to be a hub, also if that was approved before."""
    _require_hub(hub)
    _perform(Refuse(name, HUB), "is no hub", as_json, where)


@node.command()
@click.argument("name")
@database_options
@json_option
def expire(name: str, as_json: bool, **where: Any) -> None:
    """Make a node join anew; it keeps its addresses."""
    _perform(Expire(name), "has to join again with a new token", as_json, where)


@node.command()
@click.argument("name")
@click.option(
    "--revoke-token/--keep-token",
    default=None,
    help="Also revoke the token that let it in, or not; else you are asked.",
)
@database_options
@json_option
def remove(name: str, revoke_token: bool | None, as_json: bool, **where: Any) -> None:
    """Make a node no member any more; its addresses become free."""

    async def store() -> None:
        async with open_mesh(**where) as mesh:
            removed = (await mesh.perform(Remove(name))).node
            assert removed is not None
            networks = (await mesh.registry()).networks
            key = await _token_of(mesh, removed)
            if not as_json:
                click.echo(f"{removed.name} is removed.{_said_of(key)}")
                if not removed.ephemeral:
                    click.echo(PINNED.format(name=removed.name), err=True)
            if key is not None and _is_to_be_revoked(key, revoke_token, as_json):
                key = (await mesh.perform(RevokeAuthKey(key.number))).auth_key
                assert key is not None
                if not as_json:
                    click.echo(f"Token {key.number} is revoked.")
        if as_json:
            token = None if key is None else auth_key_record(key, time.time())
            echo_json({"node": node_record(removed, networks), "token": token})

    run(store())


async def _token_of(mesh: Mesh, node: Node) -> AuthKey | None:
    keys = await mesh.store.auth_keys()
    return next((key for key in keys if key.number == node.auth_key), None)


def _lets_in(key: AuthKey) -> bool:
    return key.state(time.time()) == "valid"


def _said_of(key: AuthKey | None) -> str:
    if key is None or not _lets_in(key):
        return ""
    return (
        f" It joined with token {key.number}, which lets nodes in until "
        f"{time_text(key.expires)}; 'meshwg-coordinator token revoke {key.number}' "
        "ends that."
    )


def _is_to_be_revoked(key: AuthKey, asked: bool | None, as_json: bool) -> bool:
    if asked is not None or not _lets_in(key):
        return bool(asked)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return click.confirm(f"Revoke token {key.number}?", default=False)


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


def _require_hub(hub: bool) -> None:
    """Leave room for what else may wait for an approval.

    :raises ConfigError: without the option.
    """
    if not hub:
        raise ConfigError(
            "Members need no approval in this mesh, but hubs, networks and exits do: "
            "add --hub, or use 'meshwg-coordinator route'"
        )


def _echo_waiting(nodes: Sequence[Node]) -> None:
    """Say under the list what nodes offer and others are not told of."""
    for each in nodes:
        wishes = [state for state in each.withheld if not each.expired]
        for state in wishes[:MAX_WAITING]:
            if state.item in (EXIT, HUB):
                what = "an exit" if state.item == EXIT else "a hub"
                mend = MENDS[state.item].format(name=each.name)
                text = f"{each.name} wants to be {what}: {state.reason}. {mend}"
            else:
                text = f"{each.name} offers {state.item}: {state.reason}."
            click.echo("\n".join(wrap(text, terminal_width())))
        if wishes[MAX_WAITING:]:
            click.echo(
                f"{len(wishes) - MAX_WAITING} more of {each.name} wait: see "
                "'meshwg-coordinator route list'."
            )


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
