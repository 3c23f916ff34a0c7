"""The offers handed to connections lately, which a dead one may not have carried.

A node that has moved makes a new connection long before anyone can know that its old
one is dead. What was sent there meanwhile is sent again then.
"""

from collections import deque
from typing import NamedTuple

LIFETIME = 15.0
"""Seconds for which an offer is kept: a silent node is taken for dead before that."""
MOST = 2048
"""Offers kept for all nodes together."""
MARGIN = 1.0
"""Seconds before a connection was last heard in which it may have failed already."""


class _Sent(NamedTuple):
    at: float
    to: str
    payload: bytes


class Deliveries:
    """Offers that were sent in the last seconds."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque(maxlen=MOST)

    def __len__(self) -> int:
        return len(self._sent)

    def note(self, to: str, payload: bytes, now: float) -> None:
        """Remember an offer."""
        self._forget_old(now)
        self._sent.append(_Sent(now, to, payload))

    def uncertain(self, to: str, heard_at: float, now: float) -> list[bytes]:
        """Return what was sent to a node and may not have arrived.

        :param heard_at: when its connection was heard last.
        """
        self._forget_old(now)
        since = heard_at - MARGIN
        return [
            each.payload for each in self._sent if each.to == to and each.at > since
        ]

    def _forget_old(self, now: float) -> None:
        while self._sent and self._sent[0].at <= now - LIFETIME:
            self._sent.popleft()
