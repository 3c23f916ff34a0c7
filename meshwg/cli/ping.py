"""``meshwg ping``: is a peer there, and over which path did each answer come."""

import json
import textwrap
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.table import WIDTH, echo, milliseconds_text


@click.command()
@click.argument("peer")
@click.option("-c", "--count", type=click.IntRange(1, 100_000), help="Stop after N.")
@click.option("--until-direct", is_flag=True, help="Stop when the path is direct.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    help="Give up after this many seconds.",
)
@json_option
@control_socket_option
def ping(
    peer: str,
    count: int | None,
    until_direct: bool,
    timeout: float | None,
    as_json: bool,
    control_socket: str,
) -> int:
    """Send echo requests to PEER, a name or a mesh address.

    Ends with 0 if an answer came, and with --until-direct if the path became direct.
    """
    request = {
        "peer": peer,
        "count": count,
        "until_direct": until_direct,
        "timeout": timeout,
    }
    answered = direct = False
    reason = ""
    for event in DaemonClient(control_socket, timeout=None).stream("/v1/ping", request):
        if as_json:
            click.echo(json.dumps({"schema": 1, **event}))
        else:
            echo(render(event))
        answered = answered or event.get("rtt_ms") is not None
        direct = event.get("path", {}).get("kind") == "direct"
        reason = event.get("reason", "")
    if until_direct and not direct and not as_json:
        echo(textwrap.fill(f"There is no direct path yet. {reason}", WIDTH))
    return 0 if (direct if until_direct else answered) else 1


def render(event: dict[str, Any]) -> str:
    """Return the line for one answer, one loss, or the end."""
    if "summary" in event:
        total = event["summary"]
        lost = 1 - total["received"] / total["sent"] if total["sent"] else 0.0
        return (
            f"{total['sent']} sent, {total['received']} received, {lost:.0%} lost, "
            f"median {milliseconds_text(total['median_ms'])}"
        )
    if event["rtt_ms"] is None:
        return f"no answer from {event['peer']} to {event['sequence']}"
    path = event["path"]
    where = f"via {path['via']}" if path["via"] else path["remote"] or ""
    over = f"{path['kind']} {where}".rstrip()
    method = "" if path["method"] == path["kind"] else f" ({path['method']})"
    return (
        f"answer from {event['peer']} ({event['address']}): "
        f"{milliseconds_text(event['rtt_ms'])} over {over}{method}"
    )
