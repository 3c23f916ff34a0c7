"""Plain WireGuard peers: phones and routers that run no meshwg, each behind its hub.

At its *hub* a plain peer is what it is to any WireGuard: a key and its addresses,
wherever it was last heard from. To all others its addresses are the hub's, so they have
no tunnel to it, and look for no path. A hub that is none any more, or has gone, leaves
its plain peers unreached.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from meshwg.keys import format_key
from meshwg.peer import HUB, MeshPeer
from meshwg.transmit import FIRST_LINK, UDP, Endpoint
from meshwg.wireguard.device import Device
from meshwg.wireguard.lane import Lane

Network = IPv4Network | IPv6Network


class PlainPeers:
    """Where the packets of plain peers go, and whose addresses theirs are."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._peers: dict[str, MeshPeer] = {}
        """By public key."""
        self._hubs: dict[str, MeshPeer] = {}
        """All hubs but this node, likewise."""
        self._served: dict[Lane, MeshPeer] = {}
        """Those whose hub this node is."""
        self._owners: dict[MeshPeer, tuple[Lane, list[Network]]] = {}
        """In whose lane the networks of a peer are."""

    def peer_changed(self, peer: MeshPeer) -> None:
        """Take note of what a peer is now, plain or not, new or not."""
        if peer.is_plain:
            self._peers[peer.key] = peer
            self._settle(peer)
            return
        was_hub = self._hubs.pop(peer.key, None) is not None
        if peer.entry.role == HUB:
            self._hubs[peer.key] = peer
        if was_hub or peer.entry.role == HUB:
            self._settle_behind(peer.key)

    def remove(self, peer: MeshPeer) -> None:
        """Forget a peer that is no longer a member."""
        if self._peers.pop(peer.key, None) is not None:
            self._served.pop(peer.tunnel.lane, None)
            self._give(peer, None)
        elif self._hubs.pop(peer.key, None) is not None:
            self._settle_behind(peer.key)

    def carried_by(self, hub: MeshPeer) -> list[Network]:
        """Return the networks of plain peers that packets to a hub are for as well."""
        if not self._owners:
            return []
        lane = hub.tunnel.lane
        return [
            network
            for owner, networks in self._owners.values()
            if owner is lane
            for network in networks
        ]

    def served_addresses(self) -> tuple[str, ...]:
        """Return the addresses of those whose hub this node is, and judges for."""
        return tuple(self._addresses())

    def served_at(self, address: str) -> MeshPeer | None:
        """Return the peer of this hub that has an address, ``None`` if none has."""
        for peer in self._served.values():
            if address in peer.entry.addresses:
                return peer
        return None

    def heard(self, lane: Lane, endpoint: Endpoint) -> None:
        """Send to a plain peer of this node where it has just been heard from."""
        peer = self._served.get(lane)
        if peer is None or lane.endpoint == endpoint:
            return
        # It knows of no relays and streams, so it does not come by these.
        if UDP <= endpoint.link < FIRST_LINK:
            self._device.set_endpoint(peer.tunnel, endpoint)

    def _addresses(self) -> Iterator[str]:
        for peer in self._served.values():
            yield from peer.entry.addresses

    def _settle_behind(self, hub: str) -> None:
        for peer in list(self._peers.values()):
            if peer.entry.via == hub:
                self._settle(peer)

    def _settle(self, peer: MeshPeer) -> None:
        """Have the addresses of a peer where packets for it go."""
        via, lane = peer.entry.via, peer.tunnel.lane
        peer.is_served = via is not None and via == self._own_key()
        peer.via = None if via is None else self._hubs.get(via)
        if peer.is_served:
            self._served[lane] = peer
            self._give(peer, lane)
            return
        self._served.pop(lane, None)
        self._give(peer, None if peer.via is None else peer.via.tunnel.lane)

    def _give(self, peer: MeshPeer, lane: Lane | None) -> None:
        """Let the networks of a peer belong to a lane, and to no other."""
        allowed_ips, wanted = self._device.allowed_ips, peer.networks()
        before = self._owners.pop(peer, None)
        if before is not None:
            owner, networks = before
            for network in networks:
                if owner is not lane or network not in wanted:
                    allowed_ips.remove(network, owner)
        if lane is not None:
            self._owners[peer] = lane, wanted
            for network in wanted:
                allowed_ips.insert(network, lane)

    def _own_key(self) -> str | None:
        key = self._device.private_key
        return None if key is None else format_key(key.public_bytes)
