"""What ``meshwg status --json`` says about a node."""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import Any

from meshwg import __version__
from meshwg.control.client import ControlState
from meshwg.nat.behaviour import NatBehavior
from meshwg.node import Node
from meshwg.node.trust import Held, Trust
from meshwg.peer import MeshPeer, held_status
from meshwg.relay.allocation import RelayState
from meshwg.wire import control
from meshwg.wire.routes import WishState

SCHEMA = 1
LISTED = 500
"""Peers up to which a person is shown those, too, that were never spoken to."""
NO_NAMES = {"mode": "off", "domain": None, "error": None}
"""``dns`` of a node that leaves names alone."""

_COORDINATOR_STATES = {
    ControlState.CONNECTED: "connected",
    ControlState.CONNECTING: "connecting",
    ControlState.OFFLINE: "offline",
    ControlState.ENDED: "offline",
}
_RELAY_STATES = {
    RelayState.ALLOCATED: "allocated",
    RelayState.CONNECTING: "connecting",
    RelayState.OFFLINE: "offline",
}


def status(
    node: Node,
    *,
    name: str,
    interface: str,
    mtu: int,
    coordinator_url: str,
    now: float,
    unix_time: float,
) -> dict[str, Any]:
    """Return the whole object; it holds no secret.

    :param name: what the node calls itself, until the coordinator says otherwise.
    :param mtu: of the interface, in bytes.
    """
    report = own_status(
        node,
        name=name,
        interface=interface,
        mtu=mtu,
        coordinator_url=coordinator_url,
        now=now,
        unix_time=unix_time,
    )
    return report | {"peers": list(peers_status(node, now, unix_time))}


def own_status(
    node: Node,
    *,
    name: str,
    interface: str,
    mtu: int,
    coordinator_url: str,
    now: float,
    unix_time: float,
) -> dict[str, Any]:
    """Return the same without peers."""
    client = node.control
    itself = node.members.itself
    registered = client.registered
    nat = node.whereabouts.nat[4] or node.whereabouts.nat[6]
    drops = all_drops(node)
    return {
        "schema": SCHEMA,
        "self": {
            "name": itself.name if itself is not None else name,
            "version": __version__,
            "state": "up",
            "role": client.offered_role,
            "public_key": node.public_key,
            "addresses": list(node.members.own_addresses()),
            "interface": interface,
            "datapath": node.device.datapath.kind,
            "listen_port": node.whereabouts.listen_port,
            "mtu": mtu,
            "nat": None if nat is None else _nat_json(nat),
            "notice": registered.notice if registered is not None else "",
            "policy": node.access.status(),
            "coordinator": {
                "url": coordinator_url,
                "state": _COORDINATOR_STATES[client.state],
                "since": round(unix_time - now + client.since, 3),
                "error": client.error,
            },
            "relay": _relay(node),
            "routes": [
                {"prefix": each.prefix, "state": each.state, "reason": each.reason}
                for each in node.members.offers.routes()
            ],
            "exit": {
                "using": node.exits.status(now),
                "offering": _wish(node.members.offers.exit()),
            },
            "hub": _wish(node.members.offers.hub()),
            "dns": NO_NAMES,
        },
        "peers": [],
        "health": [complaint.to_json() for complaint in node.health],
        "counters": {
            "drops": {reason: count for reason, count in drops.items() if count}
        },
    }


def standby_status(
    *,
    name: str,
    public_key: str,
    addresses: Sequence[str],
    interface: str,
    coordinator_url: str,
    since: float,
    why: str,
) -> dict[str, Any]:
    """Return the whole object of a node that was taken down.

    :param since: Unix time at which it was.
    """
    return {
        "schema": SCHEMA,
        "self": {
            "name": name,
            "version": __version__,
            "state": "down",
            "public_key": public_key,
            "addresses": list(addresses),
            "interface": interface,
            "datapath": None,
            "listen_port": 0,
            "mtu": 0,
            "nat": None,
            "notice": "",
            "policy": None,
            "coordinator": {
                "url": coordinator_url,
                "state": "offline",
                "since": round(since, 3),
                "error": why,
            },
            "relay": {
                "url": None,
                "state": "offline",
                "transport": None,
                "address": None,
                "rtt_ms": None,
                "error": why,
            },
            "routes": [],
            "exit": {"using": None, "offering": None},
            "hub": None,
            "dns": NO_NAMES,
        },
        "peers": [],
        "health": [],
        "counters": {"drops": {}},
    }


