"""What a cluster says of one of its nodes, and so what that node may be in the mesh.

A node is what its own service-account token proves: one node of the cluster, by its
name. What that node has, its PodCIDRs and labels, the coordinator reads itself from the
Node object; nothing is taken from what the node says.
"""

from dataclasses import dataclass, replace
from typing import Final

TAG: Final = "kubernetes"
"""That all nodes of a cluster have; the tags that follow from labels begin with it."""


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """Which node of the cluster a member of the mesh is."""

    node: str
    """The name of the Node object."""
    uid: str
    """Of the Node object; another one of this name is another node."""
    networks: tuple[str, ...] = ()
    """Its PodCIDRs, which it may have behind it without anybody's approval."""
    conflicts: tuple[tuple[str, str], ...] = ()
    """PodCIDRs that another Node object has as well, with the name of that one."""
    generation: int = 1
    """How many keys this node has had by now."""

    def without(self, networks: tuple[str, ...]) -> "ClusterIdentity":
        """Return it without networks that are another node's now."""
        kept = tuple(each for each in self.networks if each not in networks)
        return replace(self, networks=kept)

    def rival(self, network: str) -> str | None:
        """Return the name of another node that has a network as well."""
        return next((name for each, name in self.conflicts if each == network), None)


@dataclass(frozen=True, slots=True)
class ClusterProof:
    """What was proved of a node that wants to join."""

    identity: ClusterIdentity
    tags: tuple[str, ...] = (TAG,)
    """Those that it has in the mesh."""


def is_from_cluster(tag: str) -> bool:
    """Tell whether a tag is one that a cluster gives, and no administrator."""
    return tag == TAG or tag.startswith(f"{TAG}.")
