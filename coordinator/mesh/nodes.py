"""A member of the mesh as the coordinator knows it, and the names members have."""

import json
import re
from collections.abc import Container
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_network

from coordinator.kubernetes.identity import ClusterIdentity
from coordinator.mesh.approvals import (
    EXIT,
    HUB,
    Announcement,
    Decision,
    ItemState,
)
from coordinator.mesh.ipam import Networks
from coordinator.policy.selectors import Subject
from meshwg.wire.control import MAX_TAGS
from meshwg.wire.routes import ApprovalState, RouteTraits, plain_traits

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
    traits: tuple[RouteTraits, ...] = ()
    """Of those that it offers and that are not as all others."""
    exit: bool = False
    """Others may reach the internet through it, and are told so."""
    wants_exit: bool = False
    wants_hub: bool = False
    """It offers that; whether it is one is its :attr:`role`."""
    decisions: tuple[Decision, ...] = ()
    """What administrators have decided on what it offers, or did once."""
    withheld: tuple[ItemState, ...] = ()
    """What it offers and others are not told of."""
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
    cluster: ClusterIdentity | None = None
    """Which node of a Kubernetes cluster it is, if that was proved."""
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
            self.told_traits,
            self.exit,
            self.candidates,
            self.nat,
            self.online,
            self.expired,
            self.ephemeral,
            self.policy_class,
            self.owner,
            self.tags,
            self.via,
        )

    @property
    def told_traits(self) -> tuple[RouteTraits, ...]:
        """The traits of those networks that others are told of."""
        return tuple(each for each in self.traits if each.prefix in self.routes)

    @property
    def offered(self) -> tuple[str, ...]:
        """The items that it offers."""
        wishes = ((EXIT, self.wants_exit), (HUB, self.wants_hub))
        return (*self.announced, *(item for item, wanted in wishes if wanted))

    def decision_on(self, item: str) -> Decision | None:
        """Return what was decided on an item."""
        return next((each for each in self.decisions if each.item == item), None)

    def state_of(self, item: str) -> ItemState | None:
        """Return how it stands with an item, ``None`` if it never was one."""
        decision = self.decision_on(item)
        known = next((each for each in self.withheld if each.item == item), None)
        if item in self.offered:
            return known or ItemState(item, ApprovalState.APPROVED)
        if decision is None:
            return None
        if decision.approved:
            reason = "the node does not offer it now"
            return ItemState(item, ApprovalState.WITHDRAWN, reason)
        return ItemState(item, ApprovalState.REFUSED, f"{decision.by} has refused it")

    def states(self) -> tuple[ItemState, ...]:
        """Return how it stands with all that it offers, or that was decided on."""
        decided = (each.item for each in self.decisions)
        items = dict.fromkeys((*self.offered, *decided))
        states = map(self.state_of, items)
        return tuple(each for each in states if each is not None)

    def announcing(self, announcement: Announcement) -> "Node":
        """Return the node as it is when it offers something else."""
        node = self
        if announcement.routes is not None:
            routes = tuple(sorted(dict.fromkeys(announcement.routes)))
            traits = tuple(t for t in announcement.traits if t.prefix in routes)
            node = replace(node, announced=routes, traits=traits)
        if announcement.exit is not None:
            node = replace(node, wants_exit=announcement.exit)
        if announcement.hub is not None:
            node = replace(node, wants_hub=announcement.hub)
        return node

    @property
    def hub_since(self) -> float:
        """When it was approved as a hub, so that the first is the first to be used."""
        decision = self.decision_on(HUB)
        return self.joined if decision is None else decision.at

    @property
    def subject(self) -> Subject:
        """The node as a policy sees it."""
        return subject_of(
            self.name, self.owner, self.tags, self.role, self.routes, self.exit
        )

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
            peer["hub_since"] = int(self.hub_since)
        if self.ephemeral:
            peer["ephemeral"] = True
        if self.routes:
            peer["routes"] = self.routes
        if self.told_traits:
            peer["traits"] = plain_traits(self.told_traits)
        if self.exit:
            peer["exit"] = True
        if self.via:
            peer["via"] = self.via
        if self.policy_class:
            peer["policy_class"] = self.policy_class
        if self.owner:
            peer["owner"] = self.owner
        if self.tags:
            peer["tags"] = self.tags[:MAX_TAGS]
        head = json.dumps(peer, separators=(",", ":"))[:-1]
        # These are JSON already, and need not be parsed to be written again.
        if self.candidates != "[]":
            head += f',"candidates":{self.candidates}'
        if self.nat != "null":
            head += f',"nat":{self.nat}'
        return (head + "}").encode()


@lru_cache(maxsize=16_384)
def subject_of(
    name: str,
    owner: str,
    tags: tuple[str, ...],
    role: str,
    routes: tuple[str, ...],
    is_exit: bool,
) -> Subject:
    """Return a node as a policy sees it."""
    return Subject(name, owner, tags, role, tuple(map(ip_network, routes)), is_exit)


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
