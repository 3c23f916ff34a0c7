"""The zone of what a node knows of its mesh."""

from meshwg.dns.zone import NamedHost, Zone
from meshwg.node import Node


def own_name(node: Node) -> str:
    """Return what this node is called in the mesh, nothing before it has joined."""
    itself, registered = node.members.itself, node.control.registered
    if itself is not None:
        return itself.name
    return registered.name if registered is not None else ""


def make_zone(node: Node, domain: str) -> Zone | None:
    """Return the zone as it is now, ``None`` before the node has joined.

    Peers that are held are not in it: nobody knows whose their names are.
    """
    registered = node.control.registered
    if registered is None:
        return None
    hosts = [NamedHost(own_name(node), node.members.own_addresses())]
    hosts += [
        NamedHost(peer.entry.name, peer.entry.addresses) for peer in node.peers.values()
    ]
    return Zone(
        domain,
        own_name(node),
        hosts,
        registered.networks,
        node.control.records.records,
        serial=max(node.control.peers.version, node.control.records.version),
    )
