"""``meshwg-coordinator audit``: who changed what."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.cli.common import (
    Mesh,
    database_options,
    echo_fitted,
    json_option,
    open_mesh,
    run,
    time_text,
)
from coordinator.mesh.audit import AuditRow, first_break
from coordinator.mesh.authkeys import parse_lifetime
from coordinator.mesh.records import audit_record
from meshwg.errors import MeshError

INTERVAL = 1.0
"""Seconds between two looks while following."""


@click.command()
@click.option("--since", metavar="TIME", help="Only the last 24h, 7d or so.")
@click.option("--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option(
    "--verify", is_flag=True, help="See whether the log is as it was written."
)
@database_options
@json_option
def audit(
    since: str | None,
    follow: bool,
    verify: bool,
    config: Path | None,
    data_dir: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Show what administrators did, the oldest first."""
    begin = 0.0 if since is None else time.time() - parse_lifetime(since)

    async def showing() -> None:
        async with open_mesh(config, data_dir, database) as mesh:
            if verify:
                _verify(await mesh.store.audit())
                return
            rows = await mesh.store.audit(since=begin)
            _show(rows, as_json)
            if follow:
                await _follow(mesh, rows[-1].seq if rows else 0, as_json)

    run(showing())


async def _follow(mesh: Mesh, seen: int, as_json: bool) -> None:
    """Show what is new, until interrupted."""
    while True:
        await asyncio.sleep(INTERVAL)
        rows = await mesh.store.audit(after=seen)
        for row in rows:
            seen = row.seq
            click.echo(_line(row) if not as_json else json.dumps(audit_record(row)))


def _verify(rows: Sequence[AuditRow]) -> None:
    broken = first_break(rows)
    if broken is not None:
        raise MeshError(
            f"The audit log was changed: row {broken} is not what it was; compare it "
            "with a backup"
        )
    last = rows[-1].hash if rows else "none"
    click.echo(f"The audit log is whole: {len(rows)} rows, the last hash is {last}.")


def _show(rows: Sequence[AuditRow], as_json: bool) -> None:
    if as_json:
        for row in rows:
            click.echo(json.dumps(audit_record(row)))
        return
    cells = [
        (str(row.seq), time_text(row.at), row.actor, row.action, row.target, row.after)
        for row in rows
    ]
    head = ("NO", "AT", "BY", "ACTION", "TARGET", "AFTER")
    short = [each[:5] for each in cells]
    echo_fitted([(head, cells), (head[:5], short)], "Nobody has changed anything yet.")


def _line(row: AuditRow) -> str:
    return f"{row.seq}  {time_text(row.at)}  {row.actor}  {row.action}  {row.target}"
