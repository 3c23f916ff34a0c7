"""What the administrator decides on the agent of one node."""

from dataclasses import dataclass, field
from pathlib import Path

from meshwg.config import NodeConfig
from meshwg.kubernetes.verdict import PodSettings
from meshwg.runtime.kubernetes.api import ApiAccess
from meshwg.runtime.kubernetes.flannelside import FlannelSettings

DEFAULT_NETWORK_LISTS = Path("/etc/cni/net.d")
DEFAULT_TOKEN_FILE = Path("/var/run/secrets/meshwg/token")


@dataclass(frozen=True, slots=True)
class Membership:
    """How a node becomes a member without a join token."""

    url: str
    """Of the coordinator."""
    coordinator_key: bytes
    token_file: Path = DEFAULT_TOKEN_FILE
    """Where kubelet puts the token of the service account."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Everything that ``meshwg-k8s agent`` can be told."""

    node_name: str
    node: NodeConfig
    """Of the member of the mesh that the agent is."""
    api: ApiAccess
    membership: Membership | None = None
    """``None``: by a join token, or as it was before."""
    pods: PodSettings = field(default_factory=PodSettings)
    network_lists: Path = DEFAULT_NETWORK_LISTS
    flannel: FlannelSettings | None = None
    """``None``: no node of the cluster runs flannel."""
