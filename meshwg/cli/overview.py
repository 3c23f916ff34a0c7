"""What ``meshwg status`` shows of a node and its peers, fitted to the terminal."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from meshwg.cli.table import (
    WIDTH,
    bytes_text,
    columns,
    duration_text,
    fields,
    milliseconds_text,
    shortened,
    width,
    wrap,
)
from meshwg.cli.words import (
    age_text,
    coordinator_text,
    exit_text,
    loss_text,
    nat_text,
    offers_text,
    path_text,
    policy_text,
    relay_text,
)

ATTEMPTS_SHOWN = 3
DATAPATHS = {"core": "compiled core", "python": "Python"}
"""What carries packets, for a person."""
MIN_NAME = 16
"""Columns of a name that are left before a table gives up other columns."""
_INDENT = "    "
_SEVERITY_COLOURS = {"warning": "yellow", "failure": "red"}


class _Layout(NamedTuple):
    """Which columns a table of peers has."""

    heads: tuple[str, ...]
    detail: int
    """Of the path: see :func:`path_text`."""


_ALL = ("PEER", "ADDRESS", "PATH", "RTT", "LOSS", "RECEIVED", "SENT", "HANDSHAKE")
_LAYOUTS = (
    _Layout(_ALL, 2),
    _Layout(_ALL, 1),
    _Layout(_ALL[:-1], 1),
    _Layout(_ALL[:-1], 0),
    _Layout(("PEER", "ADDRESS", "PATH", "RTT", "LOSS"), 0),
    _Layout(("PEER", "PATH", "RTT"), 0),
)
"""The richest first; one that leaves room for names is taken."""


def render(
    report: dict[str, Any],
    unix_time: float,
    size: int = WIDTH,
    *,
    verbose: bool = False,
    hidden: int = 0,
) -> list[str]:
    """Return the lines that a person sees.

    :param size: columns of a line.
    :param verbose: whether each peer has its reason, and what was tried, below it.
    :param hidden: how many peers there are besides those in the report.
    """
    lines = [*own_lines(report["self"], unix_time, size), ""]
    if complaints := report.get("health", ()):
        lines += [*health_lines(complaints, size), ""]
    peers = report["peers"]
    if not peers:
        return [*lines, *wrap(_why_no_peers(report["self"], hidden), size)]
    lines.append(_count_text(peers, hidden))
    table = peer_table(peers, size)
    lines.append(click.style(table[0], bold=True))
    for peer, line in zip(peers, table[1:], strict=True):
        lines.append(line)
        if verbose:
            lines += reason_lines(peer, unix_time, size)
    return lines


def own_lines(own: dict[str, Any], unix_time: float, size: int) -> list[str]:
    """Return what there is to say of the node itself."""
    name = own["name"]
    addresses = ", ".join(own["addresses"]) or "no address yet"
    interface = f"{own['interface']}, UDP port {own['listen_port']}, MTU {own['mtu']}"
    rows = [
        ("public key", own["public_key"]),
        ("interface", interface),
        ("network", nat_text(own["nat"])),
        ("coordinator", coordinator_text(own["coordinator"], unix_time)),
        ("relay", relay_text(own["relay"])),
    ]
    if own.get("datapath"):
        rows.insert(2, ("data path", DATAPATHS[own["datapath"]]))
    if using := (own.get("exit") or {}).get("using"):
        rows.append(("exit", exit_text(using)))
    if policy := own.get("policy"):
        rows.append(("policy", policy_text(policy)))
    if offers := offers_text(own):
        rows.append(("offers", offers))
    if own.get("state") == "down":
        rows = [rows[0], ("state", _styled("down: 'meshwg up' connects it", "yellow"))]
    if own["notice"]:
        rows.append(("notice", _styled(own["notice"], "yellow")))
    if len(name) > size // 3:
        return [
            _bold(shortened(name, size)),
            *fields([("addresses", addresses), *rows], size),
        ]
    return fields([(_bold(name), addresses), *rows], size)


def health_lines(complaints: Sequence[dict[str, Any]], size: int) -> list[str]:
    """Return a heading, and each complaint with what can be done about it."""
    rows = []
    for complaint in complaints:
        severity = str(complaint["severity"])
        word = _styled(severity, _SEVERITY_COLOURS.get(severity))
        rows.append((f"  {word}", complaint["text"]))
        if complaint["mend"]:
            rows.append(("", complaint["mend"]))
    return [_bold("health"), *fields(rows, size)]


def peer_table(peers: Sequence[dict[str, Any]], size: int) -> list[str]:
    """Return a header and a line for each peer, with what there is room for."""
    room = {layout: _room_for_names(peers, layout, size) for layout in _LAYOUTS}
    longest = max(len(peer["name"]) for peer in peers)
    candidates = [(layout, longest) for layout in _LAYOUTS[:-2]]
    candidates += [(layout, min(longest, MIN_NAME)) for layout in _LAYOUTS[-3:]]
    for layout, wanted in candidates:
        if room[layout] >= wanted:
            return _table(peers, layout, room[layout])
    return _table(peers, _LAYOUTS[-1], max(room[_LAYOUTS[-1]], 4))


def reason_lines(peer: dict[str, Any], unix_time: float, size: int) -> list[str]:
    """Return why the path is what it is and, unless it is direct, what was tried."""
    is_direct = peer["path"]["kind"] == "direct"
    lines = wrap(reason_text(peer), size - len(_INDENT))
    if not is_direct:
        for text in attempt_texts(peer, unix_time):
            lines += wrap(text, size - len(_INDENT))
    return [click.style(_INDENT + line, dim=True) for line in lines]


def reason_text(peer: dict[str, Any]) -> str:
    """Return why the path is what it is, and when another one is tried."""
    text = str(peer["reason"])
    if peer["next_attempt_in"] is not None and peer["path"]["kind"] != "direct":
        text += f" Next attempt in {duration_text(peer['next_attempt_in'])}."
    return text


def attempt_texts(
    peer: dict[str, Any], unix_time: float, most: int = ATTEMPTS_SHOWN
) -> list[str]:
    """Return what was tried last."""
    texts = []
    for attempt in peer["attempts"][-most:]:
        age = duration_text(max(unix_time - attempt["at"], 0))
        detail = f" ({attempt['detail']})" if attempt["detail"] else ""
        texts.append(f"{age} ago: {attempt['method']} {attempt['result']}{detail}")
    return texts


def _why_no_peers(own: dict[str, Any], hidden: int) -> str:
    if hidden:
        return f"None of the {hidden} peers is active: leave out --active to see them."
    if own.get("state") == "down":
        return "This node is not connected to its mesh."
    if not own["addresses"]:
        return "This node has not joined its mesh yet: see the coordinator's line."
    return "No peers yet: let another machine join this mesh."


def _count_text(peers: Sequence[dict[str, Any]], hidden: int) -> str:
    direct = sum(peer["path"]["kind"] == "direct" for peer in peers)
    relayed = sum(peer["path"]["kind"] == "relay" for peer in peers)
    count = "1 peer" if len(peers) == 1 else f"{len(peers)} peers"
    more = f"; {hidden} more without a path" if hidden else ""
    return f"{count}, {direct} direct, {relayed} relayed{more}"


def _room_for_names(peers: Sequence[dict[str, Any]], layout: _Layout, size: int) -> int:
    """Return the columns that a layout leaves for names."""
    rest = [_row(peer, layout)[1:] for peer in peers]
    taken = columns([layout.heads[1:], *rest])
    return size - 2 - max(map(width, taken))


def _table(peers: Sequence[dict[str, Any]], layout: _Layout, room: int) -> list[str]:
    rows = [_row(peer, layout) for peer in peers]
    named = [[shortened(name, room), *rest] for name, *rest in rows]
    return columns([layout.heads, *named])


def _row(peer: dict[str, Any], layout: _Layout) -> list[str]:
    path = peer["path"]
    cells = {
        "PEER": peer["name"],
        "ADDRESS": next(iter(peer["addresses"]), "-"),
        "PATH": path_text(peer, layout.detail),
        "RTT": milliseconds_text(path["rtt_ms"]),
        "LOSS": loss_text(path["loss"]),
        "RECEIVED": bytes_text(peer["rx_bytes"]),
        "SENT": bytes_text(peer["tx_bytes"]),
        "HANDSHAKE": age_text(peer["last_handshake_age"]),
    }
    return [cells[head] for head in layout.heads]


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _styled(text: str, colour: str | None) -> str:
    return " ".join(click.style(word, fg=colour) for word in text.split())
