"""Which peers have shown that a session with them works, before packets go there.

In a cluster a route to a peer's pods that leads nowhere does harm: where the peer does
not know this node's key yet, what was reached before is reached no more, and perhaps
that is what the peer needs to learn the key. So a route stands only behind a peer with
which a handshake has been completed, both sides of which have proved their keys. The
handshakes are begun from here, a few at a time, and not left to the first packet, which
would find no route.

What was proved once holds until the peer leaves: a session that fails later is the
business of paths and routers.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from meshwg.peer import MeshPeer

LOOK_INTERVAL = 0.25
"""Seconds between two looks while there are peers to wait for."""
AT_ONCE = 16
"""Handshakes that are begun at one look: in a cluster of 500 nodes all are begun
within 8 s, of which Python's handshakes take a tenth."""
MIN_RETRY, MAX_RETRY = 5.0, 60.0
"""Seconds until a peer that has not answered is tried again; they double. A handshake
goes on by itself for longer than the first of them."""
SLOW_INTERVAL = 5.0
"""Seconds between two looks while nobody is tried: a peer may begin by itself."""


class Proving:
    """The peers of one node that have networks behind them.

    :param peers: the members, by public key.
    """

    def __init__(self, peers: Mapping[str, MeshPeer], now: float) -> None:
        self._peers = peers
        self._proven: dict[str, None] = {}
        self._waiting: dict[str, tuple[float, float]] = {}
        """When each is tried next, and how long it is waited for after that."""
        self._now = self._begun_at = now
        self._due: float | None = None

    def follow(self) -> None:
        """Take note of who is there, and who has networks."""
        self._proven = {key: None for key in self._proven if key in self._peers}
        waiting = {
            key: self._waiting.get(key, (self._now, MIN_RETRY))
            for key, peer in self._peers.items()
            if peer.entry.routes and not self.is_proven(key)
        }
        if waiting.keys() - self._waiting.keys() or self._is_someone_due(waiting):
            self._due = self._now
        self._waiting = waiting

    def is_proven(self, key: str) -> bool:
        """Tell whether packets may go to the networks behind a peer."""
        peer = self._peers.get(key)
        # A plain peer is reached by its hub, and proves nothing to others.
        return key in self._proven or (peer is not None and peer.is_plain)

    def routed(self, peers: Iterable[MeshPeer]) -> list[str]:
        """Return the networks behind those that have proved it."""
        return [
            prefix
            for peer in peers
            if self.is_proven(peer.key)
            for prefix in peer.entry.routes
        ]

    def closed(self, peers: Iterable[MeshPeer]) -> list[str]:
        """Return the networks to which packets are to be refused until then.

        They would leave by the machine's default route, in clear. A single address is
        one that somebody has on the underlay, too, and is reached there until then.
        """
        return [
            prefix
            for peer in peers
            if not self.is_proven(peer.key)
            for prefix in peer.entry.routes
            if ip_network(prefix).num_addresses > 1
        ]

    # Time.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        return self._due if self._waiting else None

    def handle_timer(self, now: float) -> tuple[list[MeshPeer], bool]:
        """Return the peers to begin a session with, and whether one has proved it."""
        self._now = max(self._now, now)
        if self._due is None or now < self._due:
            return [], False
        has_news = self._look()
        begun = list(self._begin(now))
        if begun:
            self._begun_at = now
        is_slow = now >= self._begun_at + MIN_RETRY
        self._due = now + (SLOW_INTERVAL if is_slow else LOOK_INTERVAL)
        return begun, has_news

    def _look(self) -> bool:
        found = [
            key
            for key in self._waiting
            if self._peers[key].tunnel.last_handshake is not None
        ]
        for key in found:
            del self._waiting[key]
            self._proven[key] = None
        return bool(found)

    def _begin(self, now: float) -> Iterable[MeshPeer]:
        due = [key for key in self._waiting if self._is_due(self._waiting, key, now)]
        for key in due[:AT_ONCE]:
            _, pause = self._waiting[key]
            self._waiting[key] = now + pause, min(2 * pause, MAX_RETRY)
            yield self._peers[key]

    def _is_someone_due(self, waiting: Mapping[str, tuple[float, float]]) -> bool:
        return any(self._is_due(waiting, key, self._now) for key in waiting)

    def _is_due(
        self, waiting: Mapping[str, tuple[float, float]], key: str, now: float
    ) -> bool:
        return waiting[key][0] <= now and self._peers[key].entry.online
