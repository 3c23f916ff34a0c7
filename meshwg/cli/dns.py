"""``meshwg dns``: names of the mesh, and how this machine finds them."""

import json
from typing import Any

import click

from meshwg.cli.client import (
    DaemonClient,
    control_socket_option,
    json_option,
    peer_names,
)
from meshwg.cli.table import columns, terminal_width, wrap
from meshwg.errors import MeshError

TYPES = ("A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT", "ANY")
OFF = "off"


@click.group()
def dns() -> None:
    """See how names of the mesh are found, and ask for one."""


@dns.command()
@json_option
@control_socket_option
def status(as_json: bool, control_socket: str) -> None:
    """Show who answers for names of the mesh, and who is told to ask there."""
    report = DaemonClient(control_socket).get("/v1/dns")
    if as_json:
        click.echo(json.dumps(report))
        return
    for line in render(report, terminal_width()):
        click.echo(line)


@dns.command()
@click.argument("name", shell_complete=peer_names)
@click.option(
    "--type",
    "kind",
    type=click.Choice(TYPES, case_sensitive=False),
    help="Of the records. Default: A and AAAA, or PTR for an address.",
)
@json_option
@control_socket_option
def query(name: str, kind: str | None, as_json: bool, control_socket: str) -> None:
    """Ask the node for NAME, which may also be an address."""
    request = {"name": name} if kind is None else {"name": name, "type": kind}
    found = DaemonClient(control_socket).post("/v1/dns/query", request)
    if as_json:
        click.echo(json.dumps(found))
    else:
        rows = [(a["name"], str(a["ttl"]), a["type"], a["value"]) for a in _of(found)]
        for line in columns(rows) if rows else ():
            click.echo(line)
    if not found["answers"]:
        raise MeshError(_nothing(found))


def render(report: dict[str, Any], size: int) -> list[str]:
    """Return the lines that a person sees.

    :param size: columns of a line.
    """
    if report["mode"] == OFF:
        return ["This node leaves names alone: it was started with --no-dns."]
    rows = [
        ("names end with", report["domain"]),
        ("told to ask here", report["mode"]),
        ("answers at", ", ".join(report["servers"]) or "no address"),
    ]
    if report["forwards_to"]:
        rows.append(("asks for others", ", ".join(report["forwards_to"])))
    rows.append(("added records", str(report["records"])))
    lines = columns(rows)
    if report["error"]:
        lines += ["", *wrap(f"{report['error']}.", size)]
    return lines


def _of(found: dict[str, Any]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = found["answers"]
    return answers


def _nothing(found: dict[str, Any]) -> str:
    name = found["name"]
    if found["code"] == "NOERROR":
        return f"{name} has no such records: name another --type"
    if found["code"] == "NXDOMAIN":
        return f"Nothing is called {name}: 'meshwg status' shows the names of nodes"
    return f"There is no answer for {name} ({found['code']}): see 'meshwg dns status'"
