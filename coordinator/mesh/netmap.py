"""Netmaps and deltas, each serialised and compressed once for all who receive it.

Theory of operation. Every node carries the version that last changed what peers see of
it; removed nodes leave a tombstone with the version of their removal. Both are kept in
one list ordered by version, so the changes since any version are its tail: a delta
costs what changed, whatever the size of the mesh, and may begin at any version a node
happens to hold. Tombstones are bounded. A node with a version older than the newest
tombstone that was dropped gets everything.

A whole netmap is built seldom: a newcomer gets the last one built and the delta since,
until an eighth of the mesh has changed.

Nodes that know of slices (:mod:`~coordinator.mesh.slices`) are told in those, which are
made one by one, as they are sent.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import takewhile

from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.slices import Entry, Slices
from meshwg.wire.digest import peer_digest

MAX_TOMBSTONES = 4096
SNAPSHOT_SLACK = 32
"""Changes after which a whole netmap is built anew, in a mesh of any size."""


class NetMapHistory:
    """What the mesh looks like, and what changed since any recent version.

    :param whole: the history of all nodes, if this one is of some of them: what is made
        for that is used here, too.
    """

    def __init__(
        self, networks: Networks, whole: "NetMapHistory | None" = None
    ) -> None:
        self._networks = networks
        self._whole = whole
        self._nodes: dict[str, Node] = {}
        self._fragments: dict[str, bytes] = {}
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._tombstones = 0
        self._floor = 0
        self._digest = 0
        self.version = 0
        """The last version that changed anything peers see."""
        self._deltas: dict[tuple[int, bool], Slices] = {}
        self._snapshots: dict[bool, tuple[int, Slices]] = {}
        """Netmaps, whole or in slices, with the number of changes before each."""
        self._recorded = 0
        """Changes so far."""
        self.built = 0
        """Netmaps and deltas built so far; each is sent to many."""

    def load(
        self, nodes: Iterable[Node], tombstones: Mapping[str, int], floor: int
    ) -> None:
        """Start from what the database holds.

        :param tombstones: versions of removals by public key.
        :param floor: the oldest version from which deltas are complete.
        """
        self._floor = floor
        # Nothing may have changed since then.
        self.version = max(self.version, floor)
        removals = [(version, key, None) for key, version in tombstones.items()]
        changes: list[tuple[int, str, Node | None]] = [*removals]
        changes += [(node.version, node.key, node) for node in nodes]
        for version, key, node in sorted(changes, key=lambda change: change[:2]):
            self._record(key, node, version)

    @property
    def tombstones(self) -> dict[str, int]:
        """The versions of the removals that are remembered, by public key."""
        return {k: v for k, v in self._changes.items() if k not in self._nodes}

    @property
    def floor(self) -> int:
        """The oldest version from which deltas are complete."""
        return self._floor

    def node(self, key: str) -> Node | None:
        """Return a node that peers see."""
        return self._nodes.get(key)

    def fragment(self, node: Node) -> bytes:
        """Return a node as JSON, the same object for all whose netmaps have it."""
        known = self._nodes.get(node.key)
        if known is not None and known.version == node.version:
            return self._fragments[node.key]
        whole = self._whole
        return node.peer_json(self._networks) if whole is None else whole.fragment(node)

    def apply(self, changes: Changes) -> bool:
        """Take committed changes over; return whether peers see a difference."""
        before = self.version
        for node in sorted(changes.nodes, key=lambda node: node.version):
            if self._changes.get(node.key) != node.version:
                self._record(node.key, node, node.version)
        for key in changes.removed:
            if key in self._nodes:
                self._record(key, None, changes.version)
        return self.version != before

    def since(self, version: int) -> list[bytes]:
        """Return the payloads that lead from a version to the present one.

        An empty list if there is nothing to tell, and a whole netmap if the version is
        too old, or not one of this mesh.
        """
        if not self._floor <= version <= self.version:
            return self.full()
        return list(self._delta(version, whole=True)) if version < self.version else []

    def nothing(self) -> bytes:
        """Return the payload that changes nothing at the present version."""
        return self._delta(self.version, whole=True)[0]

    def full(self) -> list[bytes]:
        """Return the payloads that lead from nothing to the present version."""
        snapshot = self._snapshot(whole=True)
        return [*snapshot, *self.since(snapshot.version)]

    def slices(self, version: int, through: int = 0) -> Slices | None:
        """Return what leads on from a version, not always to the present one.

        :param through: the version that slices were to lead to of which only those up
            to ``version`` came: by them it is known who has gone, as of then.
        :return: ``None`` if there is nothing to tell.
        """
        if version == self.version:
            return None
        known = max(version, through)
        if 0 <= version < self.version and self._floor <= known <= self.version:
            return self._delta(version, whole=False)
        return self._snapshot(whole=False)

    def _record(self, key: str, node: Node | None, version: int) -> None:
        """Note that a node is as it is now, or is gone, since a version."""
        visible = node is not None and not node.expired
        self._tombstones -= key in self._changes and key not in self._nodes
        known = self._nodes.pop(key, None)
        self._fragments.pop(key, None)
        if known is not None:
            self._digest ^= peer_digest(key, known.version)
        if node is not None and visible:
            self._fragments[key] = self.fragment(node)
            self._nodes[key] = node
            self._digest ^= peer_digest(key, node.version)
        self._changes[key] = version
        self._changes.move_to_end(key)
        self._tombstones += not visible
        self.version = max(self.version, version)
        self._recorded += 1
        self._deltas.clear()
        self._forget_tombstones()

    def _forget_tombstones(self) -> None:
        """Drop the older half of the tombstones when there are too many."""
        if self._tombstones <= MAX_TOMBSTONES:
            return
        gone = [key for key in self._changes if key not in self._nodes]
        for key in gone[: MAX_TOMBSTONES // 2]:
            self._floor = self._changes.pop(key)
            self._tombstones -= 1

    def _delta(self, version: int, *, whole: bool) -> Slices:
        """Return what has changed since a version."""
        delta = self._deltas.get((version, whole))
        if delta is None:
            newest = takewhile(
                lambda change: change[1] > version, reversed(self._changes.items())
            )
            entries = [self._entry(key, changed) for key, changed in newest]
            entries.reverse()
            delta = self._make(entries, version, whole=whole)
            self._deltas[version, whole] = delta
        return delta

    def _snapshot(self, *, whole: bool) -> Slices:
        """Return a netmap that is not too old."""
        at, snapshot = self._snapshots.get(whole, (0, None))
        limit = max(SNAPSHOT_SLACK, len(self._nodes) // 8)
        is_stale = self._recorded - at > limit
        if snapshot is None or is_stale or snapshot.version < self._floor:
            entries = [
                self._entry(key, version)
                for key, version in self._changes.items()
                if key in self._nodes
            ]
            snapshot = self._make(entries, None, whole=whole)
            self._snapshots[whole] = self._recorded, snapshot
        return snapshot

    def _entry(self, key: str, version: int) -> Entry:
        return Entry(version, key, self._fragments.get(key))

    def _make(self, entries: list[Entry], base: int | None, *, whole: bool) -> Slices:
        self.built += 1
        return Slices(
            entries,
            base=base,
            version=self.version,
            digest=self._digest,
            whole=whole,
        )
