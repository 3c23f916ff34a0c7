"""``meshwg-coordinator dns``: records of the mesh's zone, beside the names of nodes."""

from typing import Any

import click

from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    json_option,
    run,
)
from coordinator.cli.desk import open_desk
from meshwg.wire.dnsrecords import KINDS

KIND = click.Choice(KINDS, case_sensitive=False)


@click.group()
def dns() -> None:
    """List, add and remove names beside those of nodes."""


@dns.command("list")
@administration_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all records that were added. Nodes have their names without them."""

    async def show() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-records")
        if as_json:
            echo_json(answer)
            return
        rows = [(r["full_name"], r["type"], r["value"]) for r in answer["records"]]
        domain = answer["domain"]
        empty = f"There are no records, only the names of nodes in {domain}."
        echo_fitted([(("NAME", "TYPE", "VALUE"), rows)], empty)

    run(show())


@dns.command()
@click.argument("name")
@click.argument("kind", metavar="TYPE", type=KIND)
@click.argument("value", nargs=-1, required=True)
@administration_options
@json_option
def add(
    name: str, kind: str, value: tuple[str, ...], as_json: bool, **where: Any
) -> None:
    """Add a record at NAME, in the mesh's domain.

    TYPE is A, AAAA, CNAME, SRV or TXT. VALUE is an address; for CNAME another name in
    the mesh; for SRV priority, weight, port and name; for TXT any text.
    """

    async def store() -> None:
        wanted = {"name": name, "type": kind, "value": " ".join(value)}
        async with open_desk(**where) as desk:
            answer = await desk.ask("add-record", body=wanted)
        if as_json:
            echo_json(answer)
        for each in () if as_json else answer["records"]:
            click.echo(f"{each['full_name']} is {each['type']} {each['value']}.")

    run(store())


@dns.command()
@click.argument("name")
@click.argument("kind", metavar="[TYPE]", type=KIND, required=False)
@click.argument("value", required=False)
@administration_options
@json_option
def remove(
    name: str, kind: str | None, value: str | None, as_json: bool, **where: Any
) -> None:
    """Remove the records at NAME: all, or those of TYPE, or the one with VALUE."""

    async def store() -> None:
        chosen = {"type": kind, "value": value}
        async with open_desk(**where) as desk:
            answer = await desk.ask("remove-records", name=name, query=chosen)
        if as_json:
            echo_json(answer)
        for each in () if as_json else answer["records"]:
            click.echo(f"{each['full_name']} is {each['type']} no longer.")

    run(store())
