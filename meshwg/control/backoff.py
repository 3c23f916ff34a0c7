"""How long to wait between two attempts to reach the coordinator.

The time is random, so that not all nodes come at once, and its bound doubles with every
failure.
"""

from meshwg.transmit import Random

RETRY_MIN, RETRY_MAX = 0.5, 30.0
FORGET_FAILURES = 30.0
"""Seconds a connection must last before the next failure counts as the first."""
CONTESTED_RETRY_MIN = 15.0
"""Seconds to wait at least while another machine connects with this node's key."""


NEXT_TRY = 0.5
"""Seconds at most until another coordinator is tried where one has failed."""


class BackOff:
    """The failures so far, and the pause that follows from them.

    :ivar is_contested: another machine connects with this node's key.
    """

    def __init__(self, random: Random) -> None:
        self.is_contested = False
        self._random = random
        self._failures = 0

    def forget(self) -> None:
        """Begin anew: the failures happened in another network."""
        self._failures = 0

    def next_pause(self, lasted: float | None, spread: float) -> float:
        """Return the seconds to wait after one more failure.

        :param lasted: for how many seconds the connection was a member's, if it was.
        :param spread: seconds over which the coordinator wants its nodes to return.
        """
        if lasted is not None and lasted > FORGET_FAILURES:
            self._failures = 0
        bound = RETRY_MIN * 2.0 ** min(self._failures + 1, 8)
        self._failures += 1
        if lasted is not None:
            bound = max(bound, spread)
        low, high = RETRY_MIN, min(bound, RETRY_MAX)
        if self.is_contested:
            low, high = CONTESTED_RETRY_MIN, RETRY_MAX
        return low + self._share() * (high - low)

    def next_try(self) -> float:
        """Return the seconds until another coordinator is tried."""
        return NEXT_TRY * (1 + self._share()) / 2

    def _share(self) -> float:
        return int.from_bytes(self._random(4)) / (1 << 32)
