"""The netmap as a node holds it: who is in the mesh, as of which version."""

from dataclasses import dataclass

from meshwg.control.events import PeersChanged
from meshwg.wire.control import (
    Cache,
    Delta,
    NetMap,
    PeerEntry,
    PolicyMessage,
    Records,
    Registered,
    format_digest,
    peer_digest,
    to_json,
)


@dataclass(frozen=True, slots=True)
class NetMapChange:
    """The difference that a netmap or a delta made."""

    peers: PeersChanged
    itself: PeerEntry | None
    """This node as others see it now, if that changed."""
    consistent: bool
    """The digest fits. If not, only a whole netmap helps."""


class PeerTable:
    """All nodes of the mesh, kept up to date by netmaps and deltas.

    :param own_key: this node's public key, which the coordinator's netmaps contain too.
    """

    def __init__(self, own_key: str) -> None:
        self._own_key = own_key
        self._nodes: dict[str, PeerEntry] = {}
        self._itself: PeerEntry | None = None
        """This node, where the netmap does not have it."""
        self._digest = 0
        self.version = 0

    @property
    def peers(self) -> list[PeerEntry]:
        """All nodes but this one."""
        return [peer for key, peer in self._nodes.items() if key != self._own_key]

    @property
    def nodes(self) -> list[PeerEntry]:
        """All nodes, this one included."""
        return list(self._nodes.values())

    @property
    def itself(self) -> PeerEntry | None:
        """This node as others see it."""
        return self.get(self._own_key)

    @property
    def digest(self) -> str:
        return format_digest(self._digest)

    def get(self, public_key: str) -> PeerEntry | None:
        """Return a node, this one included."""
        found = self._nodes.get(public_key)
        if found is None and public_key == self._own_key:
            return self._itself
        return found

    def put_itself(self, itself: PeerEntry) -> bool:
        """Take this node's own entry apart from the netmap; return whether it is news.

        What is another node's is not taken.
        """
        known = self.get(self._own_key)
        if itself.public_key != self._own_key or itself == known:
            return False
        self._itself = itself
        return True

    def load(self, cache: Cache) -> None:
        """Start from what was on disk."""
        for peer in cache.peers:
            self._put(peer)
        if cache.itself is not None:
            self.put_itself(cache.itself)
        self.version = cache.version

    def cache(
        self,
        registered: Registered,
        policy: PolicyMessage | None = None,
        records: Records | None = None,
    ) -> bytes:
        """Return the table as JSON, to be loaded after a restart."""
        cache = Cache(
            registered=registered,
            version=self.version,
            peers=tuple(self.nodes),
            policy=policy,
            itself=self._itself,
            records=records,
        )
        return to_json(cache)

    def replace(self, netmap: NetMap) -> NetMapChange:
        """Take a whole netmap; return the difference."""
        present = {peer.public_key for peer in netmap.peers}
        removed = tuple(key for key in self._nodes if key not in present)
        return self._apply(netmap.peers, removed, netmap.version, netmap.digest)

    def update(self, delta: Delta) -> NetMapChange | None:
        """Apply a delta; return the difference, ``None`` if it begins too late."""
        if not delta.base <= self.version <= delta.version:
            return None
        return self._apply(delta.changed, delta.removed, delta.version, delta.digest)

    def clear(self) -> PeersChanged:
        """Forget everything; return what that removes."""
        removed = tuple(peer.public_key for peer in self.peers)
        self._nodes.clear()
        self._itself = None
        self._digest = self.version = 0
        return PeersChanged((), removed)

    def _apply(
        self,
        peers: tuple[PeerEntry, ...],
        removed: tuple[str, ...],
        version: int,
        digest: str,
    ) -> NetMapChange:
        own = self._own_key
        changed = [peer for peer in peers if self._put(peer)]
        gone = [key for key in removed if self._drop(key)]
        self.version = version
        difference = PeersChanged(
            tuple(peer for peer in changed if peer.public_key != own),
            tuple(key for key in gone if key != own),
        )
        itself = next((peer for peer in changed if peer.public_key == own), None)
        return NetMapChange(difference, itself, self.digest == digest)

    def _put(self, peer: PeerEntry) -> bool:
        if self._nodes.get(peer.public_key) == peer:
            return False
        self._drop(peer.public_key)
        self._nodes[peer.public_key] = peer
        self._digest ^= peer_digest(peer.public_key, peer.version)
        return True

    def _drop(self, public_key: str) -> bool:
        peer = self._nodes.pop(public_key, None)
        if peer is None:
            return False
        self._digest ^= peer_digest(public_key, peer.version)
        return True
