"""Nodes and auth keys as the administration shows them: the objects of ``--json``."""

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from meshwg.wire.dnsrecords import DnsRecord


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
        "ephemeral": node.ephemeral,
        "expired": node.expired,
        "joined": node.joined,
        "seen": node.seen,
        "token": node.auth_key or None,
    }


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
    }


def dns_record(record: DnsRecord, domain: str) -> dict[str, object]:
    """Return a record of the zone as JSON."""
    return {
        "name": record.name,
        "full_name": f"{record.name}.{domain}",
        "type": record.kind,
        "value": record.value,
    }
