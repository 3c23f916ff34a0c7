"""Who has spoken to whom in the last days, as nodes tell it.

A node speaks for itself only: a flow counts if it ends there, or in a network behind
it. Nodes are named by their keys, so that what is known outlasts their addresses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Protocol

from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.registry import Registry
from coordinator.policy.compile import Policy
from coordinator.policy.selectors import Party
from meshwg.policy.ports import parse_ports
from meshwg.wire.control import SeenFlow

KEPT = 7 * 86400.0
"""Seconds for which a flow is remembered after it was seen last."""
MAX_FLOWS = 20_000
"""Flows that are remembered; of more, those that were seen last."""


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """From one to a port of another: each a node's key, or an address behind one."""

    source: str
    destination: str
    port: str


@dataclass(frozen=True, slots=True)
class CutFlow:
    """One that a policy does not allow, with the names of its ends."""

    source: str
    destination: str
    port: str
    at: float
    """Unix time at which it was seen last."""


class Numbered(Protocol):
    """What has to be known of the mesh."""

    networks: Networks

    def holder(self, number: int) -> str | None:
        """Return the key of the node with a number."""


def noted(
    flows: Iterable[SeenFlow], node: Node, members: Numbered, at: float
) -> dict[Flow, float]:
    """Return those flows that end at a node which tells of them."""
    found = {}
    for each in flows:
        if not _is_port(each.port):
            continue
        destination = _end(each.destination, members)
        if destination == node.key or _is_behind(each.destination, node):
            found[Flow(_end(each.source, members), destination, each.port)] = at
    return found


def cut_by(
    policy: Policy, before: Policy, flows: Mapping[Flow, float], registry: Registry
) -> list[CutFlow]:
    """Return the flows that one policy allows and the next one does not.

    Flows of nodes that are gone are nobody's, and those that are cut already no news.
    """
    found = []
    for flow, at in sorted(flows.items()):
        ends = _party(flow.source, registry), _party(flow.destination, registry)
        source, destination = ends
        if source is None or destination is None:
            continue
        ports = parse_ports(flow.port)
        what = (source, destination, ports.protocol, ports.first)
        if before.allowing(*what) and not policy.allowing(*what):
            names = _name(flow.source, registry), _name(flow.destination, registry)
            found.append(CutFlow(*names, flow.port, at))
    return sorted(found, key=lambda each: (each.source, each.destination, each.port))


def _end(address: str, members: Numbered) -> str:
    """Return the key of the node with an address, or the address."""
    parsed, networks = ip_address(address), members.networks
    for network in (networks.v4, networks.v6):
        if parsed in network:
            number = int(parsed) - int(network.network_address)
            return members.holder(number) or address
    return address


def _is_port(text: str) -> bool:
    try:
        parse_ports(text)
    except ValueError:
        return False
    return True


def _is_behind(address: str, node: Node) -> bool:
    parsed = ip_address(address)
    return any(parsed in ip_network(route) for route in node.routes)


def _party(end: str, registry: Registry) -> Party | None:
    node = registry.nodes.get(end)
    if node is not None:
        return None if node.expired else node.subject
    try:
        return ip_address(end)
    except ValueError:
        return None


def _name(end: str, registry: Registry) -> str:
    node = registry.nodes.get(end)
    return end if node is None else node.name
