"""``meshwg-coordinator audit``: who changed what."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import click

from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import Desk, Record, open_desk
from coordinator.mesh.authkeys import parse_lifetime
from meshwg.errors import MeshError

INTERVAL = 1.0
"""Seconds between two looks while following."""


@click.command()
@click.option("--since", metavar="TIME", help="Only the last 24h, 7d or so.")
@click.option("--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option(
    "--verify", is_flag=True, help="See whether the log is as it was written."
)
@administration_options
@json_option
def audit(
    since: str | None,
    follow: bool,
    verify: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Show what administrators did, the oldest first."""
    begin = 0.0 if since is None else time.time() - parse_lifetime(since)

    async def showing() -> None:
        async with open_desk(**where) as desk:
            if verify:
                _tell_whether_whole(await desk.ask("verify-audit"))
                return
            rows = (await desk.ask("show-audit", query={"since": begin}))["rows"]
            _show(rows, as_json)
            if follow:
                await _follow(desk, rows[-1]["seq"] if rows else 0, as_json)

    run(showing())


async def _follow(desk: Desk, seen: int, as_json: bool) -> None:
    """Show what is new, until interrupted."""
    while True:
        await asyncio.sleep(INTERVAL)
        for row in (await desk.ask("show-audit", query={"after": seen}))["rows"]:
            seen = row["seq"]
            click.echo(_line(row) if not as_json else json.dumps(row))


def _tell_whether_whole(found: Record) -> None:
    broken = found["broken"]
    if broken is not None:
        raise MeshError(
            f"The audit log was changed: row {broken} is not what it was; compare it "
            "with a backup"
        )
    last = found["last_hash"] or "none"
    rows = found["rows"]
    click.echo(f"The audit log is whole: {rows} rows, the last hash is {last}.")


def _show(rows: Sequence[Record], as_json: bool) -> None:
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    cells = [
        (
            str(row["seq"]),
            time_text(row["at"]),
            row["actor"],
            row["action"],
            row["target"],
            json.dumps(row["after"], ensure_ascii=False, separators=(",", ":")),
        )
        for row in rows
    ]
    head = ("NO", "AT", "BY", "ACTION", "TARGET", "AFTER")
    short = [each[:5] for each in cells]
    echo_fitted([(head, cells), (head[:5], short)], "Nobody has changed anything yet.")


def _line(row: Record) -> str:
    words = (row["seq"], time_text(row["at"]), row["actor"], row["action"])
    return "  ".join(map(str, (*words, row["target"])))
