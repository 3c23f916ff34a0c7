"""The store: operations become rows, and rows a registry.

Every transaction first locks the one row of ``mesh``, so that all processes on one
database write one after the other. It then reads what others have changed since this
process looked last, lets a :class:`~coordinator.mesh.draft.Draft` decide, and writes
what that has changed. The registry follows after the commit.
"""

import asyncio
import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.dsn import DatabaseAddress, parse_url
from coordinator.mesh.apitokenring import mentioned_tokens
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.audit import AuditEntry, AuditRow, chained
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.dnsrecords import RecordSet
from coordinator.mesh.draft import Draft
from coordinator.mesh.flows import Flow
from coordinator.mesh.homes import Home, Roll
from coordinator.mesh.ipam import Networks, choose_networks
from coordinator.mesh.joining import make_admissions
from coordinator.mesh.keyring import mentioned
from coordinator.mesh.netmap import MAX_TOMBSTONES, NetMapHistory
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    NAMING,
    ApplyPolicy,
    Changes,
    Operation,
    Result,
    unwrapped,
)
from coordinator.mesh.policies import ActivePolicy, PolicyVersion, User
from coordinator.mesh.registry import Registry
from coordinator.store import schema
from coordinator.store.doubt import Doubt
from coordinator.store.engine import (
    Engine,
    StoreError,
    create_engine,
    holds_mesh,
    migrate,
    transaction,
    wait_for_others,
)
from coordinator.store.flows import read_flows, write_flows
from coordinator.store.homes import beat, living_urls
from coordinator.store.leases import read_leases, write_leases
from coordinator.store.records import read_records, write_records
from coordinator.store.rows import (
    from_api_token,
    from_auth_key,
    from_node,
    to_api_token,
    to_audit_row,
    to_auth_key,
    to_node,
    to_policy,
    to_user,
    upsert,
)
from meshwg.errors import ConfigError
from meshwg.transmit import Random
from meshwg.wire.dnsrecords import DEFAULT_DOMAIN

VERSION_CHANNEL = "meshwg_version"
"""PostgreSQL's notification channel for new versions."""

BEAT_PATIENCE = 6.0
"""Seconds in which a sign of life has to be given; after that it is late anyway."""


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """What an administrator has set about the mesh; ``None`` leaves it as it is."""

    coordinator_key: str
    network4: str | None = None
    network6: str | None = None
    approved_routes: tuple[str, ...] | None = None
    """Networks inside which the settings approve of routes; ``None``: they are not
    known to this process."""
    taken: tuple[IPv4Network, ...] = ()
    """Networks of this machine, which a new mesh avoids."""
    begins: bool = True
    """Whether the mesh is begun if the database holds none."""
    former_key: str | None = None
    """The coordinator's key before, by which the database may still know it."""
    domain: str | None = None
    """What the names of nodes end with."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What came of a transaction, and of those of others before it."""

    outcomes: list[tuple[Operation, Result]]
    changes: list[Changes]


