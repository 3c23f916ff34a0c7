"""The zone of what a node knows of its mesh."""

from collections.abc import Iterable

from meshwg.dns.zone import NamedHost, Zone
from meshwg.node import Node
from meshwg.wire.dnsrecords import DnsRecord


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
    records = node.control.records.records
    return _zone(node, domain, own_name(node), _hosts(node), records)


def make_plain_zone(node: Node, domain: str, address: str) -> Zone | None:
    """Return what a plain peer of this node may see of it.

    Under a policy that is without records: these are told to nodes by what each may
    see, and the peer is another one.

    :returns: ``None`` if no such peer has the address.
    """
    peer = node.members.served_at(address)
    if peer is None:
        return None
    inner = peer.entry.addresses[0]
    hosts = [
        each
        for each in _hosts(node)
        if each.addresses == peer.entry.addresses
        or (each.addresses and node.access.acquaints(inner, each.addresses[0]))
    ]
    is_open = node.access.policy is None
    records = node.control.records.records if is_open else ()
    return _zone(node, domain, peer.entry.name, hosts, records)


def _hosts(node: Node) -> list[NamedHost]:
    """Return this node and its peers."""
    own = NamedHost(own_name(node), node.members.own_addresses())
    peers = (peer.entry for peer in node.peers.values())
    return [own, *(NamedHost(each.name, each.addresses) for each in peers)]


def _zone(
    node: Node,
    domain: str,
    name: str,
    hosts: Iterable[NamedHost],
    records: Iterable[DnsRecord],
) -> Zone | None:
    registered, client = node.control.registered, node.control
    if registered is None:
        return None
    serial = max(client.peers.version, client.records.version)
    return Zone(domain, name, hosts, registered.networks, records, serial=serial)
