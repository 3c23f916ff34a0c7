"""``meshwg ping``: is a peer there, and over which path did each answer come."""

import json
from contextlib import closing
from statistics import median
from typing import Any

import click

from meshwg.cli.client import (
    DaemonClient,
    control_socket_option,
    json_option,
    peer_names,
)
from meshwg.cli.table import echo, milliseconds_text, terminal_width, wrap

DIRECT_ANSWERS = 3
"""Answers over a direct path after which there is nothing more to find out."""


@click.command()
@click.argument("peer", shell_complete=peer_names)
@click.option("-c", "--count", type=click.IntRange(1, 100_000), help="Stop after N.")
@click.option(
    "--until-direct", is_flag=True, help="Stop at the first sign of a direct path."
)
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

    Without -c it stops when the path has become direct. All paths are also checked
    below IP, which tells a firewall on the peer's system from a bad path.

    Ends with 0 if an answer came, and with --until-direct if the path became direct.
    """
    request = {
        "peer": peer,
        "count": count,
        "until_direct": until_direct,
        "timeout": timeout,
    }
    tally = _Tally()
    enough = DIRECT_ANSWERS if count is None and not as_json else None
    answers = DaemonClient(control_socket, timeout=None).stream("/v1/ping", request)
    try:
        with closing(answers):
            for event in answers:
                _show(event, as_json)
                tally.add(event)
                if tally.direct_answers == enough:
                    break
    except KeyboardInterrupt:
        if not as_json:
            # Below the ^C that the terminal shows.
            click.echo()
    if not tally.is_summed_up and tally.last:
        _show(tally.summary(), as_json)
    if not as_json:
        for line in _conclusions(tally, until_direct):
            echo(line)
    return 0 if (tally.is_direct if until_direct else tally.times) else 1


class _Tally:
    """What came of the requests so far."""

    def __init__(self) -> None:
        self.sent = self.direct_answers = 0
        self.times: list[float] = []
        self.last: dict[str, Any] = {}
        self.verdict = ""
        self.is_summed_up = False

    @property
    def is_direct(self) -> bool:
        return bool(self.last.get("path", {}).get("kind") == "direct")

    def add(self, event: dict[str, Any]) -> None:
        self.last = event
        self.verdict = event.get("verdict", self.verdict)
        if "summary" in event:
            self.is_summed_up = True
            return
        self.sent += 1
        if event["rtt_ms"] is not None:
            self.times.append(event["rtt_ms"])
            self.direct_answers += self.is_direct

    def summary(self) -> dict[str, Any]:
        """Return what the daemon would have said at the end."""
        total = {
            "sent": self.sent,
            "received": len(self.times),
            "median_ms": median(self.times) if self.times else None,
        }
        return {"summary": total, "path": self.last["path"], "reason": ""}


def _show(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"schema": 1, **event}))
    else:
        echo(render(event))


def _conclusions(tally: _Tally, until_direct: bool) -> list[str]:
    """Return the sentences below the summary."""
    size = terminal_width()
    lines = []
    if tally.sent and not tally.times and tally.verdict:
        lines += wrap(tally.verdict, size)
    if until_direct and not tally.is_direct:
        reason = tally.last.get("reason", "")
        lines += wrap(f"There is no direct path yet. {reason}", size)
    return lines


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
        return f"no answer from {event['peer']} to {event['sequence']}{_below(event)}"
    path = event["path"]
    where = f"via {path['via']}" if path["via"] else path["remote"] or ""
    over = f"{path['kind']} {where}".rstrip()
    method = "" if path["method"] == path["kind"] else f" ({path['method']})"
    return (
        f"answer from {event['peer']} ({event['address']}): "
        f"{milliseconds_text(event['rtt_ms'])} over {over}{method}"
    )


def _below(event: dict[str, Any]) -> str:
    """Return which paths answer a check, where the echo request was not answered."""
    answered = [each for each in event.get("checks", ()) if each["answered"]]
    texts = [f"{each['kind']} {milliseconds_text(each['rtt_ms'])}" for each in answered]
    return f" (below IP: {', '.join(texts)})" if texts else ""
