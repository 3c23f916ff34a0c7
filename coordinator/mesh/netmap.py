"""Netmaps and deltas, each serialised and compressed once for all who receive it.

Theory of operation. Every node carries the version that last changed what peers see of
it; removed nodes leave a tombstone with the version of their removal. Both are kept in
one list ordered by version, so the changes since any version are its tail: a delta
costs what changed, whatever the size of the mesh, and may begin at any version a node
happens to hold. Tombstones are bounded. A node with a version older than the newest
tombstone that was dropped gets everything.

A whole netmap is built seldom: a newcomer gets the last one built and the delta since,
until that delta would be an eighth of the mesh.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from meshwg.wire.control import pack
from meshwg.wire.digest import format_digest, peer_digest

MAX_TOMBSTONES = 4096
SNAPSHOT_SLACK = 32
"""Changes after which a whole netmap is built anew, in a mesh of any size."""


class NetMapHistory:
    """What the mesh looks like, and what changed since any recent version."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._nodes: dict[str, Node] = {}
        self._fragments: dict[str, bytes] = {}
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._tombstones = 0
        self._floor = 0
        self._digest = 0
        self.version = 0
        """The last version that changed anything peers see."""
        self._deltas: dict[int, bytes] = {}
        self._snapshot: tuple[int, bytes] | None = None
        self.built = 0
        """Payloads built so far; each is sent to many."""

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
        return [self._delta(version)] if version < self.version else []

    def nothing(self) -> bytes:
        """Return the payload that changes nothing at the present version."""
        return self._delta(self.version)

    def full(self) -> list[bytes]:
        """Return the payloads that lead from nothing to the present version."""
        if self._snapshot is None or self._is_stale(self._snapshot[0]):
            self._snapshot = (self.version, self._build_netmap())
        version, payload = self._snapshot
        return [payload, *self.since(version)]

    def _record(self, key: str, node: Node | None, version: int) -> None:
        """Note that a node is as it is now, or is gone, since a version."""
        visible = node is not None and not node.expired
        self._tombstones -= key in self._changes and key not in self._nodes
        known = self._nodes.pop(key, None)
        self._fragments.pop(key, None)
        if known is not None:
            self._digest ^= peer_digest(key, known.version)
        if node is not None and visible:
            self._nodes[key] = node
            self._fragments[key] = node.peer_json(self._networks)
            self._digest ^= peer_digest(key, node.version)
        self._changes[key] = version
        self._changes.move_to_end(key)
        self._tombstones += not visible
        self.version = max(self.version, version)
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

    def _is_stale(self, version: int) -> bool:
        limit = max(SNAPSHOT_SLACK, len(self._nodes) // 8)
        if version < self._floor:
            return True
        for count, changed in enumerate(reversed(self._changes.values())):
            if changed <= version:
                return False
            if count >= limit:
                return True
        return False

    def _delta(self, version: int) -> bytes:
        payload = self._deltas.get(version)
        if payload is None:
            payload = self._deltas[version] = self._build_delta(version)
        return payload

    def _build_delta(self, base: int) -> bytes:
        changed: list[bytes] = []
        removed: list[bytes] = []
        for key in reversed(self._changes):
            if self._changes[key] <= base:
                break
            fragment = self._fragments.get(key)
            if fragment is not None:
                changed.append(fragment)
            else:
                removed.append(b'"' + key.encode() + b'"')
        self.built += 1
        return pack(
            b'{"type":"delta","base":%d,"version":%d,"digest":"%s",'
            b'"changed":[%s],"removed":[%s]}'
            % (
                base,
                self.version,
                format_digest(self._digest).encode(),
                b",".join(reversed(changed)),
                b",".join(reversed(removed)),
            )
        )

    def _build_netmap(self) -> bytes:
        self.built += 1
        return pack(
            b'{"type":"netmap","version":%d,"digest":"%s","peers":[%s]}'
            % (
                self.version,
                format_digest(self._digest).encode(),
                b",".join(self._fragments.values()),
            )
        )
