"""``meshwg-coordinator route``: networks behind nodes, and exits."""

from typing import Any

import click

from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import Record, open_desk
from coordinator.mesh.approvals import HUB, parse_item
from coordinator.mesh.routes import UNDECIDED
from meshwg.cli.table import fields, terminal_width, wrap
from meshwg.errors import ConfigError
from meshwg.wire.routes import ApprovalState

LAYOUTS = (
    ("NODE", "NETWORK", "STATE", "PRIORITY", "REALLY", "DECIDED BY", "AT"),
    ("NODE", "NETWORK", "STATE", "DECIDED BY", "AT"),
    ("NODE", "NETWORK", "STATE", "DECIDED BY"),
    ("NODE", "NETWORK", "STATE"),
)
"""Columns of the list, for terminals from the widest to the narrowest."""
MEND = (
    "Others are not told of what is advertised before 'meshwg-coordinator route "
    "approve NODE NETWORK'; 'route refuse' ends the waiting."
)


@click.group()
def route() -> None:
    """List, approve and refuse networks behind nodes, and exits."""


@route.command("list")
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show what nodes offer, and what has become of it."""

    async def show() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-routes")
        records: list[Record] = answer["routes"]
        if as_json:
            echo_json(answer)
            return
        tables = [
            (layout, [_row(each, layout) for each in records]) for layout in LAYOUTS
        ]
        echo_fitted(tables, "No node offers a network, or itself as an exit.")
        _echo_reasons(records)

    run(show())


@route.command()
@click.argument("node")
@click.argument("prefix", metavar="PREFIX|exit")
@administration_options
@json_option
def approve(node: str, prefix: str, as_json: bool, **where: Any) -> None:
    """Let others be told of a network behind NODE, or that it is an exit."""
    _decide("approve-route", node, _item(prefix), as_json, where)


@route.command()
@click.argument("node")
@click.argument("prefix", metavar="PREFIX|exit")
@administration_options
@json_option
def refuse(node: str, prefix: str, as_json: bool, **where: Any) -> None:
    """Let nobody be told of a network behind NODE, or that it is an exit."""
    _decide("refuse-route", node, _item(prefix), as_json, where)


def _item(text: str) -> str:
    """Return what is meant.

    :raises ConfigError: if it is no network and not the word ``exit``.
    """
    try:
        item = parse_item(text)
    except ValueError as error:
        raise ConfigError(f"{error}") from None
    if item == HUB:
        raise ConfigError(
            "A hub is no route: use 'meshwg-coordinator node approve NAME --hub'"
        )
    return item


def _decide(
    what: str, node: str, item: str, as_json: bool, where: dict[str, Any]
) -> None:
    async def store() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask(what, body={"node": node, "prefix": item})
        if as_json:
            echo_json(answer)
        else:
            click.echo(_said(answer["route"], is_refused=what == "refuse-route"))

    run(store())


def _said(route: Record, *, is_refused: bool) -> str:
    """Return what the decision does, in a sentence."""
    item, node = route["prefix"], route["node"]
    what = "being an exit" if item == "exit" else item
    if is_refused:
        return f"{what} of {node} is refused: nobody is told of it."
    if route["state"] == ApprovalState.WITHDRAWN:
        return (
            f"{what} of {node} is approved, but {node} does not offer it now; others "
            "are told as soon as it does."
        )
    return f"{what} of {node} is approved, and others are told of it."


def _row(record: Record, layout: tuple[str, ...]) -> tuple[str, ...]:
    cells = {
        "NODE": record["node"],
        "NETWORK": record["prefix"],
        "STATE": record["state"],
        "PRIORITY": str(record["priority"]),
        "REALLY": record["real"] or "-",
        "DECIDED BY": record["by"] or "-",
        "AT": time_text(record["at"]),
    }
    return tuple(cells[head] for head in layout)


def _echo_reasons(records: list[Record]) -> None:
    """Say under the list why others are not told of something, and what mends it."""
    size = terminal_width()
    reasons = [
        (f"{each['node']} {each['prefix']}", each["reason"])
        for each in records
        if each["state"] in (ApprovalState.ADVERTISED, ApprovalState.REFUSED)
        and each["reason"] != UNDECIDED
    ]
    lines = ["", *fields(reasons, size)] if reasons else []
    if any(each["state"] == ApprovalState.ADVERTISED for each in records):
        lines += ["", *wrap(MEND, size)]
    for line in lines:
        click.echo(line)
