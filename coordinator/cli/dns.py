"""``meshwg-coordinator dns``: records of the mesh's zone, beside the names of nodes."""

from collections.abc import Iterable
from typing import Any

import click

from coordinator.cli.common import (
    database_options,
    echo_fitted,
    echo_json,
    json_option,
    open_mesh,
    run,
)
from coordinator.mesh.operations import AddRecord, RemoveRecord
from coordinator.mesh.records import dns_record
from meshwg.errors import ConfigError
from meshwg.wire.dnsrecords import (
    KINDS,
    DnsRecord,
    canonical_path,
    path_inside,
    read_record,
)

KIND = click.Choice(KINDS, case_sensitive=False)


@click.group()
def dns() -> None:
    """List, add and remove names beside those of nodes."""


@dns.command("list")
@database_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show all records that were added. Nodes have their names without them."""

    async def show() -> None:
        async with open_mesh(**where) as mesh:
            registry = await mesh.registry()
        records, domain = registry.records.records, registry.domain
        if as_json:
            _echo_records(records, domain)
            return
        rows = [(f"{r.name}.{domain}", r.kind, r.value) for r in records]
        empty = f"There are no records, only the names of nodes in {domain}."
        echo_fitted([(("NAME", "TYPE", "VALUE"), rows)], empty)

    run(show())


@dns.command()
@click.argument("name")
@click.argument("kind", metavar="TYPE", type=KIND)
@click.argument("value", nargs=-1, required=True)
@database_options
@json_option
def add(
    name: str, kind: str, value: tuple[str, ...], as_json: bool, **where: Any
) -> None:
    """Add a record at NAME, in the mesh's domain.

    TYPE is A, AAAA, CNAME, SRV or TXT. VALUE is an address; for CNAME another name in
    the mesh; for SRV priority, weight, port and name; for TXT any text.
    """

    async def store() -> None:
        async with open_mesh(**where) as mesh:
            domain = (await mesh.registry()).domain
            try:
                record = read_record(name, kind, " ".join(value), domain)
            except ValueError as error:
                raise ConfigError(f"There is no such record: {error}") from None
            await mesh.perform(AddRecord(record))
        if as_json:
            _echo_records([record], domain)
        else:
            click.echo(f"{record.name}.{domain} is {record.kind} {record.value}.")

    run(store())


@dns.command()
@click.argument("name")
@click.argument("kind", metavar="[TYPE]", type=KIND, required=False)
@click.argument("value", required=False)
@database_options
@json_option
def remove(
    name: str, kind: str | None, value: str | None, as_json: bool, **where: Any
) -> None:
    """Remove the records at NAME: all, or those of TYPE, or the one with VALUE."""

    async def store() -> None:
        async with open_mesh(**where) as mesh:
            domain = (await mesh.registry()).domain
            path = _path(name, domain)
            removed = await mesh.perform(
                RemoveRecord(path, None if kind is None else kind.upper(), value)
            )
        if as_json:
            _echo_records(removed.records, domain)
        else:
            for record in removed.records:
                click.echo(f"{record.name}.{domain} is {record.kind} no longer.")

    run(store())


def _path(name: str, domain: str) -> str:
    """Return a record's name without the zone's.

    :raises ConfigError: if it can be none.
    """
    try:
        return canonical_path(path_inside(name, domain))
    except ValueError as error:
        raise ConfigError(f"There is no such record: {error}") from None


def _echo_records(records: Iterable[DnsRecord], domain: str) -> None:
    listed = [dns_record(each, domain) for each in records]
    echo_json({"domain": domain, "records": listed})