class Store:
    """One database, and the registry that this process has of it."""

    def __init__(self, engine: Engine, config: MeshConfig, random: Random) -> None:
        self._engine = engine
        self._doubt = Doubt(random(8).hex())
        self._config = config
        self._random = random
        self._registry: Registry | None = None
        self._unreported: list[Changes] = []
        self._is_settled = config.approved_routes is None
        """Whether what nodes offer was judged since the settings, or what another
        process has decided, changed."""
        self._admissions = make_admissions()

    @classmethod
    async def open(cls, url: str, config: MeshConfig, *, random: Random) -> "Store":
        """Open a database, making or migrating its schema and choosing a mesh in it.

        :raises StoreError: if that is not possible.
        :raises ConfigError: if it belongs to another coordinator, or other networks,
            or holds no mesh where one may not be begun; it stays untouched then.
        """
        address = parse_url(url)
        if not config.begins:
            await _require_mesh(address)
        store = cls(create_engine(address), config, random)
        try:
            await migrate(store._engine)
            async with transaction(store._engine) as connection:
                await store._settle_mesh(connection)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def engine(self) -> Engine:
        """The database itself."""
        return self._engine

    @property
    def is_shared(self) -> bool:
        """Whether other coordinator processes may use the database, too."""
        return self._engine.is_shared

    async def close(self) -> None:
        await self._engine.dispose()

    # The registry.

    async def load(self) -> tuple[Registry, NetMapHistory]:
        """Read everything; to be called once, before any commit."""
        async with transaction(self._engine) as connection:
            mesh = await self._lock(connection)
            rows = await connection.execute(select(schema.nodes))
            members = [to_node(row) for row in rows]
            removals = await connection.execute(select(schema.removals))
            tombstones = {row.key: row.version for row in removals}
            policy = await self._policy_of(connection, mesh)
            records = await read_records(connection)
        networks = Networks.parse(mesh.network4, mesh.network6)
        registry, history = Registry(networks, mesh.epoch), NetMapHistory(networks)
        changes = Changes(mesh.version, tuple(members), (), policy, mesh.reclassed)
        registry.domain = mesh.domain
        registry.apply(changes)
        registry.records = RecordSet(records, mesh.records_version)
        history.load(members, tombstones, mesh.floor)
        self._registry = registry
        return registry, history

    async def commit(self, operations: Sequence[Operation], unix_time: float) -> Commit:
        """Carry operations out in one transaction; without any, only catch up.

        If the database breaks off instead of answering, it is asked once what became of
        them. If it cannot say, that is found out by the next call, which does what is
        among its operations a second time only if it was not done the first time.

        :raises StoreError: if nothing was carried out, or nobody knows.
        """
        was_in_doubt = bool(self._doubt)
        try:
            return await self._commit(operations, unix_time)
        except StoreError:
            if was_in_doubt or not self._doubt:
                raise
        return await self._commit(operations, unix_time)

    async def _commit(
        self, operations: Sequence[Operation], unix_time: float
    ) -> Commit:
        registry = self._loaded()
        async with transaction(self._engine) as connection:
            await self._catch_up(connection, registry)
            done = await self._doubt.outcomes(connection)
            draft = Draft(
                registry,
                await self._read_auth_keys(connection, operations),
                unix_time=unix_time,
                random=self._random,
                approved_routes=self._config.approved_routes,
                admissions=self._admissions,
                api_tokens=await self._read_api_tokens(connection, operations),
                **await self._read_names(connection, operations),
                **await read_leases(connection, operations),
            )
            if not self._is_settled:
                draft.settle_routes()
            outcomes = [
                (each, done.get(id(each)) or await _decide(draft, each))
                for each in operations
            ]
            await self._write(connection, draft)
            if self.is_shared and operations:
                await self._doubt.note(connection, outcomes)
        self._doubt.settle()
        self._is_settled = True
        if draft.is_new_version:
            registry.apply(draft.changes)
            self._unreported.append(draft.changes)
        return Commit(outcomes, self._report())

    async def rewrite(self) -> None:
        """Write what is there already, which shows whether the database accepts writes.

        :raises StoreError: if it does not; reading may work all the same.
        """
        same = schema.mesh.c.version
        async with transaction(self._engine) as connection:
            await connection.execute(update(schema.mesh).values(version=same))

    def approve_routes(self, approved_routes: tuple[str, ...]) -> None:
        """Let nodes announce routes inside these networks from now on.

        The next commit judges what they announce.
        """
        self._config = replace(self._config, approved_routes=approved_routes)
        self._is_settled = False

    # Queries of the administration.

    async def auth_keys(self) -> list[AuthKey]:
        """Return all auth keys, the oldest first."""
        async with transaction(self._engine) as connection:
            order = select(schema.auth_keys).order_by(schema.auth_keys.c.created)
            return [to_auth_key(row) for row in await connection.execute(order)]

    async def api_tokens(self) -> list[ApiToken]:
        """Return all API tokens, the oldest first."""
        table = schema.api_tokens
        async with transaction(self._engine) as connection:
            order = select(table).order_by(table.c.created, table.c.number)
            return [to_api_token(row) for row in await connection.execute(order)]

    async def api_token(self, number: str) -> ApiToken | None:
        """Return the API token of a number."""
        table = schema.api_tokens
        async with transaction(self._engine) as connection:
            wanted = select(table).where(table.c.number == number)
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else to_api_token(row)

    async def policies(self) -> list[PolicyVersion]:
        """Return all versions of the policy, the newest first."""
        table = schema.policies
        async with transaction(self._engine) as connection:
            order = select(table).order_by(table.c.version.desc())
            return [to_policy(row) for row in await connection.execute(order)]

    async def audit(
        self, after: int = 0, since: float = 0.0, limit: int | None = None
    ) -> list[AuditRow]:
        """Return what administrators did, in order.

        :param after: the number after which to begin.
        :param since: the Unix time from which on.
        :param limit: how many rows; ``None`` for all.
        """
        table = schema.audit
        wanted = (table.c.seq > after) & (table.c.at >= since)
        async with transaction(self._engine) as connection:
            order = select(table).where(wanted).order_by(table.c.seq).limit(limit)
            return [to_audit_row(row) for row in await connection.execute(order)]

    async def flows(self) -> dict[Flow, float]:
        """Return the flows of the last days, with when each was seen last."""
        async with transaction(self._engine) as connection:
            return await read_flows(connection)

    async def users(self) -> list[User]:
        """Return all users, by name."""
        async with transaction(self._engine) as connection:
            order = select(schema.users).order_by(schema.users.c.name)
            return [to_user(row) for row in await connection.execute(order)]

    async def mesh_url(self) -> str:
        """Return the URL that join tokens carry, empty if none is known yet."""
        async with transaction(self._engine) as connection:
            return str((await self._lock(connection)).url)

    # Several processes on one database.

    async def beat(self, home: Home) -> Roll:
        """Give a sign of life, by the database's clock; return who else gave one."""
        if not self.is_shared:
            return Roll({home.name: home})
        async with transaction(self._engine, BEAT_PATIENCE) as connection:
            return await beat(connection, home)

    async def coordinator_urls(self) -> list[str]:
        """Return what join tokens carry: where nodes find the coordinators that run,
        or, if none does, the one that ran last.
        """
        async with transaction(self._engine) as connection:
            mesh = await self._lock(connection)
            urls = await living_urls(connection) if self.is_shared else []
        return urls or [each for each in (str(mesh.url),) if each]

    async def forward(self, messages: Sequence[tuple[str, str]]) -> None:
        """Send texts to other processes; they are not stored.

        :param messages: each the name of a process, and at most 7,999 bytes.
        """
        async with transaction(self._engine) as connection:
            for home, text_ in messages:
                notify = func.pg_notify(offer_channel(home), text_)
                await connection.execute(select(notify))

    # Inside a transaction.

    async def _settle_mesh(self, connection: AsyncConnection) -> None:
        """Make the mesh at first start; later, check that it is the one configured."""
        config = self._config
        await wait_for_others(connection)
        found = await connection.execute(select(schema.mesh).with_for_update())
        mesh = found.one_or_none()
        if mesh is None:
            networks = choose_networks(
                self._random, config.network4, config.network6, config.taken
            )
            row = {
                "id": 1,
                "epoch": self._random(8).hex(),
                "coordinator_key": config.coordinator_key,
                "network4": str(networks.v4),
                "network6": str(networks.v6),
                "version": 0,
                "floor": 0,
                "url": "",
                "domain": config.domain or DEFAULT_DOMAIN,
                "records_version": 0,
                "oldest": schema.OLDEST_READER,
            }
            await connection.execute(insert(schema.mesh), row)
            return
        if mesh.coordinator_key not in (config.coordinator_key, config.former_key):
            raise ConfigError(
                "The database belongs to a coordinator with another key; copy that "
                "one's coordinator.key into this data directory"
            )
        if mesh.coordinator_key != config.coordinator_key:
            await self._set_key(connection, config.coordinator_key)
        await self._settle_networks(connection, mesh)
        if config.domain not in (None, mesh.domain):
            renamed = update(schema.mesh).values(domain=config.domain)
            await connection.execute(renamed)

    async def change_key(self, key: str) -> None:
        """Note that the coordinator has another key."""
        async with transaction(self._engine) as connection:
            await self._set_key(connection, key)

    async def _set_key(self, connection: AsyncConnection, key: str) -> None:
        await connection.execute(update(schema.mesh).values(coordinator_key=key))

    async def _settle_networks(
        self, connection: AsyncConnection, mesh: Row[Any]
    ) -> None:
        wanted = choose_networks(
            self._random,
            self._config.network4 or mesh.network4,
            self._config.network6 or mesh.network6,
        )
        if wanted.prefixes == (mesh.network4, mesh.network6):
            return
        nodes = await connection.scalar(select(func.count()).select_from(schema.nodes))
        if nodes:
            raise ConfigError(
                f"The mesh uses {mesh.network4} and {mesh.network6}, and its nodes "
                "keep their addresses; remove the option, or all nodes"
            )
        v4, v6 = wanted.prefixes
        await connection.execute(update(schema.mesh).values(network4=v4, network6=v6))

    async def _lock(self, connection: AsyncConnection) -> Row[Any]:
        """Wait for other writers to finish; return the mesh's row."""
        found = await connection.execute(select(schema.mesh).with_for_update())
        row = found.one_or_none()
        if row is None:
            raise StoreError("The database holds no mesh; it was emptied", damaged=True)
        return row

    async def _catch_up(self, connection: AsyncConnection, registry: Registry) -> None:
        mesh = await self._lock(connection)
        if mesh.version <= registry.version:
            return
        nodes, removals = schema.nodes, schema.removals
        since = registry.version
        rows = await connection.execute(select(nodes).where(nodes.c.revision > since))
        members = tuple(to_node(row) for row in rows)
        gone = await connection.execute(
            select(removals.c.key).where(removals.c.version > since)
        )
        known = 0 if registry.policy is None else registry.policy.record.version
        records = None
        if mesh.records_version > since:
            records = await read_records(connection)
        changes = Changes(
            mesh.version,
            members,
            tuple(row.key for row in gone),
            None if mesh.policy == known else await self._policy_of(connection, mesh),
            mesh.reclassed,
            records,
        )
        if _may_free_networks(changes, registry):
            # A command of the administration need not know what the settings approve.
            self._is_settled = False
        registry.apply(changes)
        self._unreported.append(changes)

    async def _read_auth_keys(
        self, connection: AsyncConnection, operations: Iterable[Operation]
    ) -> dict[str, AuthKey]:
        """Return the auth keys that operations mention, by number."""
        numbers = mentioned(operations)
        if not numbers:
            return {}
        table = schema.auth_keys
        rows = await connection.execute(
            select(table).where(table.c.number.in_(numbers))
        )
        return {row.number: to_auth_key(row) for row in rows}

    async def _read_api_tokens(
        self, connection: AsyncConnection, operations: Iterable[Operation]
    ) -> dict[str, ApiToken]:
        """Return the API tokens that operations mention, by number."""
        numbers = mentioned_tokens(operations)
        if not numbers:
            return {}
        table = schema.api_tokens
        wanted = select(table).where(table.c.number.in_(numbers))
        rows = await connection.execute(wanted)
        return {row.number: to_api_token(row) for row in rows}

    async def _policy_of(
        self, connection: AsyncConnection, mesh: Row[Any]
    ) -> ActivePolicy | None:
        """Return the policy that is in force."""
        table = schema.policies
        rows = await connection.execute(
            select(table).where(table.c.version == mesh.policy)
        )
        row = rows.one_or_none()
        if row is None:
            return None
        # A megabyte takes half a second to read, in which nodes are to be heard.
        return await asyncio.to_thread(ActivePolicy, to_policy(row))

    async def _read_names(
        self, connection: AsyncConnection, operations: Iterable[Operation]
    ) -> dict[str, Any]:
        """Return the users and tags that operations may name."""
        if not any(isinstance(unwrapped(each), NAMING) for each in operations):
            return {}
        users = await connection.execute(select(schema.users))
        tags = await connection.execute(select(schema.auth_keys.c.tags))
        return {
            "users": {row.name: to_user(row) for row in users},
            "token_tags": frozenset(t for row in tags for t in json.loads(row.tags)),
        }

    async def _write(self, connection: AsyncConnection, draft: Draft) -> None:
        if draft.auth_keys:
            rows = [from_auth_key(key) for key in draft.auth_keys.values()]
            await upsert(connection, schema.auth_keys, "number", rows)
        if draft.api_tokens:
            rows = [from_api_token(token) for token in draft.api_tokens.values()]
            await upsert(connection, schema.api_tokens, "number", rows)
        if draft.url is not None:
            await connection.execute(update(schema.mesh).values(url=draft.url))
        if draft.users:
            rows = [dataclasses.asdict(user) for user in draft.users.values()]
            await upsert(connection, schema.users, "name", rows)
        await self._write_audit(connection, draft.audited)
        await write_flows(connection, draft.flows)
        await write_leases(connection, draft.leases)
        if not draft.is_new_version:
            return
        if draft.records is not None:
            await write_records(connection, draft.records, draft.version)
        await self._write_removals(connection, draft)
        if draft.nodes:
            rows = [from_node(node) for node in draft.nodes.values()]
            await upsert(connection, schema.nodes, "key", rows)
        values = {"version": draft.version}
        if draft.reclassed:
            values["reclassed"] = draft.reclassed
        if draft.policy is not None:
            record = draft.policy.record
            row = dataclasses.asdict(record)
            await connection.execute(insert(schema.policies), row)
            values["policy"] = record.version
        await connection.execute(update(schema.mesh).values(values))
        if self.is_shared:
            # Sent at the commit, and only then; listeners read the rest themselves.
            notify = func.pg_notify(VERSION_CHANNEL, str(draft.version))
            await connection.execute(select(notify))

    async def _write_audit(
        self, connection: AsyncConnection, entries: Sequence[AuditEntry]
    ) -> None:
        """Put what administrators did at the end of the chain."""
        if not entries:
            return
        table = schema.audit
        found = await connection.execute(
            select(table).order_by(table.c.seq.desc()).limit(1)
        )
        row = found.one_or_none()
        last = None if row is None else to_audit_row(row)
        rows = []
        for entry in entries:
            last = chained(entry, last)
            rows.append(dataclasses.asdict(last))
        await connection.execute(insert(table), rows)

    async def _write_removals(self, connection: AsyncConnection, draft: Draft) -> None:
        nodes, removals = schema.nodes, schema.removals
        if draft.admitted:
            back = list(draft.admitted)
            await connection.execute(delete(removals).where(removals.c.key.in_(back)))
        if draft.removed:
            keys = list(draft.removed)
            await connection.execute(delete(nodes).where(nodes.c.key.in_(keys)))
            rows = [{"key": key, "version": draft.version} for key in keys]
            await upsert(connection, removals, "key", rows)
            await self._prune_removals(connection)

    async def _prune_removals(self, connection: AsyncConnection) -> None:
        """Forget the oldest removals; from before them there are no deltas."""
        versions = schema.removals.c.version
        order = select(versions).order_by(versions.desc())
        floor = await connection.scalar(order.offset(MAX_TOMBSTONES).limit(1))
        if floor is not None:
            await connection.execute(delete(schema.removals).where(versions <= floor))
            await connection.execute(update(schema.mesh).values(floor=floor))

    def _loaded(self) -> Registry:
        assert self._registry is not None, "load() comes first"
        return self._registry

    def _report(self) -> list[Changes]:
        """Return the changes not reported yet, even those seen by failed commits."""
        changes, self._unreported = self._unreported, []
        return changes


