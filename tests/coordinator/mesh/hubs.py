"""Hubs for tests of what needs one: where they are, and what they have found out."""

import json

from coordinator.mesh.approvals import Decision
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from tests.coordinator.mesh.drafting import Mesh

PUBLIC = {
    "reachable": True,
    "public": "203.0.113.9:41641",
    "mapping": "none",
    "filtering": "endpoint-independent",
}
BEHIND_NAT = {**PUBLIC, "mapping": "endpoint-independent", "filtering": "unknown"}


def hub(
    name: str = "hub",
    number: int = 9,
    *,
    nat: dict[str, object] | None = None,
    candidates: tuple[tuple[str, str, int], ...] = (("host", "203.0.113.9", 41641),),
    routes: tuple[str, ...] = (),
    is_exit: bool = False,
    joined: float = 0.0,
) -> Node:
    """Return an approved hub, whose key follows from its name."""
    listed = [{"kind": k, "host": h, "port": p} for k, h, p in candidates]
    return Node(
        key=f"{name:A<43}=",
        name=name,
        requested_name=name,
        number=number,
        role="hub",
        routes=routes,
        announced=routes,
        exit=is_exit,
        wants_exit=is_exit,
        wants_hub=True,
        decisions=tuple(
            Decision(item, True, "root", joined) for item in (*routes, "hub", "exit")
        ),
        candidates=json.dumps(listed),
        nat=json.dumps({"ipv4": PUBLIC if nat is None else nat}),
        online=True,
        joined=joined,
    )


def add(mesh: Mesh, *nodes: Node) -> None:
    """Have nodes in a mesh, however they came there."""
    mesh.registry.apply(Changes(mesh.registry.version + 1, nodes))
