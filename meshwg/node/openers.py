"""Keeps the NATs open for peers while the coordinator is away.

Nobody can tell a peer then that it is wanted, and its NAT would keep the checks of this
node out. So every node sends a check to the public addresses that the netmap has of its
peers, now and then: that opens its own NAT for theirs. The first check that arrives at
an open NAT is answered, and proves the path before anybody needs it.
"""

from meshwg.control.client import ControlClient, ControlState
from meshwg.node.paths import Paths

DELAY = 1.0
"""Seconds without the coordinator after which openers are sent. Most interruptions are
over by then."""
INTERVAL = 20.0
"""Seconds between two openers to one peer. Linux forgets a flow that was never answered
after 30 s."""
MAX_PEERS = 64
"""Peers that get openers; in a larger mesh, the others get none."""


class Openers:
    """When openers are sent, to how many peers."""

    def __init__(self, client: ControlClient, paths: Paths) -> None:
        self._control = client
        self._paths = paths
        self._next_at: float | None = None

    def observe(self, now: float) -> None:
        """Begin when the coordinator goes away, and end when it is back."""
        if self._control.state in (ControlState.CONNECTED, ControlState.ENDED):
            self._next_at = None
        elif self._next_at is None:
            self._next_at = now + DELAY

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        return self._next_at

    def handle_timer(self, now: float) -> None:
        """Send openers if it is time."""
        if self._next_at is not None and self._next_at <= now:
            self._next_at = now + INTERVAL
            self._paths.send_openers(MAX_PEERS, now)