async def _decide(draft: Draft, operation: Operation) -> Result:
    """Decide an operation; one that takes long in a thread, so that nodes are heard.

    Nothing else changes the registry meanwhile: whoever would waits for the database.
    """
    if isinstance(unwrapped(operation), ApplyPolicy):
        return await asyncio.to_thread(draft.perform, operation)
    return draft.perform(operation)


def _may_free_networks(changes: Changes, registry: Registry) -> bool:
    """Tell whether another process may have left networks to whom the settings approve.

    :param registry: as it was before.
    """
    if changes.removed or changes.policy is not None:
        return True
    for node in changes.nodes:
        before = registry.nodes.get(node.key)
        if node.expired or (before is not None and _was_decided_on(node, before)):
            return True
    return False


def _was_decided_on(node: Node, before: Node) -> bool:
    return (node.decisions, node.tags) != (before.decisions, before.tags)


async def _require_mesh(address: DatabaseAddress) -> None:
    """Look for a mesh, and write nothing.

    :raises ConfigError: if there is none.
    """
    if not await holds_mesh(address):
        raise ConfigError(
            f"The database {address} holds no mesh, but coordinator.key belongs to "
            "one: put the database back with 'meshwg-coordinator restore' (a copy of a "
            "running SQLite database needs its -wal file, too), or move the key away "
            "to begin a new mesh"
        )


def offer_channel(home: str) -> str:
    """Return PostgreSQL's notification channel for offers to one process."""
    return f"meshwg_offer_{home}"
