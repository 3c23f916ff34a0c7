"""The coordinators' database, in memory."""

import random
from collections.abc import Iterable

from coordinator.authkeys import AuthKey
from coordinator.ipam import Networks
from coordinator.netmap import NetMapHistory
from coordinator.nodes import Node
from coordinator.operations import Changes, Operation, Result
from coordinator.registry import Draft, Registry
from meshwg.wire.token import AuthKeyText

UNIX_TIME = 1_800_000_000.0
"""The wall clock at virtual time 0."""
DATABASE_LATENCY = 0.005
NETWORKS = Networks.parse("100.64.0.0/16", "fd00:1:2::/48")


class Ledger:
    """A database in memory, shared by coordinators as PostgreSQL is."""

    def __init__(
        self, networks: Networks = NETWORKS, approved_routes: Iterable[str] = ()
    ) -> None:
        self.networks = networks
        self.approved_routes = tuple(approved_routes)
        self.version = 0
        self.nodes: dict[str, Node] = {}
        self.tombstones: dict[str, int] = {}
        self.auth_keys: dict[str, AuthKey] = {}
        self.broken = False
        """Transactions fail."""
        self.latency = DATABASE_LATENCY

    def add_auth_key(
        self,
        randomness: random.Random,
        *,
        reusable: bool = True,
        ephemeral: bool = False,
        lifetime: float = 86400.0,
    ) -> str:
        """Return a new auth key in clear."""
        text = AuthKeyText.generate(randomness.randbytes)
        self.auth_keys[text.number] = AuthKey.from_text(
            text,
            reusable=reusable,
            ephemeral=ephemeral,
            created=UNIX_TIME,
            lifetime=lifetime,
        )
        return str(text)

    def load(self) -> tuple[Registry, NetMapHistory]:
        registry = Registry(self.networks, "epoch")
        registry.apply(Changes(self.version, tuple(self.nodes.values())))
        history = NetMapHistory(self.networks)
        history.load(self.nodes.values(), self.tombstones, 0)
        return registry, history

    def commit(
        self,
        registry: Registry,
        operations: Iterable[Operation],
        unix_time: float,
        randomness: random.Random,
    ) -> tuple[list[tuple[Operation, Result]], list[Changes]]:
        changes = self._catch_up(registry)
        draft = Draft(
            registry,
            self.auth_keys,
            unix_time=unix_time,
            random=randomness.randbytes,
            approved_routes=self.approved_routes,
        )
        outcomes = [(each, draft.perform(each)) for each in operations]
        self.auth_keys |= draft.spent
        if draft.nodes or draft.removed:
            for key in draft.removed:
                del self.nodes[key]
                self.tombstones[key] = draft.version
            for key in draft.admitted:
                self.tombstones.pop(key, None)
            self.nodes |= draft.nodes
            self.version = draft.version
            registry.apply(draft.changes)
            changes.append(draft.changes)
        return outcomes, changes

    def _catch_up(self, registry: Registry) -> list[Changes]:
        since = registry.version
        if self.version == since:
            return []
        nodes = tuple(n for n in self.nodes.values() if n.revision > since)
        gone = tuple(key for key, at in self.tombstones.items() if at > since)
        changes = Changes(self.version, nodes, gone)
        registry.apply(changes)
        return [changes]
