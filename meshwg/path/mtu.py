"""How long a datagram may be on a path, where no router says so.

Outer packets carry no "don't fragment", and most narrow paths fragment them. Two kinds
do not: IPv6 has no routers that fragment, and some middleboxes drop fragments. Where
ICMP is filtered as well, long datagrams vanish there while short ones pass, and with
them all that a TCP connection inside has to say, once that is long enough.

Theory of operation. When a path comes into use, and then every ten minutes of traffic,
one check is padded to the length of the longest message of the tunnel. Its answer is
short, so it is about this direction only; the peer finds out the other one. If three of
them vanish, one of each length is sent, in steps of the tunnel's padding: what passes
is known after a second round for the lost ones. Any answer to the longest one ends all
doubt. Without an answer to any, the path itself may have failed, and nothing is
concluded. The parent then tells senders inside what is too long (RFC 1191, RFC 8201).
"""

TRIES = 3
"""Checks of the full length that have to vanish; one or two may be bad luck."""
WAIT = 0.6
"""Seconds to wait for the answer to a padded check. A slow path answers in a second
round, or makes packets shorter than they have to be for ten minutes."""
ROUNDS = 2
"""How often each length is tried that seems to be too long."""
STEP = 16
"""Bytes between two lengths that are tried: all messages of a tunnel are padded so."""
SHORTEST = 1232
"""Bytes of a datagram that every IPv6 path carries: 1,280 less the outer headers."""
AGAIN = 600.0
"""Seconds after which a path is looked at again: it may lead another way by now."""
AGAIN_IF_UNKNOWN = 60.0
"""The same where not even short checks were answered."""


class LongestDatagram:
    """What length passes a path in the direction from here.

    :ivar limit: bytes of the longest datagram that passes, ``None`` while none is known
        to be too long.
    """

    __slots__ = ("_best", "_deadline", "_full", "_next_look", "_tries", "limit")

    def __init__(self) -> None:
        self.limit: int | None = None
        self._full = 0
        self._next_look = float("-inf")
        self._tries = 0
        # Until then answers are waited for; None while nothing was asked.
        self._deadline: float | None = None
        # The longest that passed, once all lengths are tried.
        self._best: int | None = None

    def look(self, full: int, now: float) -> None:
        """Find out whether datagrams of the full length pass, if it is time to.

        :param full: bytes of the longest datagram there will be.
        """
        if self._deadline is None and now >= self._next_look and full > SHORTEST:
            self._full, self._tries, self._best = full, 0, None
            self._deadline = now

    def look_again(self) -> None:
        """Look anew when the path is next in use: it may be another one by now."""
        self._deadline = None
        self._next_look = float("-inf")

    def get_timer(self) -> float | None:
        """Return when :meth:`take_due` is next wanted."""
        return self._deadline

    def take_due(self, now: float) -> list[int]:
        """Return the lengths of the padded checks to send now, in bytes."""
        if self._deadline is None or now < self._deadline:
            return []
        self._tries += 1
        self._deadline = now + WAIT
        if self._tries <= TRIES:
            return [self._full]
        if self._tries > TRIES + 1 and self._best is not None:
            self.limit = self._best
        if self._tries <= TRIES + ROUNDS:
            above = SHORTEST if self._best is None else self._best + 1
            return [size for size in self._lengths() if size >= above]
        known = self._best is not None
        self._finish(now + (AGAIN if known else AGAIN_IF_UNKNOWN))
        return []

    def passed(self, size: int, now: float) -> None:
        """Note that a check of this length was answered, perhaps late."""
        if size >= self._full:
            self.limit = None
            self._finish(now + AGAIN)
        elif self._deadline is not None:
            self._best = max(size, self._best or 0)

    def _lengths(self) -> list[int]:
        steps = list(range(SHORTEST, self._full, STEP))
        return [*steps, self._full]

    def _finish(self, next_look: float) -> None:
        self._deadline = None
        self._next_look = next_look
