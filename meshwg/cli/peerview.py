"""What ``meshwg status PEER`` shows: all that is known of one peer."""

from collections.abc import Sequence
from typing import Any

import click

from meshwg.cli.overview import attempt_texts, reason_text
from meshwg.cli.table import (
    bytes_text,
    duration_text,
    fields,
    milliseconds_text,
    shortened,
)
from meshwg.cli.words import (
    age_text,
    identity_text,
    loss_text,
    nat_text,
    path_text,
)
from meshwg.errors import MeshError

NAMES_SHOWN = 10
ATTEMPTS_SHOWN = 16
_STATES = {
    "reserve": "in reserve",
    "silent": "not used: it does not answer",
    "dead": "not used: it does not reach it",
    "leaving": "not used: it stops",
    "away": "not used: it is offline",
}
"""Of networks for which another router is used."""


def short_name(report: dict[str, Any], name: str) -> str:
    """Return the name of a node without what the mesh's names end with.

    :param report: the whole status of a node.
    """
    domain = (report["self"].get("dns") or {}).get("domain")
    ending = f".{domain}"
    plain = name.removesuffix(".")
    if domain and plain.lower().endswith(ending):
        return plain[: -len(ending)]
    return name


def find_peer(peers: Sequence[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """Return the peer of a name, an address of the mesh, or a public key.

    :raises MeshError: if there is none.
    """
    for peer in peers:
        known = (peer["name"], peer["public_key"], *peer["addresses"])
        if wanted in known or wanted.lower() == peer["name"].lower():
            return peer
    names = ", ".join(peer["name"] for peer in peers[:NAMES_SHOWN])
    more = ", ..." if len(peers) > NAMES_SHOWN else ""
    raise MeshError(f"There is no peer '{wanted}': use one of {names or 'none'}{more}")


def _reserve_text(route: dict[str, str]) -> str:
    """Return what is said of a network that another router is used for."""
    state = _STATES.get(route["state"], route["state"])
    return f"{route['prefix']} ({state})"


def render_peer(peer: dict[str, Any], unix_time: float, size: int) -> list[str]:
    """Return the lines that a person sees.

    :param size: columns of a line.
    """
    path = peer["path"]
    state = "online" if peer["online"] else "offline"
    since = path["since"]
    age = f" for {duration_text(unix_time - since)}" if since is not None else ""
    quality = f"{milliseconds_text(path['rtt_ms'])}, {loss_text(path['loss'])} lost"
    traffic = f"{bytes_text(peer['rx_bytes'])} received, {bytes_text(peer['tx_bytes'])}"
    rows = [
        ("addresses", ", ".join(peer["addresses"]) or "-"),
        ("public key", peer["public_key"]),
        ("state", f"{state}, a hub" if peer.get("role") == "hub" else state),
        ("network", "not known" if peer["nat"] is None else nat_text(peer["nat"])),
        ("path", f"{path_text(peer)}{age}"),
    ]
    identity = identity_text(peer)
    if identity:
        rows.insert(2, ("belongs to", identity))
    if peer.get("class"):
        rows.insert(-1, ("policy", peer["class"]))
    routes = [*peer.get("routes", ()), *map(_reserve_text, peer.get("reserve", ()))]
    if routes:
        rows.append(("routes", ", ".join(routes)))
    if path["kind"] != "none":
        rows.append(("quality", quality))
    rows += [
        ("reason", reason_text(peer)),
        ("traffic", f"{traffic} sent"),
        ("handshake", age_text(peer["last_handshake_age"])),
    ]
    tried = attempt_texts(peer, unix_time, ATTEMPTS_SHOWN)
    rows += [("" if at else "tried", text) for at, text in enumerate(tried)]
    name = click.style(shortened(peer["name"], size), bold=True)
    return [name, *fields(rows, size)]
