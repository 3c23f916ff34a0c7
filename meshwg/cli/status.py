"""``meshwg status``: who is in the mesh, over which path, and why that one."""

import json
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.table import (
    WIDTH,
    bytes_text,
    columns,
    duration_text,
    echo,
    milliseconds_text,
    terminal_width,
)

REFRESH = 1.0
"""Seconds between two reports of ``--watch``."""
ATTEMPTS_SHOWN = 3
_INDENT = "    "
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_COLOURS = {"direct": "green", "relay": "yellow", "none": "red"}
_SEVERITY_COLOURS = {"warning": "yellow", "failure": "red"}


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Refresh every second.")
@control_socket_option
def status(as_json: bool, watch: bool, control_socket: str) -> None:
    """Show this node, its peers, and why each path is what it is."""
    client = DaemonClient(control_socket)
    while True:
        report = client.get("/v1/status")
        if as_json:
            click.echo(json.dumps(report))
        else:
            lines = render(report, time.time(), min(WIDTH, terminal_width()))
            _show(lines, over=watch and sys.stdout.isatty())
        if not watch:
            return
        time.sleep(REFRESH)


def _show(lines: list[str], over: bool) -> None:
    """Print lines, or write them over the previous ones without a flicker."""
    if not over:
        echo("\n".join(lines))
        return
    click.echo(_HOME, nl=False)
    for line in lines:
        echo(line, end=f"{_CLEAR_LINE}\n")
    click.echo(_CLEAR_BELOW, nl=False)


def render(report: dict[str, Any], unix_time: float, width: int = WIDTH) -> list[str]:
    """Return the lines that a person sees.

    :param width: columns that sentences may take.
    """
    lines = [*_own_lines(report["self"], unix_time), ""]
    if complaints := report.get("health", ()):
        lines += [*_health_lines(complaints, width), ""]
    peers = report["peers"]
    if not peers:
        return [*lines, "No peers yet: let another machine join this mesh."]
    direct = sum(peer["path"]["kind"] == "direct" for peer in peers)
    relayed = sum(peer["path"]["kind"] == "relay" for peer in peers)
    count = "1 peer" if len(peers) == 1 else f"{len(peers)} peers"
    lines.append(f"{count}, {direct} direct, {relayed} relayed")
    header = ["PEER", "ADDRESS", "PATH", "RTT", "LOSS", "RECEIVED", "SENT", "HANDSHAKE"]
    table = columns([header, *(_peer_row(peer) for peer in peers)])
    lines.append(click.style(table[0], bold=True))
    for peer, line in zip(peers, table[1:], strict=True):
        lines.append(line)
        lines += _reason_lines(peer, unix_time, width)
    return lines


def _own_lines(own: dict[str, Any], unix_time: float) -> list[str]:
    coordinator, relay, nat = own["coordinator"], own["relay"], own["nat"]
    addresses = ", ".join(own["addresses"]) or "no address yet"
    interface = f"{own['interface']}, UDP port {own['listen_port']}, MTU {own['mtu']}"
    notice = [["notice", click.style(own["notice"], fg="yellow")]]
    return columns(
        [
            [click.style(own["name"], bold=True), addresses],
            ["interface", interface],
            ["network", _nat_text(nat)],
            ["coordinator", _coordinator_text(coordinator, unix_time)],
            ["relay", _relay_text(relay)],
            *(notice if own["notice"] else ()),
        ]
    )


def _health_lines(complaints: Sequence[dict[str, Any]], width: int) -> list[str]:
    """Return a heading, and each complaint with what can be done about it."""
    margin = "  " + " " * (max(map(len, _SEVERITY_COLOURS)) + 2)
    lines = [click.style("health", bold=True)]
    for complaint in complaints:
        severity, mend = str(complaint["severity"]), complaint["mend"]
        sentences = textwrap.wrap(complaint["text"], width - len(margin))
        sentences += textwrap.wrap(mend, width - len(margin))
        word = click.style(severity, fg=_SEVERITY_COLOURS.get(severity))
        padding = margin[2 + len(severity) :]
        lines.append(f"  {word}{padding}{sentences[0]}")
        lines += [margin + sentence for sentence in sentences[1:]]
    return lines


def _nat_text(nat: dict[str, Any] | None) -> str:
    if nat is None:
        return "not examined yet"
    kind = str(nat["type"]).replace("-", " ")
    if kind == "unknown":
        kind = "NAT of unknown kind"
    where = f", seen as {nat['public']}" if nat["public"] else ""
    return kind + where


def _coordinator_text(coordinator: dict[str, Any], unix_time: float) -> str:
    since = coordinator["since"]
    age = f" for {duration_text(unix_time - since)}" if since is not None else ""
    error = f": {coordinator['error']}" if coordinator["error"] else ""
    state = click.style(
        coordinator["state"],
        fg="green" if coordinator["state"] == "connected" else "yellow",
    )
    return f"{coordinator['url']} {state}{age}{error}"


def _relay_text(relay: dict[str, Any]) -> str:
    error = f": {relay['error']}" if relay["error"] else ""
    if relay["url"] is None:
        return str(relay["error"])
    if relay["state"] != "allocated":
        return f"{relay['url']} {relay['state']}{error}"
    rtt = milliseconds_text(relay["rtt_ms"])
    url = relay["url"].partition("?")[0]
    return f"{url} over {relay['transport']}, {rtt}{error}"


def _peer_row(peer: dict[str, Any]) -> list[str]:
    path, age = peer["path"], peer["last_handshake_age"]
    loss = path["loss"]
    name = peer["name"] if peer["online"] else f"{peer['name']} (offline)"
    return [
        name,
        next(iter(peer["addresses"]), "-"),
        _path_text(peer),
        milliseconds_text(path["rtt_ms"]),
        "-" if loss is None else f"{loss:.0%}",
        bytes_text(peer["rx_bytes"]),
        bytes_text(peer["tx_bytes"]),
        "never" if age is None else f"{duration_text(age)} ago",
    ]


def _path_text(peer: dict[str, Any]) -> str:
    path = peer["path"]
    if path["kind"] == "none" and not peer["attempts"]:
        return click.style("idle", dim=True)
    kind = click.style(path["kind"], fg=_COLOURS.get(path["kind"]))
    if path["kind"] == "none":
        return kind
    if path["via"]:
        return f"{kind} via {path['via']}"
    method = "" if path["method"] == path["kind"] else f" {path['method']}"
    return f"{kind}{method} {path['remote'] or ''}".rstrip()


def _reason_lines(peer: dict[str, Any], unix_time: float, width: int) -> list[str]:
    """Return why the path is what it is and, unless it is direct, what was tried."""
    text = peer["reason"]
    if peer["next_attempt_in"] is not None and peer["path"]["kind"] != "direct":
        text += f" Next attempt in {duration_text(peer['next_attempt_in'])}."
    lines = textwrap.wrap(text, width - len(_INDENT))
    if peer["path"]["kind"] != "direct":
        for attempt in peer["attempts"][-ATTEMPTS_SHOWN:]:
            age = duration_text(max(unix_time - attempt["at"], 0))
            detail = f" ({attempt['detail']})" if attempt["detail"] else ""
            lines.append(f"{age} ago: {attempt['method']} {attempt['result']}{detail}")
    return [click.style(_INDENT + line, dim=True) for line in lines]
