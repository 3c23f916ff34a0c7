"""What the agent writes into the cluster: a condition of its Node object, and Events.

Both as JSON objects of the Kubernetes API, core/v1. Times are texts as RFC 3339 has
them.
"""

from typing import Any, Final

from meshwg.kubernetes.agent import SetCondition, Tell
from meshwg.kubernetes.clusternode import NETWORK_UNAVAILABLE, ClusterNode

COMPONENT: Final = "meshwg"
EVENT_NAMESPACE: Final = "default"
"""Where Events on objects are that have no namespace."""
MAX_MESSAGE: Final = 1024
"""Letters of an Event's message that the API server takes."""


def condition_patch(wanted: SetCondition, at: str) -> dict[str, Any]:
    """Return a strategic merge patch of a node's status; other conditions stay."""
    condition = {
        "type": NETWORK_UNAVAILABLE,
        "status": "True" if wanted.is_unavailable else "False",
        "reason": wanted.reason,
        "message": wanted.text,
        "lastTransitionTime": at,
        "lastHeartbeatTime": at,
    }
    return {"status": {"conditions": [condition]}}


def event(tell: Tell, name: str, node: ClusterNode | None, at: str) -> dict[str, Any]:
    """Return an Event on a Node object.

    :param name: of the node.
    :param node: what is known of it; there are Events on objects that are not there.
    """
    involved = {"apiVersion": "v1", "kind": "Node", "name": name}
    # "kubectl describe node" looks for Events by the name, where a UID should be.
    involved["uid"] = name if node is None or not node.uid else node.uid
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name}.", "namespace": EVENT_NAMESPACE},
        "involvedObject": involved,
        "reason": tell.reason,
        "message": tell.text[:MAX_MESSAGE],
        "type": "Warning" if tell.is_warning else "Normal",
        "source": {"component": COMPONENT, "host": name},
        "reportingComponent": COMPONENT,
        "reportingInstance": name,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
