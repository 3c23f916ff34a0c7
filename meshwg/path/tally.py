"""Counts the tunnel's own messages, both ways, by where they go and come from.

Only what WireGuard found authentic counts as received. So what one side sent a way, as
against what the other side received that way, tells whether the way carries data, and
not only checks.
"""

from dataclasses import dataclass
from typing import NamedTuple

from meshwg.transmit import Endpoint

LIMIT = 32
"""Ends that are remembered; the oldest are forgotten first."""


class Amount(NamedTuple):
    """How much there was since counting began."""

    initiations: int = 0
    responses: int = 0
    batches: int = 0
    """Data messages, counting as one what was carried together."""
    data: int = 0
    """Bytes of data messages."""


NOTHING = Amount()


@dataclass(slots=True)
class _Count:
    initiations: int = 0
    responses: int = 0
    batches: int = 0
    data: int = 0


class Counts:
    """Counts for the last ends of one direction."""

    def __init__(self) -> None:
        self._by_end: dict[tuple[object, ...], _Count] = {}

    def add_data(self, endpoint: Endpoint, length: int) -> None:
        """Count data messages that were carried together."""
        count = self._by_end.get(endpoint[:3]) or self._new(endpoint)
        count.batches += 1
        count.data += length

    def add_handshake(self, endpoint: Endpoint, *, is_initiation: bool) -> None:
        """Count an initiation or a response."""
        count = self._by_end.get(endpoint[:3]) or self._new(endpoint)
        count.initiations += is_initiation
        count.responses += not is_initiation

    def amount(self, endpoint: Endpoint) -> Amount:
        """Return what there was to or from an endpoint."""
        count = self._by_end.get(endpoint[:3])
        if count is None:
            return NOTHING
        return Amount(count.initiations, count.responses, count.batches, count.data)

    def _new(self, endpoint: Endpoint) -> _Count:
        if len(self._by_end) >= LIMIT:
            del self._by_end[next(iter(self._by_end))]
        count = self._by_end[endpoint[:3]] = _Count()
        return count


class Tally:
    """The messages to and from one peer.

    :ivar sent: what went to one endpoint, and to no other as well.
    :ivar received: what came and was authentic.
    """

    def __init__(self) -> None:
        self.sent = Counts()
        self.received = Counts()
        self._strange: dict[tuple[object, ...], None] = {}

    def note_strange(self, endpoint: Endpoint) -> None:
        """Note that data of a session this node does not have came from an endpoint."""
        if len(self._strange) < LIMIT:
            self._strange[endpoint[:3]] = None

    def take_strange(self, endpoint: Endpoint) -> bool:
        """Tell whether strange data came from an endpoint since the last time."""
        key = endpoint[:3]
        is_strange = key in self._strange
        self._strange.pop(key, None)
        return is_strange
