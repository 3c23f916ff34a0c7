"""Peers that can be reached in no other way than through a hub, which forwards.

What a hub forwards is taken only of peers to which this node has no way of its own, and
of whom it knows that they look for one, or that it has diverted. A hub speaks for
nobody else.

A peer is *diverted* when something waits for it and there is neither a path nor a
relay: its addresses are then a hub's, until it is reached itself, or a while has passed
and another way is looked for. What the peer is, and what a hub is, may change at any
time; diverted peers then return, and are diverted again if necessary.

Of several hubs all nodes take the same, which both ends of a pair have to: the one that
was approved first, of those that are online and have not failed for this peer lately
(:mod:`meshwg.node.farends`).
"""

from meshwg.node.farends import FarEnds
from meshwg.node.plainpeers import Network, PlainPeers
from meshwg.peer import HUB, MeshPeer
from meshwg.wireguard.device import Device

DURATION = 60.0
"""Seconds for which a hub forwards to a peer before another way is looked for."""


class Diversions:
    """Which peers' packets go to which hub, and so whose addresses belong to whom."""

    def __init__(self, device: Device) -> None:
        self.plain = PlainPeers(device)
        """Peers that are never reached but through their hub."""
        self.far_ends = FarEnds()
        self._device = device
        self._hubs: dict[MeshPeer, None] = {}
        self._until: dict[MeshPeer, float] = {}
        self._expected: dict[MeshPeer, MeshPeer] = {}
        """From which hub the packets of a peer are taken."""

    def peer_changed(self, peer: MeshPeer) -> None:
        """Take note of a peer's addresses and role, new or not."""
        self.plain.peer_changed(peer)
        if peer.is_plain:
            return
        self.end_all(peer)
        self._assign_networks(peer)
        is_hub = peer.entry.role == HUB
        if not is_hub:
            self._let_nobody_come_by(peer)
        self._device.datapath.let_forward(peer.tunnel.lane, is_hub)
        if is_hub:
            self._hubs[peer] = None
        else:
            self._hubs.pop(peer, None)

    def remove(self, peer: MeshPeer) -> None:
        """Forget a peer that is no longer a member."""
        self.plain.remove(peer)
        self.far_ends.forget(peer)
        self.end_all(peer)
        self._let_nobody_come_by(peer)
        self._expected.pop(peer, None)
        self._hubs.pop(peer, None)

    def expect(self, peer: MeshPeer, now: float) -> None:
        """Take what the hub forwards of a peer to which there is no way.

        It will look for one itself, and send by the hub meanwhile. So this node does
        the same: only who measures a hub notices that it has to be another one.
        """
        if peer.via is None:
            self.begin(peer, now)

    def reached(self, peer: MeshPeer) -> None:
        """Take note that there is a way to a peer itself, and nobody speaks for it."""
        self.end(peer)
        self._let_come_by(peer, None)

    def begin(self, peer: MeshPeer, now: float) -> bool:
        """Divert a peer, if there is a hub; tell whether there is."""
        hub = self._hub_for(peer)
        if hub is None:
            return False
        for network in peer.networks():
            self._device.allowed_ips.insert(network, hub.tunnel.lane)
        peer.via = hub
        self._let_come_by(peer, hub)
        self._until[peer] = now + DURATION
        self.far_ends.begin(peer, hub, now)
        return True

    def end(self, peer: MeshPeer) -> None:
        """Send to a peer itself again, if it is diverted."""
        if peer.via is not None:
            peer.via = None
            del self._until[peer]
            self.far_ends.end(peer)
            self._assign_networks(peer)

    def end_all(self, peer: MeshPeer) -> None:
        """End the diversion of a peer, and all those through it."""
        for other in [p for p in self._until if peer in (p, p.via)]:
            self.end(other)

    def get_timer(self) -> float | None:
        times = (*self._until.values(), self.far_ends.get_timer())
        return min((each for each in times if each is not None), default=None)

    def handle_timer(self, now: float) -> list[tuple[MeshPeer, int]]:
        """End the diversions that have lasted long enough, or lead nowhere.

        :return: whom to ask for an echo through its hub, and by which sequence number.
        """
        for peer in [p for p, until in self._until.items() if until <= now]:
            self.end(peer)
        due = self.far_ends.take_due(now)
        for peer, _ in due:
            if peer.is_forwarded is False and self._hub_for(peer) is not peer.via:
                self.end(peer)
                self.begin(peer, now)
        return due

    def _let_come_by(self, peer: MeshPeer, hub: MeshPeer | None) -> None:
        lane = peer.tunnel.lane
        before = self._expected.pop(peer, None)
        if hub is not None:
            self._expected[peer] = hub
        if before is not hub:
            by = None if hub is None else hub.tunnel.lane
            self._device.datapath.let_come_by(lane, by)

    def _let_nobody_come_by(self, hub: MeshPeer) -> None:
        """Take nothing more from a peer that is no hub any more."""
        for peer in [p for p, by in self._expected.items() if by is hub]:
            self._let_come_by(peer, None)

    def _hub_for(self, peer: MeshPeer) -> MeshPeer | None:
        if peer.entry.role == HUB:
            return None
        online = [hub for hub in self._hubs if hub.entry.online]

        def place(hub: MeshPeer) -> tuple[float, int, str]:
            failed = self.far_ends.failed_at(peer, hub)
            return failed, hub.entry.hub_since, hub.key

        return min(online, key=place, default=None)

    def _assign_networks(self, peer: MeshPeer) -> None:
        allowed_ips, lane = self._device.allowed_ips, peer.tunnel.lane
        known: list[Network] = allowed_ips.of(lane)
        wanted = [*peer.networks(), *self.plain.carried_by(peer)]
        for network in known:
            if network not in wanted:
                allowed_ips.remove(network, lane)
        for network in wanted:
            if network not in known:
                allowed_ips.insert(network, lane)
