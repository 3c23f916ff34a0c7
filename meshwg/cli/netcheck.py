"""``meshwg netcheck``: what kind of NAT this is, and what it allows."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.table import columns, echo, milliseconds_text, terminal_width
from meshwg.errors import DaemonNotRunning

LIFETIME_LIMIT = 310.0
"""Seconds that a daemon may take to measure how long mappings live."""

READABLE = 88
"""The length of a line that is still easy to read."""

_MEANINGS = {
    "mapping": {
        "none": "sockets are seen with their own addresses",
        "endpoint-independent": "a socket has one public port for everyone",
        "address-dependent": "a socket has another public port for each host",
        "address-and-port-dependent": "a socket has another public port for each peer",
        "unknown": "",
    },
    "filtering": {
        "endpoint-independent": "anyone may send to a socket",
        "address-dependent": "only hosts that were sent to may answer",
        "address-and-port-dependent": "only ports that were sent to may answer",
        "unknown": "",
    },
}
_GOOD = ("open-internet", "full-cone", "restricted-cone")
_BAD = ("symmetric", "udp-blocked")


@click.command()
@json_option
@click.option(
    "--stun",
    "servers",
    multiple=True,
    metavar="HOST:PORT",
    help="A STUN server to ask, instead of the daemon's; may be repeated.",
)
@click.option(
    "--timeout",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0.5, max=60),
    help="Take at most this many seconds.",
)
@click.option(
    "--lifetime",
    is_flag=True,
    help="Also measure how long idle mappings live, up to five minutes.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="Measure anew, where the daemon would say what it knows.",
)
@control_socket_option
def netcheck(
    as_json: bool,
    servers: Sequence[str],
    timeout: float,
    lifetime: bool,
    fresh: bool,
    control_socket: str,
) -> None:
    """Show what NAT this machine is behind, and what that allows.

    A daemon knows that and answers at once; without one, --stun names whom to ask.
    """
    report = (
        _look(servers, timeout, lifetime)
        if servers
        else _ask(control_socket, timeout, lifetime, fresh)
    )
    if as_json:
        click.echo(json.dumps(report))
    else:
        echo("\n".join(render(report)))


def _look(servers: Sequence[str], timeout: float, lifetime: bool) -> dict[str, Any]:
    """Look at the network with sockets of this program."""
    import asyncio

    from meshwg.runtime.netcheck import netcheck as look

    report = asyncio.run(look(servers, limit=timeout, lifetime=lifetime))
    return report.to_json()


def _ask(
    control_socket: str, timeout: float, lifetime: bool, fresh: bool
) -> dict[str, Any]:
    """Ask the daemon, which looks with its servers and its sockets."""
    limit = timeout + (LIFETIME_LIMIT if lifetime else 0) + 5
    request = {"timeout": timeout, "lifetime": lifetime, "fresh": fresh}
    try:
        return DaemonClient(control_socket, limit).post("/v1/netcheck", request)
    except DaemonNotRunning as error:
        raise DaemonNotRunning(
            f"No meshwg daemon listens at {control_socket} to learn servers from: "
            "name a STUN server with --stun HOST:PORT"
        ) from error


def render(report: dict[str, Any]) -> list[str]:
    """Return the lines that a person sees."""
    works = report["udp"]
    rows = [
        [_heading("UDP"), _styled("works", "green") if works else _styled("no", "red")]
    ]
    for family in ("ipv4", "ipv6"):
        rows += _family_rows(family, report[family])
    rows.append([_heading("Port mapping"), _port_mapping_text(report["port_mapping"])])
    rows += _server_rows(report["servers"])
    rows += _age_rows(report.get("age_s"))
    size = min(terminal_width(), READABLE)
    verdict = textwrap.wrap(report["verdict"], size, break_on_hyphens=False)
    return [*columns(rows), "", *(click.style(line, bold=True) for line in verdict)]


def _family_rows(family: str, nat: dict[str, Any] | None) -> list[list[str]]:
    name = _heading(family.replace("ip", "IP"))
    if nat is None:
        return [[name, _dim("none")]]
    kind = nat["type"]
    colour = "green" if kind in _GOOD else "red" if kind in _BAD else "yellow"
    rows = [[name, _styled(kind.replace("-", " "), colour)]]
    if not nat["reachable"]:
        return rows
    details = [
        ("public", nat["public"] or "unknown"),
        ("mapping", _explained("mapping", nat["mapping"])),
        ("filtering", _explained("filtering", nat["filtering"])),
        ("ports", _ports_text(nat)),
        ("hairpinning", _truth(nat["hairpinning"])),
    ]
    if nat["lifetime_s"] is not None:
        details.append(("lifetime", f"idle mappings live {nat['lifetime_s']:.0f} s"))
    return [*rows, *([f"  {label}", text] for label, text in details)]


def _explained(key: str, value: str) -> str:
    meaning = _MEANINGS[key].get(value, "")
    return f"{value.replace('-', ' ')}{_dim(f'  {meaning}') if meaning else ''}"


def _ports_text(nat: dict[str, Any]) -> str:
    allocation = str(nat["port_allocation"])
    if allocation == "sequential" and nat["port_delta"] is not None:
        return f"sequential, in steps of {nat['port_delta']}"
    return allocation


def _port_mapping_text(mapping: dict[str, Any]) -> str:
    names = {"pcp": "PCP", "nat_pmp": "NAT-PMP", "upnp": "UPnP"}
    spoken = [name for key, name in names.items() if mapping[key]]
    if not spoken:
        return _dim("none")
    external = f", forwards {mapping['external']}" if mapping["external"] else ""
    return ", ".join(spoken) + external


def _server_rows(servers: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = [[_heading("Servers"), "" if servers else _dim("none")]]
    for server in servers:
        error = server["error"]
        text = _styled(error, "red") if error else milliseconds_text(server["rtt_ms"])
        rows.append([f"  {server['address']}", text])
    return rows


def _age_rows(age: float | None) -> list[list[str]]:
    """Return when that was measured, if not just now."""
    if age is None or age < 1:
        return []
    return [[_heading("Measured"), f"{age:.0f} s ago{_dim('  anew with --fresh')}"]]


def _truth(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[value]


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _styled(text: str, colour: str) -> str:
    return click.style(text, fg=colour)


def _dim(text: str) -> str:
    return click.style(text, dim=True)
