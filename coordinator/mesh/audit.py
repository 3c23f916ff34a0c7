"""The audit log: who changed what in the mesh, in a chain that shows tampering.

Each row has the hash of all that stands in it and of the row before, so a row that is
changed, taken out or put in breaks the chain from there on. Who can write the database
can write a whole new chain, but not one that ends in a hash which somebody has noted.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.approvals import Decision
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.nodes import Node
from coordinator.mesh.policies import PolicyVersion, User
from meshwg.wire.dnsrecords import DnsRecord

NO_HASH = "0" * 64
"""Stands before the first row."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that an administrator did. Times are Unix times."""

    at: float
    actor: str
    address: str
    """From where, empty for this machine."""
    action: str
    """In kebab-case, as ``apply-policy``."""
    target: str
    before: str
    """What it was, as JSON; ``null`` if it was not there."""
    after: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry in its place in the chain."""

    seq: int
    at: float
    actor: str
    address: str
    action: str
    target: str
    before: str
    after: str
    previous_hash: str
    hash: str


def chained(entry: AuditEntry, last: AuditRow | None) -> AuditRow:
    """Return an entry as the row after the last one."""
    seq = 1 if last is None else last.seq + 1
    previous = NO_HASH if last is None else last.hash
    values = (
        seq,
        entry.at,
        entry.actor,
        entry.address,
        entry.action,
        entry.target,
        entry.before,
        entry.after,
        previous,
    )
    return AuditRow(*values, hash_of(*values))


def first_break(rows: Iterable[AuditRow]) -> int | None:
    """Return the number of the first row that is not what it was; rows are in order."""
    seq, previous = 0, NO_HASH
    for row in rows:
        values = (
            row.seq,
            row.at,
            row.actor,
            row.address,
            row.action,
            row.target,
            row.before,
            row.after,
            row.previous_hash,
        )
        is_next = row.seq == seq + 1 and row.previous_hash == previous
        if not is_next or row.hash != hash_of(*values):
            return seq + 1
        seq, previous = row.seq, row.hash
    return None


def hash_of(*values: object) -> str:
    """Return the hash of what stands in a row."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def node_state(node: Node | None) -> str:
    """Return what an administrator can change of a node, as JSON."""
    if node is None:
        return "null"
    return _json(
        name=node.name,
        owner=node.owner,
        tags=list(node.tags),
        expired=node.expired,
        key=node.key,
    )


def auth_key_state(key: AuthKey | None) -> str:
    """Return the same of an auth key."""
    if key is None:
        return "null"
    return _json(
        revoked=key.revoked,
        uses=key.max_uses,
        ephemeral=key.ephemeral,
        expires=key.expires,
        owner=key.owner,
        tags=list(key.tags),
        hub=key.hub,
    )


def api_token_state(token: ApiToken | None) -> str:
    """Return the same of an API token."""
    if token is None:
        return "null"
    return _json(
        name=token.name,
        revoked=token.revoked,
        role=token.role,
        scopes=list(token.scopes),
        expires=token.expires,
    )


def decision_state(decision: Decision | None) -> str:
    """Return the same of what a node offers."""
    if decision is None:
        return "null"
    return _json(approved=decision.approved, by=decision.by)


def policy_state(policy: PolicyVersion | None) -> str:
    """Return the same of the policy, whose text is in its history."""
    if policy is None:
        return "null"
    return _json(version=policy.version, sha256=policy.sha256)


def user_state(user: User | None) -> str:
    """Return the same of a user."""
    return "null" if user is None else _json(disabled=user.disabled)


def records_state(records: Iterable[DnsRecord]) -> str:
    """Return the same of the records of a name."""
    shown = [_json(type=each.kind, value=each.value) for each in records]
    return f"[{','.join(shown)}]" if shown else "null"


def _json(**values: object) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
