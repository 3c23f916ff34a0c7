"""Members that are nodes of a Kubernetes cluster.

The cluster says who they are, and no token of ours: so a node is one by its name there,
whatever its key. A machine that is made anew under a known name has a new key. It is
let in once the one with the old key is away, which ends that one's membership; and gets
another name in the mesh, since the other nodes know the old name by the old key.
"""

from dataclasses import replace

from coordinator.kubernetes.identity import (
    ClusterIdentity,
    ClusterProof,
    is_from_cluster,
)
from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Refused
from coordinator.mesh.routes import Routes
from meshwg.wire.control import MAX_TAGS, ErrorCode


class ClusterNodes:
    """The members of one draft that are nodes of the cluster.

    :param routes: judged anew when somebody has no longer what he had.
    """

    def __init__(self, members: DraftedMembers, routes: Routes) -> None:
        self._members = members
        self._routes = routes

    def refusal(
        self, known: Node | None, key: str, wanted: ClusterIdentity
    ) -> Refused | None:
        """Return why a key cannot be that of a node of the cluster."""
        if known is not None and known.cluster is not None:
            if known.cluster.node == wanted.node:
                return None
            return Refused(
                ErrorCode.TOKEN_UNKNOWN,
                f"This key is that of the cluster's node {known.cluster.node}, not of "
                f"{wanted.node}: remove the state directory of the one that was copied",
            )
        rival = self._of_node(wanted.node, key)
        if rival is None or not rival.online:
            return None
        return Refused(
            ErrorCode.TRY_AGAIN,
            f"The cluster's node {wanted.node} is connected by another key; this one "
            "takes its place when that one is away",
        )

    def take(self, node: Node, proof: ClusterProof) -> tuple[Node, str]:
        """Return a node as what it has proved to be, and the name that it asks for.

        Whoever was it before is no member any more, and whoever had its networks has
        them no more.
        """
        identity = proof.identity
        former, generation = self._of_node(identity.node, node.key), 1
        if node.cluster is not None:
            generation = node.cluster.generation
        elif former is not None and former.cluster is not None:
            generation = former.cluster.generation + 1
        if former is not None:
            self._members.remove(former)
        if self._take_networks(identity, node.key) or former is not None:
            self._routes.settle()
        own = tuple(tag for tag in node.tags if not is_from_cluster(tag))
        node = replace(
            node,
            cluster=replace(identity, generation=generation),
            tags=(*proof.tags, *own)[:MAX_TAGS],
        )
        short = identity.node.partition(".")[0]
        return node, short if generation == 1 else f"{short}-{generation}"

    def _of_node(self, name: str, but: str) -> Node | None:
        """Return the member that is a node of the cluster, but for one key."""
        return next(
            (
                each
                for each in self._members.all()
                if each.cluster is not None
                and each.cluster.node == name
                and each.key != but
            ),
            None,
        )

    def _take_networks(self, identity: ClusterIdentity, key: str) -> bool:
        """Let nobody else have what the cluster gives to this node now.

        :returns: whether somebody had some of it.
        """
        has_taken = False
        for each in self._members.all():
            known = each.cluster
            if known is None or each.key == key:
                continue
            rest = known.without(identity.networks)
            if rest != known:
                self._members.put(replace(each, cluster=rest))
                has_taken = True
        return has_taken
