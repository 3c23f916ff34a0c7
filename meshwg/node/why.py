"""Why something can be reached, or not: what each layer says, to the first obstacle.

What the far end itself says is found out by whoever asks, from where programs are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from meshwg import prefixes
from meshwg.node.access import AccessControl
from meshwg.node.exits import KILL_SWITCH_OFF
from meshwg.node.machine import Node
from meshwg.node.routers import RouterStanding
from meshwg.peer import MeshPeer
from meshwg.policy.filter import DenyReason
from meshwg.policy.ports import ports_label
from meshwg.policy.rules import AllowRule

MAX_NEAREST = 3
"""Rules that are shown of a denial."""
OLD_SESSION = 180.0
"""Seconds after which a WireGuard session is worth nothing."""


@dataclass(frozen=True, slots=True)
class LayerAnswer:
    """What one layer has to say."""

    layer: str
    """``name``, ``policy``, ``route``, ``path`` or ``session``."""
    ok: bool
    text: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "ok": self.ok,
            "text": self.text,
            "mend": self.mend or None,
        }


@dataclass(frozen=True, slots=True)
class _Destination:
    """What something turned out to be."""

    peer: MeshPeer
    """Whose it is, or through whom it is reached."""
    address: str
    is_beyond: bool = False
    """Whether it is in the internet, and the peer the exit in use."""


def why(
    node: Node, target: str, protocol: int, port: int, now: float, unix_time: float
) -> dict[str, Any]:
    """Return ``meshwg why --json``, but for the far end; ``address`` is where that is.

    :param target: the name, address or public key of a peer, an address behind one, or
        one of the internet.
    """
    steps = list(_steps(node, target, protocol, port, now, unix_time))
    found = _find(node, target)
    failing = next((step.layer for step in steps if not step.ok), None)
    verdict = "allowed"
    if failing is not None:
        verdict = "denied" if failing == "policy" else "unreachable"
    return {
        "schema": 1,
        "target": target,
        "address": None if found is None else found.address,
        "verdict": verdict,
        "steps": [step.to_json() for step in steps],
    }


def _steps(
    node: Node, target: str, protocol: int, port: int, now: float, unix_time: float
) -> Iterator[LayerAnswer]:
    found = _find(node, target)
    if found is None:
        yield from _nowhere(node, target, now)
        return
    peer, address = found.peer, found.address
    yield LayerAnswer("name", True, f"{target} is {_where(found)}")
    yield _policy(node, address, protocol, port)
    yield _exit(node, now) if found.is_beyond else _route(node, peer, address)
    path = peer.path_json(now, unix_time)
    if path["kind"] == "none" and not peer.is_online(unix_time):
        text = f"{peer.entry.name} is offline, and there is no path to it"
        yield LayerAnswer("path", False, text, "Start meshwg on that machine.")
        return
    yield _path(peer, path, now)
    yield _session(peer, unix_time)


def _find(node: Node, target: str) -> _Destination | None:
    """Return what a target is, ``None`` if there is no way to it in the mesh."""
    peer = node.members.find(target)
    if peer is not None:
        if target in peer.entry.addresses:
            return _Destination(peer, target)
        addresses = sorted(peer.entry.addresses, key=lambda each: ":" in each)
        return _Destination(peer, addresses[0]) if addresses else None
    address = _address(target)
    if address is None:
        return None
    for each in node.peers.values():
        for route in each.entry.routes:
            if address in ip_network(route):
                return _Destination(each, str(address))
    leading = node.exits.peer
    if leading is not None and any(address in each for each in leading.beyond):
        return _Destination(leading, str(address), is_beyond=True)
    return None


def _address(target: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(target)
    except ValueError:
        return None


def _where(found: _Destination) -> str:
    name, address = found.peer.entry.name, found.address
    if found.is_beyond:
        return f"{address}, in the internet"
    if address not in found.peer.entry.addresses:
        return f"{address}, behind {name}"
    return f"{name}, {address}"


def _nowhere(node: Node, target: str, now: float) -> Iterator[LayerAnswer]:
    """Yield why there is no way to a target."""
    chosen, address, mesh = node.exits.chosen, _address(target), node.members.mesh
    if address is None and chosen is not None and node.exits.why_away(now):
        yield replace(_unknown(node, target), mend="")
        yield _exit(node, now)
    elif chosen is None or address is None:
        yield _unknown(node, target)
    elif any(address in each for each in prefixes.internet(*mesh)):
        yield LayerAnswer("name", True, f"{target} is {address}, in the internet")
        yield _exit(node, now)
    elif any(address in each for each in mesh) or chosen.lan:
        yield _unknown(node, target)
    else:
        yield LayerAnswer(
            "route",
            False,
            f"{target} is no address of the internet, and while the exit {chosen.name} "
            "is used others are not reached",
            f"'meshwg exit use {chosen.name} --lan' reaches private networks that this "
            "machine is in.",
        )


def _unknown(node: Node, target: str) -> LayerAnswer:
    held = [
        each.entry.name
        for each in node.members.held.values()
        if target in (each.entry.name, *each.entry.addresses)
    ]
    if held:
        return LayerAnswer(
            "name",
            False,
            f"{held[0]} is held, because its key is another one than before",
            f"See 'meshwg trust list', then 'meshwg trust accept {held[0]}'.",
        )
    itself = node.members.itself
    if itself is not None and target in (itself.name, *itself.addresses):
        return LayerAnswer("name", False, f"{target} is this node itself", "")
    text = f"There is no peer {target}"
    if _address(target) is not None and node.exits.chosen is None:
        text += ", nor one with that address behind it, and no exit is used"
    if node.access.policy is not None:
        text += ", or the policy allows nothing between it and this node"
    return LayerAnswer(
        "name", False, text, "See 'meshwg status' for those that are known."
    )


def _policy(node: Node, address: str, protocol: int, port: int) -> LayerAnswer:
    access = node.access
    if access.is_lost:
        return LayerAnswer(
            "policy",
            False,
            "The policy that this node had was lost, so nothing passes",
            "The coordinator tells it again when it is reached.",
        )
    own = _own_address(node, address)
    rule, reason = access.rule_for(own, address, protocol, port)
    label = ports_label(protocol, port)
    if reason is DenyReason.GUARD:
        return LayerAnswer(
            "policy",
            False,
            f"This machine's own guard does not allow {label} to there",
            "Change /etc/meshwg/guard.toml, and restart the node.",
        )
    if reason is not None:
        near = "; ".join(_nearest(access, own, address, protocol, port))
        return LayerAnswer(
            "policy",
            False,
            f"No rule of policy {_version(access)} allows {label} from here to there"
            + (f": {near}" if near else ""),
            "Ask the administrator of the mesh for a rule.",
        )
    if rule is None or access.policy is None:
        return LayerAnswer(
            "policy", True, "There is no policy: all nodes reach each other"
        )
    note = f', "{rule.note}"' if rule.note else ""
    text = f"line {rule.line} of policy {_version(access)} allows {label}{note}"
    return LayerAnswer("policy", True, text)


def _own_address(node: Node, other: str) -> str:
    """Return this node's address of the same IP version as another."""
    own = [e for e in node.members.own_addresses() if (":" in e) == (":" in other)]
    return own[0] if own else other


