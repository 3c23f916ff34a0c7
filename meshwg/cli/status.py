"""``meshwg status``: who is in the mesh, over which path, and why that one."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from meshwg.cli.client import (
    DaemonClient,
    control_socket_option,
    json_option,
    peer_names,
)
from meshwg.cli.overview import render
from meshwg.cli.peerview import find_peer, render_peer, short_name
from meshwg.cli.table import echo, terminal_height, terminal_width
from meshwg.cli.words import is_active
from meshwg.errors import NotJoined

REFRESH = 1.0
"""Seconds between two reports of ``--watch``."""
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""Another screen without a cursor, and back to the terminal as it was."""
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.argument("peer", required=False, shell_complete=peer_names)
@json_option
@click.option("--active", is_flag=True, help="Only peers with a path or a session.")
@click.option("-v", "--verbose", is_flag=True, help="Say why each path is what it is.")
@click.option("--watch", is_flag=True, help="Refresh every second.")
@control_socket_option
def status(
    peer: str | None,
    as_json: bool,
    active: bool,
    verbose: bool,
    watch: bool,
    control_socket: str,
) -> int:
    """Show this node and its peers, or all that is known of PEER.

    PEER is a name, an address of the mesh, or a public key. Of more than 500 peers
    those that were never spoken to are only counted; --json has all of them. Ends with
    4 as long as the node has not joined a mesh.
    """
    client = DaemonClient(control_socket)

    def show(over: bool) -> int:
        is_whole = as_json or peer is not None
        report = client.get("/v1/status" if is_whole else "/v1/status/brief")
        own = report["self"]
        # A script must not take a node that only tries to join for one that has.
        strange = not own["addresses"] and own.get("state") != "down"
        ends = NotJoined.exit_status if strange else 0
        hidden = _select(report, peer, active) + report.pop("more", 0)
        if as_json:
            click.echo(json.dumps(report))
            return ends
        size, now = terminal_width(), time.time()
        if peer is not None:
            lines = render_peer(report["peers"][0], now, size)
        else:
            lines = render(report, now, size, verbose=verbose, hidden=hidden)
        _show(lines, terminal_height() if over else None)
        return ends

    if not watch:
        return show(over=False)
    with _own_screen(sys.stdout.isatty() and not as_json) as over:
        while True:
            show(over)
            sys.stdout.flush()
            time.sleep(REFRESH)


def _select(report: dict[str, Any], peer: str | None, active: bool) -> int:
    """Leave only the peers that are asked for; return how many others there are."""
    peers = report["peers"]
    if peer is not None:
        report["peers"] = [find_peer(peers, short_name(report, peer))]
    elif active:
        report["peers"] = [each for each in peers if is_active(each)]
    return len(peers) - len(report["peers"])


@contextmanager
def _own_screen(is_terminal: bool) -> Iterator[bool]:
    """Write on a screen of its own, and leave the terminal as it was."""
    if not is_terminal:
        yield False
        return
    click.echo(_ENTER, nl=False, color=True)
    try:
        yield True
    finally:
        click.echo(_LEAVE, nl=False, color=True)


def _show(lines: Sequence[str], height: int | None) -> None:
    """Print lines, or write them over the previous ones without a flicker.

    :param height: lines that a terminal has; ``None`` if it is not written over.
    """
    if height is None:
        echo("\n".join(lines))
        return
    if len(lines) > height:
        more = len(lines) - height + 1
        hint = f"… {more} more lines: enlarge the window, or use --active"
        lines = [*lines[: height - 1], click.style(hint, dim=True)]
    click.echo(_HOME, nl=False, color=True)
    for number, line in enumerate(lines):
        if number:
            click.echo("\n", nl=False)
        echo(line, end="")
        click.echo(_CLEAR_LINE, nl=False, color=True)
    click.echo(_CLEAR_BELOW, nl=False, color=True)
