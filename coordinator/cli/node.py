"""``meshwg-coordinator node``: the members of the mesh."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from coordinator.administration.problems import Problem, Trouble
from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    identity_text,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import Desk, Record, open_desk
from coordinator.mesh.approvals import EXIT, HUB
from coordinator.policy.selectors import PLAIN
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
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all nodes."""

    async def show() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-nodes")
        nodes: list[Record] = answer["nodes"]
        if as_json:
            echo_json(answer)
            return
        tables = [
            (layout, [_row(each, layout) for each in nodes]) for layout in LAYOUTS
        ]
        echo_fitted(tables, "No node has joined yet.")
        _echo_waiting(nodes)

    run(show())


@node.command()
@click.argument("name")
@click.argument("new_name")
@administration_options
@json_option
def rename(name: str, new_name: str, as_json: bool, **where: Any) -> None:
    """Give a node another name. NAME may also be its public key."""

    async def store() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("change-node", node=name, body={"name": new_name})
        _echo_node(answer, "is the new name", as_json)

    run(store())


@node.command()
@click.argument("name")
@click.argument("tags", nargs=-1)
@click.option("--owner", metavar="USER", help="Whose it is; empty for nobody's.")
@administration_options
@json_option
def tag(
    name: str, tags: tuple[str, ...], owner: str | None, as_json: bool, **where: Any
) -> None:
    """Say what a node is to policies: these TAGS and no others, and whose it is."""

    async def store() -> None:
        change = {"owner": owner, "tags": list(dict.fromkeys(tags))}
        async with open_desk(**where) as desk:
            answer = await desk.ask("change-node", node=name, body=change)
        node = answer["node"]
        if as_json:
            echo_json(answer)
        else:
            identity = identity_text(node["owner"] or "", node["tags"])
            click.echo(f"{node['name']} is {identity} to policies.")

    run(store())


@node.command()
@click.argument("name")
@click.option("--hub", is_flag=True, help="Its wish to be a hub.")
@administration_options
@json_option
def approve(name: str, hub: bool, as_json: bool, **where: Any) -> None:
    """Approve a node's wish to be a hub, which forwards between others."""
    _require_hub(hub)
    _decide_on_hub("approve-route", name, "may be a hub", as_json, where)


@node.command()
@click.argument("name")
@click.option("--hub", is_flag=True, help="Its wish to be a hub.")
@administration_options
@json_option
def refuse(name: str, hub: bool, as_json: bool, **where: Any) -> None:
    """Refuse a node's wish to be a hub, also if that was approved before."""
    _require_hub(hub)
    _decide_on_hub("refuse-route", name, "is no hub", as_json, where)


@node.command()
@click.argument("name")
@administration_options
@json_option
def expire(name: str, as_json: bool, **where: Any) -> None:
    """Make a node join anew; it keeps its addresses."""

    async def store() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("expire-node", node=name)
        _echo_node(answer, "has to join again with a new token", as_json)

    run(store())


@node.command()
@click.argument("name")
@click.option(
    "--revoke-token/--keep-token",
    default=None,
    help="Also revoke the token that let it in, or not; else you are asked.",
)
@administration_options
@json_option
def remove(name: str, revoke_token: bool | None, as_json: bool, **where: Any) -> None:
    """Make a node no member any more; its addresses become free."""

    async def store() -> None:
        async with open_desk(**where) as desk:
            removed = (await desk.ask("remove-node", node=name))["node"]
            key = await _token_of(desk, removed)
            if not as_json:
                click.echo(f"{removed['name']} is removed.{_said_of(key)}")
                if not removed["ephemeral"]:
                    click.echo(PINNED.format(name=removed["name"]), err=True)
            if key is not None and _is_to_be_revoked(key, revoke_token, as_json):
                key = await desk.ask("revoke-token", number=key["id"])
                if not as_json:
                    click.echo(f"Token {key['id']} is revoked.")
        if as_json:
            echo_json({"node": removed, "token": key})

    run(store())


async def _token_of(desk: Desk, node: Record) -> Record | None:
    """Return the token that let a node in, if that is known and still there."""
    if not node["token"]:
        return None
    try:
        return await desk.ask("show-token", number=node["token"])
    except Problem as problem:
        if problem.trouble not in (Trouble.UNKNOWN, Trouble.NOT_PERMITTED):
            raise
    return None


def _lets_in(key: Record) -> bool:
    return bool(key["state"] == "valid")


def _said_of(key: Record | None) -> str:
    if key is None or not _lets_in(key):
        return ""
    return (
        f" It joined with token {key['id']}, which lets nodes in until "
        f"{time_text(key['expires'])}; 'meshwg-coordinator token revoke {key['id']}' "
        "ends that."
    )


def _is_to_be_revoked(key: Record, asked: bool | None, as_json: bool) -> bool:
    if asked is not None or not _lets_in(key):
        return bool(asked)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return click.confirm(f"Revoke token {key['id']}?", default=False)


def _decide_on_hub(
    what: str, name: str, said: str, as_json: bool, where: dict[str, Any]
) -> None:
    async def store() -> None:
        async with open_desk(**where) as desk:
            await desk.ask(what, body={"node": name, "prefix": HUB})
            answer = await desk.ask("show-node", node=name)
        _echo_node(answer, said, as_json)

    run(store())


def _echo_node(answer: Record, said: str, as_json: bool) -> None:
    if as_json:
        echo_json(answer)
    else:
        click.echo(f"{answer['node']['name']} {said}.")


def _require_hub(hub: bool) -> None:
    """Leave room for what else may wait for an approval.

    :raises ConfigError: without the option.
    """
    if not hub:
        raise ConfigError(
            "Members need no approval in this mesh, but hubs, networks and exits do: "
            "add --hub, or use 'meshwg-coordinator route'"
        )


def _echo_waiting(nodes: Sequence[Record]) -> None:
    """Say under the list what nodes offer and others are not told of."""
    for each in nodes:
        name, wishes = each["name"], [] if each["expired"] else each["waiting"]
        for state in wishes[:MAX_WAITING]:
            item, reason = state["item"], state["reason"]
            text = f"{name} offers {item}: {reason}."
            if item in MENDS:
                what = "an exit" if item == EXIT else "a hub"
                mend = MENDS[item].format(name=name)
                text = f"{name} wants to be {what}: {reason}. {mend}"
            click.echo("\n".join(wrap(text, terminal_width())))
        if wishes[MAX_WAITING:]:
            click.echo(
                f"{len(wishes) - MAX_WAITING} more of {name} wait: see "
                "'meshwg-coordinator route list'."
            )


def _row(each: Record, layout: Sequence[str]) -> tuple[str, ...]:
    role, addresses = each["role"], each["addresses"]
    state = "online" if each["online"] else "offline"
    if each["expired"]:
        state = "expired"
    elif role == PLAIN:
        # Only its hub knows whether it is there.
        state = "-"
    cells = {
        "NAME": each["name"],
        "STATE": state,
        "ADDRESSES": " ".join(addresses),
        "ADDRESS": addresses[0] if addresses else "-",
        "ROLE": f"{role}, ephemeral" if each["ephemeral"] else role,
        "SEEN": time_text(each["seen"]),
        "PUBLIC KEY": each["public_key"],
    }
    return tuple(cells[head] for head in layout)
