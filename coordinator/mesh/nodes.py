"""A member of the mesh as the coordinator knows it, and the names members have."""

import json
import re
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from coordinator.mesh.ipam import Networks
from coordinator.policy.selectors import HUB, Subject

MAX_NAME_LENGTH = 63
"""Of a DNS label (RFC 1035 section 2.3.4), because names become host names."""

_NOT_LABEL = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Node:
    """A node. What peers see of it, and what only coordinators need."""

    key: str
    """Public key, base64."""
    name: str
    requested_name: str
    """The label it asked for, which may have been taken."""
    number: int
    """From which its addresses follow, see :mod:`coordinator.mesh.ipam`."""
    role: str = "node"
    routes: tuple[str, ...] = ()
    """The networks behind it, of which the others are told."""
    announced: tuple[str, ...] = ()
    """Those that it offers, see :mod:`coordinator.mesh.routes`."""
    candidates: str = "[]"
    """JSON text, as it goes into netmaps."""
    nat: str = "null"
    """JSON text, as it goes into netmaps."""
    online: bool = False
    ephemeral: bool = False
    expired: bool = False
    """It must join again; until then it is in no netmap."""
    home: str = ""
    """The coordinator process it is, or was last, connected to."""
    session: str = ""
    """The connection it is, or was last, connected by."""
    auth_key: str = ""
    """The number of the auth key that let it in; empty if that is not known."""
    owner: str = ""
    """The user it belongs to."""
    tags: tuple[str, ...] = ()
    """What it is, to policies; a node with tags acts for no user."""
    via: str = ""
    """Of a plain WireGuard peer: the public key of its hub."""
    full_tunnel: bool = False
    """Of a plain peer: whether all of its packets go to the hub."""
    endpoint: str = ""
    """Where a plain peer reaches its hub, if an administrator has said so."""
    config_token: str = ""
    """Of a plain peer: the hash of what its configuration is fetched with."""
    policy_class: int = 0
    """The number of its class, see :mod:`coordinator.policy.compile`; 0 without."""
    joined: float = 0.0
    seen: float = 0.0
    """Unix time of the last connect or disconnect."""
    version: int = 0
    """The mesh version that last changed what peers see."""
    revision: int = 0
    """The mesh version that last changed anything."""

    def seen_by_peers(self) -> tuple[object, ...]:
        """Return what peers see; they are told only if that has changed."""
        return (
            self.name,
            self.number,
            self.role,
            self.routes,
            self.candidates,
            self.nat,
            self.online,
            self.expired,
            self.ephemeral,
            self.policy_class,
            self.via,
        )

    @property
    def subject(self) -> Subject:
        """The node as a policy sees it."""
        return subject_of(self.name, self.owner, self.tags, self.role, self.routes)

    def peer_json(self, networks: Networks) -> bytes:
        """Return the node as a ``peer`` of a netmap."""
        peer: dict[str, object] = {
            "public_key": self.key,
            "name": self.name,
            "addresses": networks.addresses(self.number),
            "version": self.version,
        }
        if self.online:
            peer["online"] = True
        if self.role != "node":
            peer["role"] = self.role
        if self.role == HUB:
            peer["hub_since"] = int(self.joined)
        if self.ephemeral:
            peer["ephemeral"] = True
        if self.routes:
            peer["routes"] = self.routes
        if self.via:
            peer["via"] = self.via
        if self.policy_class:
            peer["policy_class"] = self.policy_class
        head = json.dumps(peer, separators=(",", ":"))[:-1]
        # These are JSON already, and need not be parsed to be written again.
        if self.candidates != "[]":
            head += f',"candidates":{self.candidates}'
        if self.nat != "null":
            head += f',"nat":{self.nat}'
        return (head + "}").encode()


@lru_cache(maxsize=16_384)
def subject_of(
    name: str, owner: str, tags: tuple[str, ...], role: str, routes: tuple[str, ...]
) -> Subject:
    """Return a node as a policy sees it."""
    return Subject(name, owner, tags, role, tuple(map(ip_network, routes)))


def to_label(name: str) -> str:
    """Return a name as a DNS label: ``Bob's iPhone`` becomes ``bob-s-iphone``."""
    host, _, _ = name.partition(".")
    label = _NOT_LABEL.sub("-", (host or name).lower()).strip("-")
    return label[:MAX_NAME_LENGTH].strip("-") or "node"


def free_name(label: str, taken: Container[str]) -> str:
    """Return the label, or the first of ``label-2``, ``label-3`` … that is free."""
    name, number = label, 1
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = label[: MAX_NAME_LENGTH - len(suffix)].rstrip("-") + suffix
    return name
