"""What a plain WireGuard peer is told: the text of a ``wg-quick`` file.

The private key is put in by whoever made it, at once, and is in no database. A router
that fetches its configuration later gets what ``wg syncconf`` takes, without the key.
"""

from dataclasses import dataclass

from coordinator.mesh.endpoints import Unreachable, endpoint_for
from coordinator.mesh.nodes import Node
from coordinator.mesh.registry import Registry

MTU = 1280
"""Bytes: the least that IPv6 allows. The hub sends on through tunnels of its own, and
nobody tells a plain peer what these carry."""
KEEPALIVE = 25
"""Seconds between two packets that hold a NAT open, as WireGuard's manual has it."""
EVERYTHING = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """The configuration of a plain peer."""

    name: str
    public_key: str
    addresses: tuple[str, ...]
    hub: str
    hub_key: str
    endpoint: str
    allowed_ips: tuple[str, ...]
    name_servers: tuple[str, ...] = ()
    """Where all that a peer sends goes to its hub, also what it asks for: whoever is
    near it would hear that otherwise."""

    def wg_quick(self, private_key: str | None = None) -> str:
        """Return the file of ``wg-quick``.

        :param private_key: in base64; ``None`` leaves a place for it.
        """
        key = f"PrivateKey = {private_key}"
        if private_key is None:
            key = f"# PrivateKey = the one that belongs to {self.public_key}"
        widths = {4: 32, 6: 128}
        addresses = (f"{a}/{widths[6 if ':' in a else 4]}" for a in self.addresses)
        lines = [
            "[Interface]",
            key,
            f"Address = {', '.join(addresses)}",
            f"MTU = {MTU}",
        ]
        if self.name_servers:
            lines.append(f"DNS = {', '.join(self.name_servers)}")
        return "\n".join((*lines, "", self.wg_peer()))

    def wg_peer(self) -> str:
        """Return the part that ``wg`` itself reads, which is about the hub alone."""
        lines = (
            "[Peer]",
            f"PublicKey = {self.hub_key}",
            f"AllowedIPs = {', '.join(self.allowed_ips)}",
            f"Endpoint = {self.endpoint}",
            f"PersistentKeepalive = {KEEPALIVE}",
        )
        return "\n".join(lines) + "\n"


def config_of(peer: Node, registry: Registry) -> PeerConfig | Unreachable:
    """Return what a plain peer has to know now."""
    hub = registry.nodes.get(peer.via)
    if hub is None:
        return Unreachable(
            f"The hub of {peer.name} is no member any more: remove {peer.name} with "
            f"'meshwg-coordinator peer remove {peer.name}', and add it anew"
        )
    endpoint = endpoint_for(hub, peer.endpoint)
    if isinstance(endpoint, Unreachable):
        return endpoint
    return PeerConfig(
        peer.name,
        peer.key,
        registry.networks.addresses(peer.number),
        hub.name,
        hub.key,
        endpoint,
        EVERYTHING if peer.full_tunnel else _reached(peer, registry),
        registry.networks.addresses(hub.number) if peer.full_tunnel else (),
    )


def _reached(peer: Node, registry: Registry) -> tuple[str, ...]:
    """Return the mesh, and the networks behind nodes that a peer may know of."""
    routes = {
        route: None
        for node in registry.nodes.values()
        if registry.may_see(peer, node)
        for route in node.routes
    }
    return (*registry.networks.prefixes, *sorted(routes))
