"""``meshwg ip`` and ``meshwg whois``: from names to addresses, and back."""

import json
import re
from ipaddress import ip_address
from typing import Any

import click

from meshwg.cli.client import (
    DaemonClient,
    control_socket_option,
    json_option,
    peer_names,
)
from meshwg.cli.peerview import find_peer, short_name
from meshwg.cli.words import identity_text
from meshwg.errors import ConfigError, MeshError, NotJoined

_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.=+/-]+", re.ASCII)
"""What a node may be called, or its public key; numbers and dots are an address."""


@click.command()
@click.argument("peer", required=False, shell_complete=peer_names)
@click.option("-4", "only4", is_flag=True, help="Only the IPv4 address.")
@click.option("-6", "only6", is_flag=True, help="Only the IPv6 address.")
@json_option
@control_socket_option
def ip(
    peer: str | None, only4: bool, only6: bool, as_json: bool, control_socket: str
) -> None:
    """Print the mesh addresses of this node, or of PEER, one a line."""
    report = DaemonClient(control_socket).get("/v1/status")
    whose = _find(report, peer) if peer is not None else report["self"]
    addresses = [
        each for each in whose["addresses"] if only4 == only6 or (":" in each) == only6
    ]
    if not addresses and not whose["addresses"]:
        raise NotJoined(
            f"{whose['name']} has no address in the mesh yet: see 'meshwg status'"
        )
    if as_json:
        found = {"name": whose["name"], "addresses": addresses}
        click.echo(json.dumps({"schema": 1, **found}))
        return
    for address in addresses:
        click.echo(address)


@click.command()
@click.argument("address", metavar="ADDRESS", shell_complete=peer_names)
@json_option
@control_socket_option
def whois(address: str, as_json: bool, control_socket: str) -> None:
    """Print whose ADDRESS of the mesh it is. A port behind it does not matter.

    It may also be the name of a node.
    """
    wanted = _parse(address)
    report = DaemonClient(control_socket).get("/v1/status")
    node = _find(report, address) if wanted is None else _owner(report, wanted)
    domain = (report["self"].get("dns") or {}).get("domain")
    found = {
        "name": node["name"],
        "full_name": f"{node['name']}.{domain}" if domain else None,
        "public_key": node["public_key"],
        "addresses": node["addresses"],
        "online": node.get("online", True),
        "owner": node.get("owner"),
        "tags": node.get("tags") or [],
        "self": node["public_key"] == report["self"]["public_key"],
    }
    if as_json:
        click.echo(json.dumps({"schema": 1, **found}))
    else:
        line = f"{node['name']}  {node['public_key']}  {identity_text(node)}"
        click.echo(line.rstrip())


def _find(report: dict[str, Any], wanted: str) -> dict[str, Any]:
    own, wanted = report["self"], short_name(report, wanted)
    if wanted in (own["name"], own["public_key"], *own["addresses"]):
        return dict(own)
    return find_peer(report["peers"], wanted)


def _owner(report: dict[str, Any], address: Any) -> dict[str, Any]:
    for node in (report["self"], *report["peers"]):
        if address in (ip_address(each) for each in node["addresses"]):
            return dict(node)
    raise MeshError(
        f"No node of the mesh has the address {address}: 'meshwg status' shows all"
    )


def _parse(text: str) -> Any:
    """Return the address in ``1.2.3.4``, ``1.2.3.4:5``, ``fd00::1`` or ``[fd00::1]:5``,
    ``None`` if it can be a name.

    :raises ConfigError: if it is neither.
    """
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        return ip_address(host)
    except ValueError:
        if _NAME.fullmatch(text):
            return None
        raise ConfigError(
            f"'{text}' is not an address: write one such as 100.64.0.1 or fd00::1"
        ) from None
