"""Whom somebody means who asks whether one may reach another."""

from ipaddress import ip_address

from coordinator.mesh.registry import Registry
from coordinator.policy.selectors import Party, Subject
from meshwg.errors import MeshError


def party_of(text: str, registry: Registry) -> Party:
    """Return whom a word means: a node, an address, a tag, a host, or a user.

    :raises MeshError: if it means nobody.
    """
    key = registry.names.get(text.removeprefix("node:"))
    if key is not None:
        return registry.nodes[key].subject
    for node in registry.nodes.values():
        if text in registry.networks.addresses(node.number):
            return node.subject
    if text.startswith("tag:"):
        return Subject(text, tags=(text.removeprefix("tag:"),))
    if registry.policy is not None:
        host = registry.policy.policy.document.hosts.get(text)
        if host is not None:
            return host.network_address
    try:
        return ip_address(text)
    except ValueError:
        pass
    if any(node.owner == text for node in registry.nodes.values()) or "@" in text:
        return Subject(text, owner=text)
    raise MeshError(
        f"There is no node, user or address {text}; 'meshwg-coordinator node list' "
        "shows all nodes"
    )