def _version(access: AccessControl) -> str:
    return "" if access.policy is None else f"version {access.policy.version}"


def _nearest(
    access: AccessControl, source: str, destination: str, protocol: int, port: int
) -> Iterator[str]:
    """Yield what the rules would need that come nearest."""
    others = 0
    for rule in access.policy.rules if access.policy is not None else ():
        parsed = AllowRule.from_wire(rule)
        if others >= MAX_NEAREST or not access.is_about(parsed, source, destination):
            continue
        others += 1
        yield f"line {rule.line} is only for {', '.join(rule.ports)}"


def _route(node: Node, peer: MeshPeer, address: str) -> LayerAnswer:
    if address in peer.entry.addresses:
        return LayerAnswer("route", True, f"the address is {peer.entry.name}'s own")
    route = next(
        each for each in peer.entry.routes if ip_address(address) in ip_network(each)
    )
    standings = node.failover.standings(route)
    chosen, *others = [_router(node, each) for each in standings] or [peer.entry.name]
    if not others and node.failover.is_good(route):
        chosen = peer.entry.name
    reserve = f"; in reserve: {', '.join(others)}" if others else ""
    ok = node.failover.is_good(route)
    text = f"{route} is behind {chosen}{reserve}"
    mend = "" if ok else f"See 'meshwg status' on {peer.entry.name}."
    return LayerAnswer("route", ok, text, mend)


def _exit(node: Node, now: float) -> LayerAnswer:
    """Say through whom the internet is reached, and whether by this way only."""
    away = node.exits.complaint(now)
    if away is not None:
        return LayerAnswer("route", False, away.text.rstrip("."), away.mend)
    is_open = any(each.code == KILL_SWITCH_OFF for each in node.health)
    switch = "there is no kill switch, so packets may leave beside it"
    if not is_open:
        switch = "the kill switch lets nothing out beside it"
    text = f"through the exit {node.exits.name}, which is approved and online"
    return LayerAnswer("route", True, f"{text}; {switch}")


def _router(node: Node, standing: RouterStanding) -> str:
    """Return what is known of a router of a network."""
    name = node.peers[standing.key].entry.name
    trip = standing.round_trip
    known = [f"priority {standing.priority}"]
    known += [f"{trip * 1000:.0f} ms"] if trip is not None else []
    known += [f"it {standing.sentence}"] if standing.sentence else []
    return f"{name} ({', '.join(known)})"


def _path(peer: MeshPeer, path: dict[str, Any], now: float) -> LayerAnswer:
    reason = peer.reason(now)
    if path["kind"] == "none":
        return LayerAnswer("path", True, f"none in use: {reason}")
    rtt = "" if path["rtt_ms"] is None else f", {path['rtt_ms']:g} ms"
    text = f"{path['kind']} by {path['method']}{rtt}: {reason}"
    return LayerAnswer("path", True, text)


def _session(peer: MeshPeer, unix_time: float) -> LayerAnswer:
    handshake = peer.tunnel.last_handshake
    if handshake is None:
        return LayerAnswer("session", True, "none yet: the first packet begins one")
    age = max(unix_time - handshake, 0)
    if age > OLD_SESSION:
        return LayerAnswer("session", True, f"the last one began {age:.0f} s ago")
    return LayerAnswer("session", True, f"{age:.0f} s old")
