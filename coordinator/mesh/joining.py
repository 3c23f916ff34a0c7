"""How a node is let into the mesh, and what it is there.

A member comes back by its key alone. A stranger, and a node whose membership has
expired, needs an auth key, which is spent only if it lets the node in.
"""

from dataclasses import replace

from coordinator.kubernetes.identity import ClusterProof
from coordinator.mesh.approvals import HUB, Announcement, Decision
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.clusternodes import ClusterNodes
from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.ipam import allocate
from coordinator.mesh.keyring import KeyRing
from coordinator.mesh.nodes import Node, free_name, to_label
from coordinator.mesh.operations import Accepted, Join, Refused, Result
from coordinator.mesh.routes import Routes
from coordinator.policy.selectors import PLAIN
from meshwg.limits import RateLimiter
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode

ADMISSION_RATE, ADMISSION_BURST = 1.0, 200.0
"""New nodes that one auth key lets in a second, and at once. Whoever has stolen a
reusable one gets few identities before somebody notices."""
CLUSTER = "cluster"
MAX_AUTH_KEYS = 4096
"""Auth keys whose rate is remembered."""


class Joining:
    """Decides the joins of one draft.

    :param admissions: how many nodes each auth key may let in at present, see
        :func:`make_admissions`; without it, any number.
    """

    def __init__(
        self,
        members: DraftedMembers,
        auth_keys: KeyRing,
        *,
        unix_time: float,
        random: Random,
        routes: Routes,
        admissions: RateLimiter | None = None,
    ) -> None:
        self._members = members
        self._auth_keys = auth_keys
        self._unix_time = unix_time
        self._random = random
        self._routes = routes
        self._admissions = admissions
        self._cluster_nodes = ClusterNodes(members, routes)

    def join(self, join: Join) -> Result:
        """Let a node in, or refuse it."""
        known = self._members.get(join.key)
        if known is not None and known.role == PLAIN:
            return _refuse_plain(known)
        if join.proof is not None:
            return self._join_of_cluster(known, join, join.proof)
        if known is not None and not known.expired:
            return self._welcome(known, join)
        if join.auth_key is None:
            return join.unproved or _refuse_stranger(known)
        auth_key = self._auth_keys.check(join.auth_key)
        if isinstance(auth_key, Refused):
            return auth_key
        if known is not None:
            again = replace(
                known,
                ephemeral=auth_key.ephemeral,
                auth_key=auth_key.number,
                owner=auth_key.owner,
                tags=auth_key.tags,
            )
            result: Result = self._welcome(again, join, auth_key)
        else:
            result = self._admit(join, auth_key)
        if isinstance(result, Accepted):
            self._auth_keys.spend(auth_key)
        return result

    def _join_of_cluster(
        self, known: Node | None, join: Join, proof: ClusterProof
    ) -> Result:
        """Let a node of a cluster in, as often as it proves that it is one."""
        refused = self._cluster_nodes.refusal(known, join.key, proof.identity)
        if refused is not None:
            return refused
        if known is None:
            made = self._make(join, f"{CLUSTER} {proof.identity.node}")
            if isinstance(made, Refused):
                return made
            known = made
            self._members.admit(join.key)
        node, name = self._cluster_nodes.take(known, proof)
        return self._welcome(node, replace(join, name=name))

    def _admit(self, join: Join, auth_key: AuthKey) -> Result:
        made = self._make(join, auth_key.number)
        if isinstance(made, Refused):
            return made
        node = replace(
            made,
            ephemeral=auth_key.ephemeral,
            auth_key=auth_key.number,
            owner=auth_key.owner,
            tags=auth_key.tags,
        )
        self._members.admit(join.key)
        return self._welcome(node, join, auth_key)

    def _make(self, join: Join, by: str) -> Node | Refused:
        """Return a node that is new, if there may be one more.

        :param by: what lets it in, which lets in only so many at once.
        """
        members, admissions = self._members, self._admissions
        if admissions is not None and not admissions.take(by, self._unix_time):
            return Refused(
                ErrorCode.TRY_AGAIN,
                "This join token lets in too many nodes at once; those that wait come "
                "in one a second",
            )
        number = allocate(members.networks, members.taken_numbers, self._random)
        if number is None:
            return Refused(
                ErrorCode.MESH_FULL,
                "The mesh has no addresses left; remove nodes that are gone",
            )
        return Node(
            key=join.key,
            name="",
            requested_name="",
            number=number,
            joined=self._unix_time,
        )

    def _welcome(
        self, node: Node, join: Join, auth_key: AuthKey | None = None
    ) -> Accepted:
        if auth_key is not None and auth_key.hub:
            by = f"token {auth_key.number}"
            node = self._routes.decide(node, Decision(HUB, True, by, self._unix_time))
        label = to_label(join.name)
        name = node.name
        if label != node.requested_name:
            name = free_name(label, self._members.names_taken_by_others(node.key))
        node = replace(
            node,
            name=name,
            requested_name=label,
            candidates=join.candidates,
            nat=join.nat,
            online=True,
            expired=False,
            home=join.home,
            session=join.session,
            seen=self._unix_time,
        )
        announcement = Announcement(
            join.routes, join.traits, join.exit, hub=join.role == HUB
        )
        node = self._members.put(self._routes.announce(node, announcement))
        notices = (_notice(label, node), self._routes.explain(node))
        return Accepted(node, ". ".join(each for each in notices if each))


def make_admissions() -> RateLimiter:
    """Return what bounds how many nodes each auth key lets in at once."""
    return RateLimiter(ADMISSION_RATE, ADMISSION_BURST, max_keys=MAX_AUTH_KEYS)


def _refuse_plain(known: Node) -> Refused:
    return Refused(
        ErrorCode.NOT_A_MEMBER,
        f"This key is that of the plain WireGuard peer {known.name}, which runs no "
        "meshwg; start this node with a new state directory",
    )


def _refuse_stranger(known: Node | None) -> Refused:
    if known is not None:
        return Refused(
            ErrorCode.NODE_EXPIRED,
            f"The membership of {known.name} has expired; join again with a new token",
        )
    return Refused(
        ErrorCode.NOT_A_MEMBER,
        "This node is not a member of the mesh; join with a token",
    )


def _notice(label: str, node: Node) -> str:
    if node.name == label:
        return ""
    return (
        f"This node is called {node.name} in the mesh: {label} belongs to another, "
        "or the node was renamed"
    )
