"""Nodes and auth keys as the administration shows them: the objects of ``--json``."""

import json
from collections.abc import Iterable

from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.approvals import HUB, ItemState
from coordinator.mesh.audit import AuditRow
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.flows import CutFlow
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.policies import PolicyVersion, User
from coordinator.mesh.registry import Registry
from coordinator.policy.diff import Difference
from coordinator.policy.explain import Explanation, rule_label
from meshwg.wire.dnsrecords import DnsRecord
from meshwg.wire.routes import RouteTraits


def node_record(node: Node, networks: Networks) -> dict[str, object]:
    """Return a node as JSON. Times are Unix times."""
    return {
        "name": node.name,
        "public_key": node.key,
        "addresses": list(networks.addresses(node.number)),
        "online": node.online,
        "role": node.role,
        "routes": list(node.routes),
        "announced": list(node.announced),
        "exit": node.exit,
        "waiting": [
            {"item": each.item, "state": each.state, "reason": each.reason}
            for each in node.withheld
        ],
        "ephemeral": node.ephemeral,
        "expired": node.expired,
        "joined": node.joined,
        "seen": node.seen,
        "token": node.auth_key or None,
        "cluster_node": None if node.cluster is None else node.cluster.node,
        "owner": node.owner or None,
        "tags": list(node.tags),
    }


def peer_record(peer: Node, registry: Registry) -> dict[str, object]:
    """Return a plain WireGuard peer as JSON, without its configuration."""
    hub = registry.nodes.get(peer.via)
    return {
        "name": peer.name,
        "public_key": peer.key,
        "addresses": list(registry.networks.addresses(peer.number)),
        "hub": None if hub is None else hub.name,
        "owner": peer.owner or None,
        "tags": list(peer.tags),
        "full_tunnel": peer.full_tunnel,
        "endpoint": peer.endpoint or None,
        "expired": peer.expired,
        "added": peer.joined,
    }


def route_record(node: Node, state: ItemState) -> dict[str, object]:
    """Return how it stands with a network, or a wish to be an exit, as JSON."""
    decision = node.decision_on(state.item)
    known = (each for each in node.traits if each.prefix == state.item)
    traits = next(known, RouteTraits(prefix=state.item))
    return {
        "node": node.name,
        "public_key": node.key,
        "prefix": state.item,
        "state": state.state,
        "reason": state.reason,
        "online": node.online,
        "priority": traits.priority,
        "real": traits.mapped,
        "by": None if decision is None else decision.by,
        "at": None if decision is None else decision.at,
    }


def route_records(nodes: Iterable[Node]) -> list[dict[str, object]]:
    """Return the same of all nodes, by the names of these; hubs are in their list."""
    return [
        route_record(node, state)
        for node in sorted(nodes, key=lambda each: each.name)
        if not node.expired
        for state in sorted(node.states(), key=lambda each: each.item)
        if state.item != HUB
    ]


def auth_key_record(key: AuthKey, unix_time: float) -> dict[str, object]:
    """Return an auth key as JSON, without its hash. Times are Unix times."""
    return {
        "id": key.number,
        "state": key.state(unix_time),
        "reusable": key.reusable,
        "ephemeral": key.ephemeral,
        "created": key.created,
        "expires": key.expires,
        "uses": key.uses,
        "max_uses": key.max_uses,
        "used": key.used,
        "owner": key.owner or None,
        "tags": list(key.tags),
        "hub": key.hub,
    }


def api_token_record(token: ApiToken, unix_time: float) -> dict[str, object]:
    """Return an API token as JSON, without its hash. Times are Unix times."""
    return {
        "id": token.number,
        "name": token.name,
        "state": token.state(unix_time),
        "role": token.role or None,
        "scopes": list(token.scopes),
        "created": token.created,
        "expires": token.expires,
        "by": token.by,
    }


def policy_record(version: PolicyVersion) -> dict[str, object]:
    """Return a version of the policy as JSON, without its text."""
    return {
        "version": version.version,
        "sha256": version.sha256,
        "author": version.author,
        "at": version.at,
        "comment": version.comment,
    }


def user_record(user: User) -> dict[str, object]:
    """Return a user as JSON."""
    return {"name": user.name, "added": user.added, "disabled": user.disabled}


def difference_record(difference: Difference) -> dict[str, object]:
    """Return what a policy changes between some nodes as JSON."""
    return {
        "from": list(difference.sources),
        "to": list(difference.destinations),
        "gained": list(map(str, difference.gained)),
        "lost": list(map(str, difference.lost)),
    }


def cut_record(flow: CutFlow) -> dict[str, object]:
    """Return a flow that a policy would cut as JSON. Times are Unix times."""
    return {
        "from": flow.source,
        "to": flow.destination,
        "port": flow.port,
        "at": flow.at,
    }


def rule_records(explanation: Explanation) -> list[dict[str, object]]:
    """Return the rules that speak for a verdict as JSON, with what each lacks."""
    missing = explanation.missing or ("",) * len(explanation.rules)
    return [
        {
            "line": rule.line,
            "rule": rule_label(rule),
            "note": rule.note,
            "missing": lack or None,
        }
        for rule, lack in zip(explanation.rules, missing, strict=True)
    ]


def audit_record(row: AuditRow) -> dict[str, object]:
    """Return a row of the audit log as JSON, an object by itself."""
    return {
        "schema": 1,
        "seq": row.seq,
        "at": row.at,
        "actor": row.actor,
        "address": row.address,
        "action": row.action,
        "target": row.target,
        "before": json.loads(row.before),
        "after": json.loads(row.after),
        "hash": row.hash,
    }


def dns_record(record: DnsRecord, domain: str) -> dict[str, object]:
    """Return a record of the zone as JSON."""
    return {
        "name": record.name,
        "full_name": f"{record.name}.{domain}",
        "type": record.kind,
        "value": record.value,
    }
