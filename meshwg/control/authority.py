"""By which key the coordinator is known, and how that may become another one.

The join token names the first. Over a connection that one has proved, and only there,
the coordinator may name its *successor*. It is used from the next connection on, which
is made soon. Until it has been proved, the one before is tried, too, because not every
coordinator process may have the new one yet; from then on the old one is worth nothing
more, so that who steals it later gains no node that has heard of its successor.
"""

from meshwg.transmit import Random

MIN_INTERVAL = 60.0
"""Seconds between two successors that are believed: each is written to the disk."""


class Authority:
    """The keys of one mesh's coordinator.

    :param key: which is tried first.
    :param former: the one before it, as long as the first has not been proved.
    """

    def __init__(self, key: bytes, former: bytes | None, random: Random) -> None:
        self.key = key
        self.former = former
        self.move_at: float | None = None
        """When to connect anew, to be rid of the former key."""
        self._random = random
        self._named_at = float("-inf")
        self._tries_former = False

    def key_to_try(self) -> bytes:
        """Return by which key to begin the next handshake."""
        if self._tries_former and self.former is not None:
            return self.former
        return self.key

    def refused(self, key: bytes | None) -> None:
        """Take note that who answers does not own a key."""
        self._tries_former = key == self.key and self.former is not None

    def proved(self, key: bytes | None) -> bool:
        """Take note that a coordinator owns a key; return whether keys changed."""
        self._tries_former = False
        if key != self.key or self.former is None:
            return False
        self.former = self.move_at = None
        return True

    def named(self, key: bytes, by: bytes | None, spread: float, now: float) -> bool:
        """Take the key that the coordinator named; return whether keys changed.

        :param by: the key that it has proved on this connection.
        :param spread: seconds over which all nodes connect anew.
        """
        if by is None or key == by or by not in (self.key, self.former):
            return False
        self._plan(spread, now)
        if key == self.key or now < self._named_at + MIN_INTERVAL:
            return False
        self._named_at = now
        self.key, self.former = key, by
        return True

    def replace(self, key: bytes) -> None:
        """Know the coordinator by the key that the user has given."""
        if key not in (self.key, self.former):
            self.key, self.former, self.move_at = key, None, None

    def _plan(self, spread: float, now: float) -> None:
        if self.move_at is None:
            share = int.from_bytes(self._random(4)) / 2**32
            self.move_at = now + spread * share
