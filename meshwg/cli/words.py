"""What a person reads of single things in a status: a NAT, a path, a connection."""

from typing import Any

import click

from meshwg.cli.table import duration_text, milliseconds_text

ACTIVE_WITHIN = 180.0
"""Seconds since a handshake for which a session lives: as long as it is used."""

OFFERS_SHOWN = 5
_STATE_COLOURS = {"approved": "green", "advertised": "yellow", "refused": "red"}
_COLOURS = {"direct": "green", "relay": "yellow", "none": "red"}
_DIFFICULTIES = {"none": "no NAT", "easy": "easy NAT", "hard": "hard NAT"}
_KINDS = {
    "open-internet": "no NAT, no firewall",
    "symmetric-udp-firewall": "no NAT, but a firewall",
    "udp-blocked": "UDP is blocked",
}
_PLAIN_DIFFICULTY = {
    "full-cone": "easy",
    "restricted-cone": "easy",
    "port-restricted-cone": "easy",
    "symmetric": "hard",
}


def nat_text(nat: dict[str, Any] | None) -> str:
    """Return what a NAT is to those who look for a direct path, and its name."""
    if nat is None:
        return "not examined yet"
    kind = str(nat["type"])
    difficulty = nat.get("difficulty") or _PLAIN_DIFFICULTY.get(kind, "unknown")
    name = kind.replace("-", " ")
    if kind in _KINDS:
        text = _KINDS[kind]
    elif difficulty in _DIFFICULTIES:
        text = _DIFFICULTIES[difficulty]
        text += "" if kind == "unknown" else f" ({name})"
    else:
        text = "NAT of unknown kind" if kind == "unknown" else name
    return f"{text}, seen as {nat['public']}" if nat.get("public") else text


def coordinator_text(coordinator: dict[str, Any], unix_time: float) -> str:
    """Return where the coordinator is, and how the connection to it is doing."""
    since = coordinator["since"]
    age = f" for {duration_text(unix_time - since)}" if since is not None else ""
    error = f": {coordinator['error']}" if coordinator["error"] else ""
    state = click.style(
        coordinator["state"],
        fg="green" if coordinator["state"] == "connected" else "yellow",
    )
    return f"{coordinator['url']} {state}{age}{error}"


def relay_text(relay: dict[str, Any]) -> str:
    """Return which relay there is, and what is wrong with it."""
    error = f": {relay['error']}" if relay["error"] else ""
    if relay["url"] is None:
        return str(relay["error"] or "none")
    if relay["state"] != "allocated":
        return f"{relay['url']} {relay['state']}{error}"
    rtt = milliseconds_text(relay["rtt_ms"])
    url = relay["url"].partition("?")[0]
    return f"{url} over {relay['transport']}, {rtt}{error}"


def path_text(peer: dict[str, Any], detail: int = 2) -> str:
    """Return by which path a peer is reached.

    :param detail: 0 only the kind; 1 also the method, or the hub; 2 also the address.
    """
    path = peer["path"]
    if peer.get("held"):
        return click.style("held", fg="red")
    if path["kind"] == "none" and not peer["online"]:
        return click.style("offline", dim=True)
    if path["kind"] == "none" and not peer["attempts"]:
        return click.style("idle", dim=True)
    kind = click.style(path["kind"], fg=_COLOURS.get(path["kind"]))
    if path["kind"] == "none" or detail == 0:
        return kind
    if path["via"]:
        return f"{kind} via {path['via']}"
    method = "" if path["method"] == path["kind"] else f" {path['method']}"
    remote = path["remote"] if detail > 1 else None
    return f"{kind}{method} {remote or ''}".rstrip()


def loss_text(loss: float | None) -> str:
    """Return how much is lost, ``-`` if nothing is known."""
    return "-" if loss is None else f"{loss:.0%}"


def age_text(seconds: float | None) -> str:
    """Return how long ago something was, ``never`` if it was not."""
    return "never" if seconds is None else f"{duration_text(seconds)} ago"


def is_active(peer: dict[str, Any]) -> bool:
    """Tell whether there is, or just was, a way or a session to a peer."""
    age = peer["last_handshake_age"]
    return peer["path"]["kind"] != "none" or (age is not None and age < ACTIVE_WITHIN)


def identity_text(peer: dict[str, Any]) -> str:
    """Return to whom a node belongs, and its tags; empty for neither."""
    tags = (f"tag:{tag}" for tag in peer.get("tags") or ())
    return " ".join((peer.get("owner") or "", *tags)).strip()


def names_text(names: dict[str, Any]) -> str:
    """Return how programs of this machine find names of the mesh."""
    if names["mode"] == "off":
        return "left alone, as --no-dns says"
    by = {"file": "/etc/resolv.conf"}.get(names["mode"], names["mode"])
    return f"those in {names['domain']} are known by {by}"


def policy_text(policy: dict[str, Any]) -> str:
    """Return who may reach what, in a few words."""
    guard = ", and this machine's guard" if policy["guard"] else ""
    if policy["version"] is not None:
        return f"version {policy['version']}: what no rule allows is denied{guard}"
    if policy["default"] == "deny":
        return f"lost: all is denied until the coordinator tells it again{guard}"
    return f"none: all nodes reach each other{guard}"


def offers_text(own: dict[str, Any]) -> str:
    """Return what a node offers to others, and what became of it."""
    offers = [(each["prefix"], each) for each in own.get("routes", ())]
    wishes = (
        ("an exit", own.get("exit", {}).get("offering")),
        ("a hub", own.get("hub")),
    )
    offers += [(what, wish) for what, wish in wishes if wish is not None]
    shown = [
        f"{what} {click.style(state['state'], fg=_STATE_COLOURS.get(state['state']))}"
        for what, state in offers[:OFFERS_SHOWN]
    ]
    more = len(offers) - OFFERS_SHOWN
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])


def exit_text(using: dict[str, Any]) -> str:
    """Return through whom the internet is reached."""
    if using["state"] == "away":
        return f"{using['name']}, which is away: nothing gets to the internet"
    beside = ", and the local network beside it" if using["lan"] else ""
    return f"{using['name']} alone leads to the internet{beside}"
