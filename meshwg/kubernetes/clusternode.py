"""A Node object of the cluster, as far as its network goes.

What the API server says is read as it comes: whatever has another form than expected
counts as not being there, and a PodCIDR that is no network is told apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from meshwg import prefixes

NETWORK_UNAVAILABLE: Final = "NetworkUnavailable"
"""The condition of a node on which no pods are to start, since they have no network."""
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
"""A label that kubelet cannot put on its own node."""
MAX_POD_NETWORKS: Final = 2
"""One a family: the API server refuses more."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """What the API server says of one node."""

    name: str
    uid: str = ""
    """Of the object: another one of the same name is another node."""
    pod_networks: tuple[str, ...] = ()
    """Its PodCIDRs in their usual form, one a family."""
    unreadable: tuple[str, ...] = ()
    """PodCIDRs that are no networks."""
    addresses: tuple[str, ...] = ()
    """Its addresses of type InternalIP."""
    is_control_plane: bool = False
    """Whether it may hold an API server, which others have to reach without the mesh.
    """
    is_unavailable: bool | None = None
    """Whether its network counts as unavailable; ``None`` if that is not said."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Anybody who may change the object may have written them."""


def read_node(raw: Mapping[str, Any]) -> ClusterNode:
    """Return a Node object that was read from JSON."""
    metadata, spec, status = (
        _mapping(raw.get(part)) for part in ("metadata", "spec", "status")
    )
    texts = _texts(spec.get("podCIDRs")) or _texts([spec.get("podCIDR")])
    readable = tuple(dict.fromkeys(prefixes.readable(texts)))[:MAX_POD_NETWORKS]
    return ClusterNode(
        _text(metadata.get("name")),
        _text(metadata.get("uid")),
        readable,
        tuple(text for text in texts if not prefixes.readable([text])),
        tuple(_addresses(status.get("addresses"))),
        CONTROL_PLANE in _mapping(metadata.get("labels")),
        _is_unavailable(status.get("conditions")),
        {
            name: value
            for name, value in _mapping(metadata.get("annotations")).items()
            if isinstance(name, str) and isinstance(value, str)
        },
    )


def to_note(node: ClusterNode) -> dict[str, Any]:
    """Return a node as a Node object again, with what a later start needs of it."""
    labels = {CONTROL_PLANE: ""} if node.is_control_plane else {}
    addresses = [{"type": "InternalIP", "address": each} for each in node.addresses]
    return {
        "metadata": {"name": node.name, "uid": node.uid, "labels": labels},
        "spec": {"podCIDRs": list(node.pod_networks)},
        "status": {"addresses": addresses},
    }


def _addresses(listed: Any) -> Iterable[str]:
    for each in _mappings(listed):
        text = _text(each.get("address"))
        if each.get("type") == "InternalIP" and _is_address(text):
            yield str(ip_address(text))


def _is_unavailable(conditions: Any) -> bool | None:
    for each in _mappings(conditions):
        if each.get("type") == NETWORK_UNAVAILABLE:
            return each.get("status") != "False"
    return None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    listed = value if isinstance(value, list) else []
    return [each for each in listed if isinstance(each, Mapping)]


def _texts(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else []
    return [each for each in listed if isinstance(each, str) and each]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