def trust_status(trust: Trust) -> dict[str, Any]:
    """Return ``meshwg trust list --json``: whose keys are pinned, and who is held."""
    return {
        "schema": SCHEMA,
        "networks": list(trust.networks),
        "pins": [
            {
                "name": pin.names[-1] if pin.names else "",
                "public_key": pin.public_key,
                "names": list(pin.names),
                "addresses": list(pin.addresses),
                "first_seen": round(pin.first_seen, 3),
                "last_seen": round(pin.last_seen, 3),
                "state": trust.state_of(pin),
            }
            for pin in sorted(trust.pins, key=lambda pin: (pin.names, pin.public_key))
        ],
        "held": [
            {
                "name": held.entry.name,
                "public_key": held.entry.public_key,
                "addresses": list(held.entry.addresses),
                "claim": held.claim,
                "known_key": held.owner,
                "reason": held.reason,
            }
            for _, held in sorted(trust.held.items())
        ],
    }


def quiet_peers(node: Node) -> frozenset[str]:
    """Return the keys of peers that were never spoken to, if there are very many peers.

    Nobody reads thousands of lines that say so.
    """
    if len(node.peers) <= LISTED:
        return frozenset()
    return frozenset(
        key
        for key, peer in node.peers.items()
        if peer.agent is None and peer.via is None and not peer.tunnel.rx_bytes
    )


def peers_status(
    node: Node, now: float, unix_time: float, but: Container[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield what is said of each peer, by their names.

    It is made as it is asked for, so that packets have their turn in a large mesh; who
    has gone meanwhile is there all the same.

    :param but: keys of peers that are left out.
    """
    reserves: dict[str, list[dict[str, str]]] = {}
    for network, peer, standing in node.members.routers():
        if not standing.is_chosen:
            entry = {"prefix": network, "state": standing.state}
            reserves.setdefault(peer.key, []).append(entry)
    peers = [peer for key, peer in node.peers.items() if key not in but]
    shown: list[MeshPeer | Held] = [*peers, *node.members.held.values()]
    shown.sort(key=lambda each: each.entry.name)
    for each in shown:
        if isinstance(each, Held):
            reason = f"Held, with no session and no routes: {each.reason}"
            said = held_status(each.entry, reason)
            reserve: list[dict[str, str]] = []
        else:
            said = each.status(now, unix_time, node.paths.refusal_of(each))
            reserve = reserves.get(each.key, [])
        yield {**said, **_identity(node, each.entry), "reserve": reserve}


def _identity(node: Node, entry: control.PeerEntry) -> dict[str, Any]:
    """Return what a peer is to the policy, as far as this node is told."""
    return {
        "class": ", ".join(node.access.labels(entry.policy_class)) or None,
        "owner": entry.owner or None,
        "tags": list(entry.tags),
    }


def all_drops(node: Node) -> Counter[str]:
    """Return what was dropped, by reason, over all parts of a node."""
    drops = node.drops.copy()
    for machine in (node.device, node.control, node.relays):
        drops.update({drop.value: count for drop, count in machine.drops.items()})
    for peer in node.peers.values():
        if (agent := peer.agent) is not None:
            drops.update({drop.value: count for drop, count in agent.drops.items()})
    return drops


def _nat_json(nat: NatBehavior) -> dict[str, Any]:
    return nat.to_json() | {"difficulty": nat.difficulty.value}


def _wish(state: WishState | None) -> dict[str, str] | None:
    """Return what became of the wish to be something, ``None`` without one."""
    return None if state is None else {"state": state.state, "reason": state.reason}


def _relay(node: Node) -> dict[str, Any]:
    relay = node.relays.status
    return {
        "url": relay.url,
        "state": _RELAY_STATES[relay.state],
        "transport": None if relay.transport is None else relay.transport.value,
        "address": None if relay.address is None else str(relay.address),
        "rtt_ms": relay.rtt_ms,
        "error": relay.error,
    }
