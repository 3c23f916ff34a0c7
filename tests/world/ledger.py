"""The coordinators' database, in memory."""

from collections.abc import Iterable

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.dnsrecords import RecordSet
from coordinator.mesh.draft import Draft
from coordinator.mesh.flows import Flow
from coordinator.mesh.ipam import Networks
from coordinator.mesh.leases import Lease
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes, Operation, Result
from coordinator.mesh.policies import ActivePolicy, User
from coordinator.mesh.registry import Registry
from meshwg.wire.token import AuthKeyText
from tests.sim.network import Network

LATENCY = 0.005
"""Seconds that a transaction takes, and the news of it to other coordinators."""

MESH = Networks.parse("100.64.0.0/16", "fd00:1:2::/48")


class Ledger:
    """A database in memory, shared by coordinators as PostgreSQL is.

    :param approved_routes: networks of which nodes may announce a part.
    """

    def __init__(self, network: Network, approved_routes: Iterable[str] = ()) -> None:
        self.network = network
        self.approved_routes = tuple(approved_routes)
        self.epoch = "epoch"
        """Another one is that of a database that was restored."""
        self.version = 0
        self.nodes: dict[str, Node] = {}
        self.tombstones: dict[str, int] = {}
        self.records = RecordSet()
        self.auth_keys: dict[str, AuthKey] = {}
        self.users: dict[str, User] = {}
        self.flows: dict[Flow, float] = {}
        self.leases: dict[str, Lease] = {}
        self.policy: ActivePolicy | None = None
        self.reclassed = 0
        self.broken = False
        """Transactions fail."""
        self.latency = LATENCY

    def add_auth_key(
        self,
        *,
        reusable: bool = True,
        ephemeral: bool = False,
        lifetime: float = 86400.0,
        owner: str = "",
        tags: tuple[str, ...] = (),
        hub: bool = True,
    ) -> str:
        """Return a new auth key in clear.

        :param hub: whether nodes may be hubs that join with it.
        """
        text = AuthKeyText.generate(self.network.random.randbytes)
        self.auth_keys[text.number] = AuthKey.from_text(
            text,
            reusable=reusable,
            ephemeral=ephemeral,
            created=self.network.unix_time,
            lifetime=lifetime,
            owner=owner,
            tags=tags,
            hub=hub,
        )
        if owner:
            self.users[owner] = User(owner, self.network.unix_time)
        return str(text)

    def load(self) -> tuple[Registry, NetMapHistory]:
        """Return what a coordinator that starts finds in the database."""
        registry = Registry(MESH, self.epoch)
        nodes = tuple(self.nodes.values())
        registry.apply(Changes(self.version, nodes, (), self.policy, self.reclassed))
        registry.records = self.records
        history = NetMapHistory(MESH)
        history.load(self.nodes.values(), self.tombstones, 0)
        return registry, history

    def commit(
        self, registry: Registry, operations: Iterable[Operation]
    ) -> tuple[list[tuple[Operation, Result]], list[Changes]]:
        """Carry out one transaction; return its outcomes, and what has changed.

        The changes, which other coordinators made, too, are in the registry then.
        """
        changes = self._catch_up(registry)
        draft = Draft(
            registry,
            self.auth_keys,
            unix_time=self.network.unix_time,
            random=self.network.random.randbytes,
            approved_routes=self.approved_routes,
            users=self.users,
            token_tags=frozenset(t for k in self.auth_keys.values() for t in k.tags),
            leases=self.leases,
            lease_count=len(self.leases),
        )
        outcomes = [(each, draft.perform(each)) for each in operations]
        self.auth_keys |= draft.auth_keys
        self.users |= draft.users
        self.flows |= draft.flows
        self.leases |= draft.leases
        if draft.is_new_version:
            self.policy = draft.policy or self.policy
            self.reclassed = max(self.reclassed, draft.reclassed)
            for key in draft.removed:
                del self.nodes[key]
                self.tombstones[key] = draft.version
            for key in draft.admitted:
                self.tombstones.pop(key, None)
            self.nodes |= draft.nodes
            self.version = draft.version
            if draft.records is not None:
                self.records = RecordSet(draft.records, draft.version)
            registry.apply(draft.changes)
            changes.append(draft.changes)
        return outcomes, changes

    def _catch_up(self, registry: Registry) -> list[Changes]:
        since = registry.version
        if self.version == since:
            return []
        nodes = tuple(n for n in self.nodes.values() if n.revision > since)
        gone = tuple(key for key, at in self.tombstones.items() if at > since)
        policy = None if self.policy is registry.policy else self.policy
        is_newer = self.records.version > since
        records = self.records.records if is_newer else None
        changes = Changes(self.version, nodes, gone, policy, self.reclassed, records)
        registry.apply(changes)
        return [changes]
