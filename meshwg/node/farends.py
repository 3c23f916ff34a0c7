"""Whether hubs really forward: echo requests through them to the far ends.

That a hub answers says nothing about what it passes on: its system may not forward, its
firewall may be in the way, or it may not reach the peer itself. So while a peer is
diverted, this node asks it for an echo through its hub, and believes in the hub as long
as echoes come back. Where they do not, the hub has *failed* for this peer, and for a
while others are tried before it.
"""

from dataclasses import dataclass

from meshwg.peer import MeshPeer

EAGER_INTERVAL = 0.5
"""Seconds between two requests as long as nothing is known."""
INTERVAL = 10.0
"""Seconds between two requests through a hub that forwards."""
FAILED_INTERVAL = 1.0
"""The same where it does not: the other end may have to find a hub first."""
PATIENCE = 8
"""Requests in a row without an answer after which a hub has failed. Both ends have to
choose the same hub first, and the other one begins when it has been heard."""
FORGIVEN = 60.0
"""Seconds after which a hub that failed is as good as others again."""
MAX_ASKED = 1024
"""Requests whose answers are still known."""
MAX_SEQUENCE = 0xFFFF


@dataclass(slots=True)
class Measure:
    """What is known of one peer and its hub.

    :ivar due: when the next request is to be sent.
    :ivar unanswered: requests in a row.
    """

    hub: MeshPeer
    due: float
    unanswered: int = 0


class FarEnds:
    """What came back of the echo requests through hubs."""

    def __init__(self) -> None:
        self._measures: dict[MeshPeer, Measure] = {}
        self._asked: dict[int, tuple[MeshPeer, MeshPeer]] = {}
        """Of whom was asked through which hub, by sequence number."""
        self._failed: dict[tuple[MeshPeer, MeshPeer], float] = {}
        """When a hub failed for a peer."""
        self._sequence = 0

    def begin(self, peer: MeshPeer, hub: MeshPeer, now: float) -> None:
        """Ask a peer through a hub from now on."""
        if peer not in self._measures:
            peer.is_forwarded = None
        self._measures[peer] = Measure(hub, now)

    def end(self, peer: MeshPeer) -> None:
        """Ask a peer no more."""
        self._measures.pop(peer, None)
        peer.is_forwarded = None

    def forget(self, peer: MeshPeer) -> None:
        """Forget a peer, or a hub, that is no longer a member."""
        self.end(peer)
        self._failed = {k: at for k, at in self._failed.items() if peer not in k}
        self._asked = {k: ends for k, ends in self._asked.items() if peer not in ends}

    def failed_at(self, peer: MeshPeer, hub: MeshPeer) -> float:
        """Return when a hub last failed for a peer; minus infinity if it did not."""
        return self._failed.get((peer, hub), float("-inf"))

    def get_timer(self) -> float | None:
        """Return when :meth:`take_due` next has something."""
        return min((each.due for each in self._measures.values()), default=None)

    def take_due(self, now: float) -> list[tuple[MeshPeer, int]]:
        """Return whom to ask for an echo, and by which sequence number."""
        for pair in [p for p, at in self._failed.items() if at + FORGIVEN <= now]:
            del self._failed[pair]
        due = []
        for peer, measure in self._measures.items():
            if measure.due <= now:
                due.append((peer, self._ask(peer, measure, now)))
        return due

    def answered(self, sequence: int, source: str) -> None:
        """Take an echo reply."""
        peer, hub = self._asked.get(sequence, (None, None))
        measure = None if peer is None else self._measures.get(peer)
        if peer is None or measure is None or measure.hub is not hub:
            return
        if source in peer.entry.addresses:
            measure.unanswered = 0
            peer.is_forwarded = True
            self._failed.pop((peer, measure.hub), None)

    def _ask(self, peer: MeshPeer, measure: Measure, now: float) -> int:
        if measure.unanswered >= PATIENCE:
            peer.is_forwarded = False
            self._failed[peer, measure.hub] = now
        measure.unanswered += 1
        interval = EAGER_INTERVAL
        if peer.is_forwarded is False:
            interval = FAILED_INTERVAL
        elif peer.is_forwarded and measure.unanswered == 1:
            interval = INTERVAL
        measure.due = now + interval
        self._sequence = self._sequence % MAX_SEQUENCE + 1
        self._asked.pop(self._sequence, None)
        self._asked[self._sequence] = peer, measure.hub
        if len(self._asked) > MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        return self._sequence
