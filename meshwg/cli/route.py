"""``meshwg route``: networks behind this node, and behind others."""

import json
from collections.abc import Sequence
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.table import columns, shortened, terminal_width, width, wrap

MIN_NAME = 8
_OWN = ("NETWORK", "STATE", "PRIORITY", "OPTIONS")
_PEERS = (
    ("NETWORK", "PEER", "PRIORITY", "REALLY", "USED"),
    ("NETWORK", "PEER", "USED"),
)
"""Columns of what peers have, the richest first."""


@click.group()
def route() -> None:
    """See networks behind nodes, and offer those behind this one."""


@route.command("list")
@json_option
@control_socket_option
def list_(as_json: bool, control_socket: str) -> None:
    """Show what this node offers, and what others have."""
    report = DaemonClient(control_socket).get("/v1/routes")
    if as_json:
        click.echo(json.dumps(report))
        return
    for line in render(report, terminal_width()):
        click.echo(line)


@route.command()
@click.argument("network", metavar="PREFIX[=MAPPED][,OPTION]...")
@json_option
@control_socket_option
def add(network: str, as_json: bool, control_socket: str) -> None:
    """Offer a network behind this node, now and after its next start.

    With =MAPPED others see it as that network. Options are probe=ADDRESS, priority=N
    and snat=yes|no.
    """
    added = DaemonClient(control_socket).post("/v1/routes/add", {"route": network})
    if as_json:
        click.echo(json.dumps({"schema": 1, "route": added}))
        return
    click.echo(f"This node offers {added['prefix']}: {_standing(added)}.")


@route.command()
@click.argument("network", metavar="PREFIX")
@json_option
@control_socket_option
def remove(network: str, as_json: bool, control_socket: str) -> None:
    """Offer a network behind this node no more."""
    removed = DaemonClient(control_socket).post("/v1/routes/remove", {"route": network})
    if as_json:
        click.echo(json.dumps({"schema": 1, "route": removed}))
        return
    click.echo(f"This node does not offer {removed['prefix']} any more.")


def render(report: dict[str, Any], size: int) -> list[str]:
    """Return the lines that a person sees.

    :param size: columns of a line.
    """
    return [*_own_lines(report["own"], size), "", *_peer_lines(report["peers"], size)]


def _own_lines(routes: Sequence[dict[str, Any]], size: int) -> list[str]:
    if not routes:
        return ["This node offers no network."]
    rows = [
        (each["prefix"], each["state"], str(each["priority"]), _options(each))
        for each in routes
    ]
    table = columns([_OWN, *rows])
    if max(map(width, table)) > size:
        table = columns([_OWN[:2], *(row[:2] for row in rows)])
    lines = [click.style("behind this node", bold=True), *table]
    for each in routes:
        if each["reason"]:
            lines += wrap(f"{each['prefix']}: {each['reason']}.", size)
    return lines


def _peer_lines(routes: Sequence[dict[str, Any]], size: int) -> list[str]:
    if not routes:
        return ["No peer has an approved network behind it."]
    for heads in _PEERS:
        rows = [_peer_row(each, heads) for each in routes]
        table = columns([heads, *rows])
        if max(map(width, table)) <= size:
            break
    else:
        over = max(map(width, table)) - size
        room = max(max(len(row[1]) for row in rows) - over, MIN_NAME)
        short = [(row[0], shortened(row[1], room), *row[2:]) for row in rows]
        table = columns([heads, *short])
    return [click.style("behind peers", bold=True), *table]


def _peer_row(each: dict[str, Any], heads: Sequence[str]) -> tuple[str, ...]:
    peer = each["peer"] if each["online"] else f"{each['peer']} (offline)"
    cells = {
        "NETWORK": each["prefix"],
        "PEER": peer,
        "PRIORITY": str(each["priority"]),
        "REALLY": each["real"] or "-",
        "USED": "yes" if each["used"] else "no",
    }
    return tuple(cells[head] for head in heads)


def _options(each: dict[str, Any]) -> str:
    """Return how a network is served, where that is not the usual way."""
    words = []
    if each["real"] is not None:
        words.append(f"really {each['real']}")
    if each["probe"] is not None:
        words.append(f"probe {each['probe']}")
    if not each["snat"]:
        words.append("no snat")
    return ", ".join(words) or "-"


def _standing(each: dict[str, Any]) -> str:
    """Return in a few words what became of a network."""
    if each["state"] == "approved":
        return "others are told of it"
    return str(each["reason"] or each["state"])
