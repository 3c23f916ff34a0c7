"""When a queue should lose a packet: the idea of CoDel (RFC 8289), simplified.

A transfer fills whatever room it gets, and learns only from a loss that it sends too
much. A burst needs room, too, but is over soon. So a queue whose packets have waited
for longer than :data:`TARGET`, without a moment in between, for a whole
:data:`INTERVAL` stands rather than flows, and loses one packet for each.
"""

TARGET = 0.005
"""Seconds of waiting that do no harm (RFC 8289, section 4.3)."""
INTERVAL = 0.1
"""Seconds that a burst may last: a long round trip (RFC 8289, section 4.3)."""


class Lateness:
    """Watches how long packets have waited in one queue."""

    def __init__(self) -> None:
        self._since: float | None = None

    def is_too_much(self, waited: float, now: float) -> bool:
        """Return whether a packet should be dropped now.

        :param waited: for how many seconds the oldest packet has; 0 if there is none.
        """
        if waited <= TARGET:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since > INTERVAL:
            self._since = now
            return True
        return False
