"""What this node, as a router, says to peers of the networks behind it.

Whoever sends there is told at once when one of them is dead, and before this node
stops: it goes on forwarding until the others have gone elsewhere.
"""

from collections.abc import Callable, Iterable

from meshwg.health import Complaint, Health, Severity
from meshwg.node.paths import Paths
from meshwg.path.routereport import RouteReport
from meshwg.peer import MeshPeer

DEAD = "route-network-dead"
MAX_NAMED = 5
"""Networks that a complaint names."""


class OwnRoutes:
    """The networks behind this node, and how they are.

    :param unix_time: returns the wall clock's time for a time of the node's clock.
    """

    def __init__(
        self, paths: Paths, health: Health, unix_time: Callable[[float], float]
    ) -> None:
        self._paths = paths
        self._health = health
        self._unix_time = unix_time
        self._dead: tuple[str, ...] = ()
        self._told: tuple[MeshPeer, ...] = ()
        self._told_at = float("-inf")

    @property
    def dead(self) -> tuple[str, ...]:
        """The networks that this node does not reach itself."""
        return self._dead

    def set_dead(
        self, networks: Iterable[str], now: float, *, is_probed: bool = True
    ) -> None:
        """Know which networks this node cannot reach, of those behind it.

        :param is_probed: whether it is the probes that say so, which the user is told.
        """
        dead = tuple(networks)
        if dead == self._dead:
            return
        self._dead = dead
        self._tell(now, leaves=False)
        self._health.put(DEAD, _complaint(dead) if dead and is_probed else None)

    def leave(self, now: float) -> None:
        """Tell peers that this node stops to be a router."""
        self._tell(now, leaves=True)

    def has_told(self) -> bool:
        """Tell whether all peers have heard it that were there when it was said."""
        return all(
            any(each.answered for each in peer.agent.soundings(self._told_at))
            for peer in self._told
            if peer.agent is not None
        )

    def _tell(self, now: float, *, leaves: bool) -> None:
        report = RouteReport.of(self._unix_time(now), self._dead, leaves=leaves)
        self._told_at = now
        self._told = tuple(self._paths.tell_routes(report, now))


def _complaint(dead: tuple[str, ...]) -> Complaint:
    them = "it" if len(dead) == 1 else "them"
    return Complaint(
        DEAD,
        Severity.FAILURE,
        f"The probe of {', '.join(dead[:MAX_NAMED])} is not answered, so peers are "
        f"told to reach {them} by other routers.",
        "See whether the address that is probed answers, and the cable is in.",
    )
