"""The netmap as a node holds it: who is in the mesh, as of which version.

Theory of operation. A netmap comes whole or in *slices*, and so do deltas. Nodes are
told of in the order of the versions that changed them last. So after each slice the
table is complete up to a version, and goes on from there if the connection is lost. A
netmap that replaces an older one names who is a member, and not who is none any more:
nodes that were known before it are *unconfirmed* until they are named, and those that
were not named are gone after the last slice. Until then they stay, since most of them
are members all the same.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshwg.control.events import PeersChanged
from meshwg.schema import plain, sparse
from meshwg.wire.control import (
    MAX_NODES,
    Cache,
    Delta,
    NetMap,
    PeerEntry,
    PolicyMessage,
    Records,
    Registered,
)
from meshwg.wire.digest import format_digest, peer_digest

PART = 32
"""Peers in one part of what is kept on disk: each takes 20 to 50 microseconds."""


@dataclass(frozen=True, slots=True)
class NetMapChange:
    """The difference that a netmap or a delta made."""

    peers: PeersChanged
    itself: PeerEntry | None
    """This node as others see it now, if that changed."""
    consistent: bool
    """The digest fits. If not, only a whole netmap helps."""
    is_last: bool = True
    """No more slices of the same change follow."""


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
        self._unconfirmed: dict[str, None] = {}
        """Nodes that the netmap which is under way has not named yet."""
        self.version = 0
        """Up to this one the table is complete."""
        self.through = 0
        """The version that the slices under way lead to; 0 if none are."""

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
    ) -> Iterator[bytes]:
        """Return the table as JSON in parts, to be loaded after a restart.

        It is as of now, whenever the parts are taken: a large one takes a while.
        """
        cache = Cache(
            registered=registered,
            # Who is unconfirmed is kept, and only a whole netmap can tell of them.
            version=0 if self._unconfirmed else self.version,
            peers=(),
            policy=policy,
            itself=self._itself,
            records=records,
        )
        return _parts(plain(cache), self.nodes)

    def replace(self, netmap: NetMap) -> NetMapChange:
        """Take a whole netmap, or its first slice; return the difference."""
        self._unconfirmed = dict.fromkeys(self._nodes)
        return self._apply(netmap.peers, (), netmap)

    def update(self, delta: Delta) -> NetMapChange | None:
        """Apply a delta, or a slice of one or of a netmap; return the difference.

        ``None`` if it begins too late.
        """
        if not delta.base <= self.version <= delta.version:
            return None
        return self._apply(delta.changed, delta.removed, delta)

    def clear(self) -> PeersChanged:
        """Forget everything; return what that removes."""
        removed = tuple(peer.public_key for peer in self.peers)
        self._nodes.clear()
        self._unconfirmed.clear()
        self._itself = None
        self._digest = self.version = self.through = 0
        return PeersChanged((), removed)

    def _apply(
        self,
        peers: tuple[PeerEntry, ...],
        removed: tuple[str, ...],
        news: NetMap | Delta,
    ) -> NetMapChange:
        own = self._own_key
        for peer in peers:
            self._unconfirmed.pop(peer.public_key, None)
        changed = [peer for peer in peers if self._put(peer)]
        is_last = news.through is None
        if is_last:
            removed = (*removed, *self._unconfirmed)
            self._unconfirmed = {}
        gone = [key for key in removed if self._drop(key)]
        self.version, self.through = news.version, news.through or 0
        difference = PeersChanged(
            tuple(peer for peer in changed if peer.public_key != own),
            tuple(key for key in gone if key != own),
        )
        itself = next((peer for peer in changed if peer.public_key == own), None)
        is_consistent = not is_last or self.digest == news.digest
        return NetMapChange(difference, itself, is_consistent, is_last)

    def _put(self, peer: PeerEntry) -> bool:
        known = self._nodes.get(peer.public_key)
        if known == peer or (known is None and len(self._nodes) >= MAX_NODES):
            return False
        self._drop(peer.public_key)
        self._nodes[peer.public_key] = peer
        self._digest ^= peer_digest(peer.public_key, peer.version)
        return True

    def _drop(self, public_key: str) -> bool:
        self._unconfirmed.pop(public_key, None)
        peer = self._nodes.pop(public_key, None)
        if peer is None:
            return False
        self._digest ^= peer_digest(public_key, peer.version)
        return True


def _parts(head: dict[str, object], nodes: Sequence[PeerEntry]) -> Iterator[bytes]:
    """Yield the JSON of a cache with these nodes, some at a time."""
    del head["peers"]
    yield json.dumps(head, separators=(",", ":")).encode().removesuffix(b"}")
    yield b',"peers":['
    for start in range(0, len(nodes), PART):
        texts = (
            json.dumps(sparse(each), separators=(",", ":"))
            for each in nodes[start : start + PART]
        )
        yield (("," if start else "") + ",".join(texts)).encode()
    yield b"]}"
