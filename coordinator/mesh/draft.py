"""What one transaction is about to change in the mesh, and by which rules.

:class:`~coordinator.mesh.registry.Registry` is what the database says, as of one
version. A transaction makes a :class:`Draft` of it, performs operations on that, writes
what they changed, and only after the commit applies the same changes to the registry.
So a failed transaction leaves no trace, and several coordinators on one database decide
one after the other.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from coordinator.mesh.access import NO_USERS, Access
from coordinator.mesh.apitokenring import DraftedApiTokens
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.approvals import Decision
from coordinator.mesh.audit import (
    AuditEntry,
    api_token_state,
    auth_key_state,
    decision_state,
    node_state,
    policy_state,
    records_state,
    user_state,
)
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.dnsrecords import DraftedRecords
from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.etags import etag_of, node_etag
from coordinator.mesh.flows import Flow, noted
from coordinator.mesh.joining import Joining
from coordinator.mesh.keyring import KeyRing
from coordinator.mesh.leases import DraftedLeases, Lease
from coordinator.mesh.nodes import Node, to_label
from coordinator.mesh.operations import (
    Accepted,
    AddPeer,
    AddRecord,
    AddUser,
    Administered,
    ApplyPolicy,
    Approve,
    Assign,
    Changes,
    CreateApiToken,
    CreateAuthKey,
    DisableUser,
    Disconnect,
    Expire,
    Join,
    MarkOffline,
    NoteFlows,
    Operation,
    Outdated,
    Refuse,
    Refused,
    Remove,
    RemoveRecord,
    Rename,
    Result,
    RevokeApiToken,
    RevokeAuthKey,
    SetUrl,
    Sweep,
    Update,
    UseLease,
)
from coordinator.mesh.plainpeers import PlainPeers
from coordinator.mesh.policies import ActivePolicy, User
from coordinator.mesh.registry import Registry
from coordinator.mesh.routes import Routes
from coordinator.policy.selectors import PLAIN
from meshwg.limits import RateLimiter
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode
from meshwg.wire.dnsrecords import DnsRecord

NO_LEASES: Mapping[str, Lease] = MappingProxyType({})
_ACTION = re.compile(r"(?<=[a-z])(?=[A-Z])")
SOMEBODY = "an administrator"
"""Who decides, where that is not said."""
OUTDATED = "This has changed since it was read: look at it again, and decide anew"
NO_API_TOKENS: Mapping[str, ApiToken] = MappingProxyType({})


class Draft:
    """Decides the operations of one transaction, in order.

    :param auth_keys: those that the operations mention, by number.
    :param approved_routes: networks inside which the settings approve of routes, see
        :class:`~coordinator.mesh.routes.Routes`.
    :param admissions: see :class:`~coordinator.mesh.joining.Joining`.
    :param users: whom the operations may name.
    :param token_tags: the tags of auth keys.
    :param api_tokens: those that the operations mention, by number.
    :param leases: those that the operations mention, by prefix, of ``lease_count``.
    """

    def __init__(
        self,
        registry: Registry,
        auth_keys: Mapping[str, AuthKey],
        *,
        unix_time: float,
        random: Random,
        approved_routes: Iterable[str] | None = None,
        admissions: RateLimiter | None = None,
        users: Mapping[str, User] = NO_USERS,
        token_tags: frozenset[str] = frozenset(),
        api_tokens: Mapping[str, ApiToken] = NO_API_TOKENS,
        leases: Mapping[str, Lease] = NO_LEASES,
        lease_count: int = 0,
    ) -> None:
        self._registry = registry
        self._unix_time = unix_time
        self._actor = SOMEBODY
        self.audited: list[AuditEntry] = []
        """What administrators did, in order."""
        self.url: str | None = None
        """The new URL of the coordinator, ``None`` to leave it as it is."""
        self.flows: dict[Flow, float] = {}
        """Flows that were seen, with when that was."""
        self._members = DraftedMembers(registry)
        self._auth_keys = KeyRing(auth_keys, unix_time)
        self._api_tokens = DraftedApiTokens(api_tokens)
        self._access = Access(
            self._members, registry.policy, users, token_tags, unix_time=unix_time
        )
        self._records = DraftedRecords(registry.records, registry.names)
        self._routes = Routes(self._members, approved_routes)
        self._leases = DraftedLeases(leases, lease_count, self._routes.may_have)
        self._plain = PlainPeers(self._members, unix_time=unix_time, random=random)
        self._joining = Joining(
            self._members,
            self._auth_keys,
            unix_time=unix_time,
            random=random,
            routes=self._routes,
            admissions=admissions,
        )

    @property
    def version(self) -> int:
        """The version that the mesh has after the commit, if any node changes."""
        return self._members.version

    @property
    def nodes(self) -> dict[str, Node]:
        """Changed nodes by key."""
        return self._members.nodes

    @property
    def removed(self) -> dict[str, None]:
        """Keys of removed nodes, in order."""
        return self._members.removed

    @property
    def admitted(self) -> dict[str, None]:
        """Keys of nodes that were not members before, in order."""
        return self._members.admitted

    @property
    def auth_keys(self) -> dict[str, AuthKey]:
        """Changed auth keys by number."""
        return self._auth_keys.changed

    @property
    def api_tokens(self) -> dict[str, ApiToken]:
        """Changed API tokens by number."""
        return self._api_tokens.changed

    @property
    def policy(self) -> ActivePolicy | None:
        """The new policy, ``None`` to leave it as it is."""
        return self._access.changed

    @property
    def users(self) -> dict[str, User]:
        """Changed users by name."""
        return self._access.users

    @property
    def leases(self) -> dict[str, Lease]:
        """Leases that were written, by prefix; nobody but their holders sees that."""
        return self._leases.changed

    @property
    def reclassed(self) -> int:
        """This version, if a node that was there has another class now; else 0."""
        return self.version if self._members.reclassed else 0

    @property
    def is_new_version(self) -> bool:
        """Whether there is anything that others have to know."""
        others = (self.policy, self.records)
        return bool(
            self.nodes or self.removed or any(each is not None for each in others)
        )

    @property
    def records(self) -> tuple[DnsRecord, ...] | None:
        """All records of the zone, if any of them changed."""
        return self._records.changed

    @property
    def changes(self) -> Changes:
        """What to apply to the registry after the commit."""
        version = self.version if self.is_new_version else self._registry.version
        return Changes(
            version,
            tuple(self.nodes.values()),
            tuple(self.removed),
            self.policy,
            self.reclassed,
            self.records,
        )

    def perform(self, operation: Operation) -> Result:
        """Decide one operation."""
        if isinstance(operation, Administered):
            return self._administer(operation)
        return self._HANDLERS[type(operation)](self, operation)

    def settle_routes(self) -> None:
        """Judge anew what nodes offer."""
        self._routes.settle()

    def _administer(self, wanted: Administered) -> Result:
        """Decide what an administrator wants, and note it."""
        operation = wanted.operation
        if wanted.expected and self._etag_of(operation) not in ("", wanted.expected):
            return Outdated(ErrorCode.MALFORMED, OUTDATED)
        target, before = self._state_of(operation)
        self._actor = wanted.actor
        result = self.perform(operation)
        if isinstance(result, Accepted):
            after = self._state_of(operation, result)[1]
            self.audited.append(
                AuditEntry(
                    self._unix_time,
                    wanted.actor,
                    wanted.address,
                    _ACTION.sub("-", type(operation).__name__).lower(),
                    target,
                    before,
                    after,
                )
            )
        return result

    def _etag_of(self, operation: Operation) -> str:
        """Return the entity tag of what an operation is about, empty for no node."""
        match operation:
            case (
                Rename(node=name)
                | Assign(node=name)
                | Approve(node=name)
                | Refuse(node=name)
                | Expire(node=name)
                | Remove(node=name)
            ):
                node = self._members.find(name)
                return "" if node is None else node_etag(node)
        return etag_of(self._state_of(operation)[1])

    def _state_of(
        self, operation: Operation, result: Accepted | None = None
    ) -> tuple[str, str]:
        """Return what an operation is about, and how that is now, as JSON."""
        match operation:
            case (
                Rename(node=name)
                | Assign(node=name)
                | Expire(node=name)
                | Remove(node=name)
                | AddPeer(name=name)
            ):
                node = self._members.find(name)
                if node is None and result is not None and result.node is not None:
                    # By another name, or not any more.
                    node = self._members.get(result.node.key)
                return name, node_state(node)
            case Approve(node=name, item=item) | Refuse(node=name, item=item):
                node = self._members.find(name)
                known = None if node is None else node.decision_on(item)
                return f"{name} {item}", decision_state(known)
            case (
                CreateAuthKey(auth_key=AuthKey(number=number))
                | RevokeAuthKey(number=number)
            ):
                return number, auth_key_state(self._auth_keys.get(number))
            case (
                CreateApiToken(api_token=ApiToken(number=number))
                | RevokeApiToken(number=number)
            ):
                return number, api_token_state(self._api_tokens.get(number))
            case ApplyPolicy():
                return "policy", policy_state(self._access.policy)
            case AddUser(name=name) | DisableUser(name=name):
                return name, user_state(self._access.user(name))
            case AddRecord(record=DnsRecord(name=name)) | RemoveRecord(name=name):
                return name, records_state(self._records.of(name))
        return "", "null"

    # Members.

    def _join(self, join: Join) -> Result:
        before = self._members.get(join.key)
        result = self._joining.join(join)
        self._pass_on(before, self._members.get(join.key))
        return result

    def _update(self, update: Update) -> Result:
        before = self._members.get(update.key)
        if before is None:
            return _unknown(update.key)
        node = replace(before, candidates=update.candidates, nat=update.nat)
        if update.announcement is not None:
            node = self._routes.announce(node, update.announcement)
        node = self._members.put(node)
        self._pass_on(before, node)
        return Accepted(node)

    def _pass_on(self, before: Node | None, after: Node | None) -> None:
        """Let others have what a node has no more."""
        if before is not None and after is not None and before.routes != after.routes:
            self._routes.settle()

    def _note_flows(self, seen: NoteFlows) -> Result:
        node = self._members.get(seen.key)
        if node is None:
            return _unknown(seen.key)
        self.flows |= noted(seen.flows, node, self._members, self._unix_time)
        return Accepted(node)

    def _use_lease(self, use: UseLease) -> Result:
        node = self._members.get(use.key)
        if node is None:
            return _unknown(use.key)
        why = self._leases.refusal(node, use.prefix, writes=use.term is not None)
        if why is not None:
            return Refused(ErrorCode.MALFORMED, why)
        lease, is_written = self._leases.get(use.prefix), False
        if use.term is not None:
            lease, is_written = self._leases.write(use.prefix, use.base, use.term)
        return Accepted(
            lease=lease.term, lease_version=lease.version, is_written=is_written
        )

    def _disconnect(self, gone: Disconnect) -> Result:
        node = self._members.get(gone.key)
        if node is None or node.session != gone.session:
            return Accepted(node)
        if node.ephemeral and gone.left:
            return self._drop(node)
        return Accepted(self._set_offline(node))

    def _mark_offline(self, mark: MarkOffline) -> Result:
        for node in self._members.all():
            if node.online and node.home in mark.homes:
                self._set_offline(node)
        return Accepted()

    def _sweep(self, sweep: Sweep) -> Result:
        for key, session in sweep.away:
            node = self._members.get(key)
            if node is None or node.online or node.session != session:
                continue
            if node.ephemeral:
                self._drop(node)
        return Accepted()

    # Administration.

    def _rename(self, rename: Rename) -> Result:
        node = self._members.find(rename.node)
        if node is None:
            return _unknown(rename.node)
        label = to_label(rename.name)
        holder = self._members.find(label)
        if holder is not None and holder.key != node.key:
            return Refused(
                ErrorCode.MALFORMED,
                f"The name {label} belongs to another node; choose another one",
            )
        return Accepted(self._members.put(replace(node, name=label)))

    def _assign(self, assign: Assign) -> Result:
        node = self._members.find(assign.node)
        if node is None:
            return _unknown(assign.node)
        refused = self._access.refusal(assign.owner, assign.tags)
        if refused is not None:
            return refused
        node = replace(node, owner=assign.owner, tags=assign.tags)
        self._members.put(node)
        # The policy may approve of more for it, or of less.
        self._routes.settle()
        return Accepted(self._members.get(node.key))

    def _approve(self, approve: Approve) -> Result:
        why = self._routes.refusal(approve.item)
        if why is not None:
            text = f"Nobody can have {approve.item} behind a node: {why}"
            return Refused(ErrorCode.MALFORMED, text)
        return self._decide(approve.node, approve.item, approved=True)

    def _refuse(self, refuse: Refuse) -> Result:
        return self._decide(refuse.node, refuse.item, approved=False)

    def _decide(self, name: str, item: str, *, approved: bool) -> Result:
        node = self._members.find(name)
        if node is None:
            return _unknown(name)
        if node.role == PLAIN:
            return Refused(
                ErrorCode.MALFORMED,
                f"{node.name} is a plain WireGuard peer, and so offers nothing",
            )
        decision = Decision(item, approved, self._actor, self._unix_time)
        node = self._members.put(self._routes.decide(node, decision))
        self._routes.settle()
        return Accepted(self._members.get(node.key))

    def _expire(self, expire: Expire) -> Result:
        node = self._members.find(expire.node)
        if node is None:
            return _unknown(expire.node)
        node = replace(node, expired=True, online=False, routes=(), exit=False)
        expired = self._members.put(node)
        self._routes.settle()
        return Accepted(expired)

    def _remove(self, remove: Remove) -> Result:
        node = self._members.find(remove.node)
        return _unknown(remove.node) if node is None else self._drop(node)

    def _add_peer(self, add: AddPeer) -> Result:
        return self._access.refusal(add.owner, add.tags) or self._plain.add(add)

    def _create_auth_key(self, create: CreateAuthKey) -> Result:
        key = create.auth_key
        refused = self._access.refusal(key.owner, key.tags)
        return refused or self._auth_keys.create(create)

    def _revoke_auth_key(self, revoke: RevokeAuthKey) -> Result:
        return self._auth_keys.revoke(revoke)

    def _create_api_token(self, create: CreateApiToken) -> Result:
        return self._api_tokens.create(create)

    def _revoke_api_token(self, revoke: RevokeApiToken) -> Result:
        return self._api_tokens.revoke(revoke)

    def _apply_policy(self, apply: ApplyPolicy) -> Result:
        result = self._access.apply(apply)
        if self._access.changed is not None:
            # It may approve of more, or of less.
            self._routes.settle()
        return result

    def _add_user(self, add: AddUser) -> Result:
        return self._access.add_user(add)

    def _disable_user(self, disable: DisableUser) -> Result:
        result = self._access.disable_user(disable)
        if isinstance(result, Accepted):
            for node in self._members.all():
                if node.owner == disable.name and not node.expired:
                    self._expire(Expire(node.key))
        return result

    def _add_record(self, add: AddRecord) -> Result:
        return self._records.add(add)

    def _remove_record(self, remove: RemoveRecord) -> Result:
        return self._records.remove(remove)

    def _set_url(self, change: SetUrl) -> Result:
        self.url = change.url
        return Accepted()

    # What several operations do.

    def _set_offline(self, node: Node) -> Node:
        return self._members.put(replace(node, online=False, seen=self._unix_time))

    def _drop(self, node: Node) -> Accepted:
        self._members.remove(node)
        if node.routes:
            self._routes.settle()
        return Accepted(node)

    _HANDLERS: Mapping[type[Operation], Callable[..., Result]] = {
        Join: _join,
        Update: _update,
        NoteFlows: _note_flows,
        UseLease: _use_lease,
        Disconnect: _disconnect,
        MarkOffline: _mark_offline,
        Sweep: _sweep,
        Rename: _rename,
        Assign: _assign,
        Approve: _approve,
        Refuse: _refuse,
        Expire: _expire,
        Remove: _remove,
        AddPeer: _add_peer,
        CreateAuthKey: _create_auth_key,
        RevokeAuthKey: _revoke_auth_key,
        CreateApiToken: _create_api_token,
        RevokeApiToken: _revoke_api_token,
        ApplyPolicy: _apply_policy,
        AddUser: _add_user,
        DisableUser: _disable_user,
        AddRecord: _add_record,
        RemoveRecord: _remove_record,
        SetUrl: _set_url,
    }


def _unknown(node: str) -> Refused:
    return Refused(
        ErrorCode.UNKNOWN_PEER,
        f"There is no node {node}; 'meshwg-coordinator node list' shows all",
    )
