"""Joins that wait until it is known whether what a node shows of its cluster is true.

That takes the cluster's keys, and perhaps its API server: the owner of this machine
asks both, and says what came of it. Meanwhile the connection waits as for the database.
"""

from dataclasses import dataclass, field, replace

from coordinator.control.connection import Connection, State
from coordinator.kubernetes.identity import ClusterProof
from coordinator.mesh.operations import Join, Refused
from meshwg.wire.control import ErrorCode


@dataclass(frozen=True, slots=True)
class ProofWanted:
    """See whether a token proves something, then call :meth:`ControlServer.proved`."""

    session: str
    key: str
    """The node's."""
    token: str = field(repr=False)


class Proofs:
    """The joins that wait.

    :param is_known: whether there is a cluster whose nodes may join.
    """

    def __init__(self, *, is_known: bool) -> None:
        self._is_known = is_known
        self._waiting: dict[str, tuple[Connection, Join]] = {}
        self._wanted: list[ProofWanted] = []

    def ask(self, connection: Connection, join: Join, token: str) -> Join | None:
        """Have a token looked at; return the join if there is no need to wait."""
        if not self._is_known:
            refusal = Refused(
                ErrorCode.TOKEN_UNKNOWN,
                "This coordinator knows no Kubernetes cluster: start it with "
                "--kubernetes-issuer",
            )
            return replace(join, unproved=refusal)
        connection.state = State.JOINING
        self._waiting[join.session] = connection, join
        self._wanted.append(ProofWanted(join.session, join.key, token))
        return None

    def wanted(self) -> list[ProofWanted]:
        """Return what to look at, each once."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def proved(
        self, session: str, found: ClusterProof | Refused
    ) -> tuple[Connection, Join] | None:
        """Return a join with what came of it, ``None`` if nobody waits for it now."""
        connection, join = self._waiting.pop(session, (None, None))
        if connection is None or join is None or connection.state is not State.JOINING:
            return None
        if isinstance(found, Refused):
            return connection, replace(join, unproved=found)
        return connection, replace(join, proof=found)
