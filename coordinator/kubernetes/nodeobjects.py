"""What a Node object says of a node, as far as the node's own kubelet cannot change it.

Kubelet may write its own object's status, annotations and most labels; whoever has
taken a node over can, too. The PodCIDRs are the controller manager's, once they are
set, and labels with the prefix ``node-restriction.kubernetes.io/`` only administrators
may set (the admission plugin NodeRestriction sees to that). So nothing else is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coordinator.kubernetes.identity import TAG
from coordinator.policy.document import is_name
from meshwg import prefixes
from meshwg.wire.control import MAX_TAGS

LABEL_PREFIX: Final = "node-restriction.kubernetes.io/"
MAX_NETWORKS: Final = 2
"""Of a node: one a family."""
_PLAIN_VALUES = ("", "true", "yes")
"""Values that say no more than that the label is there."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is certain of a node."""

    uid: str
    networks: tuple[str, ...]
    tags: tuple[str, ...]


def read_facts(raw: Any) -> NodeFacts:
    """Return what a Node object says; what has another form is not there."""
    metadata, spec = _mapping(raw, "metadata"), _mapping(raw, "spec")
    uid, listed = metadata.get("uid"), spec.get("podCIDRs")
    texts = listed if isinstance(listed, list) else [spec.get("podCIDR")]
    networks = prefixes.readable(each for each in texts if isinstance(each, str))
    return NodeFacts(
        uid if isinstance(uid, str) else "",
        tuple(dict.fromkeys(networks))[:MAX_NETWORKS],
        (TAG, *_tags(_mapping(metadata, "labels"))),
    )


def _tags(labels: Mapping[str, Any]) -> Iterable[str]:
    """Return what follows from labels, as far as that can be tags.

    ``node-restriction.kubernetes.io/zone: west`` is the tag ``kubernetes.zone.west``. A
    cluster's tags all begin so, and so none of them is one that others were given.
    """
    found = []
    for name, value in sorted(labels.items()):
        if not name.startswith(LABEL_PREFIX) or not isinstance(value, str):
            continue
        short = name.removeprefix(LABEL_PREFIX)
        end = "" if value in _PLAIN_VALUES else f".{value}"
        if short and is_name(tag := f"{TAG}.{short}{end}"):
            found.append(tag)
    return found[: MAX_TAGS - 1]


def _mapping(raw: Any, part: str) -> Mapping[str, Any]:
    found = raw.get(part) if isinstance(raw, Mapping) else None
    return found if isinstance(found, Mapping) else {}
