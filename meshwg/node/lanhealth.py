"""Whether a network behind this node is there, by an address in it that is asked."""

PROBE_INTERVAL = 0.8
"""Seconds between two probes."""
DEAD_AFTER = 3
"""Probes in a row without an answer after which the network counts as dead."""
ALIVE_AFTER = 2
"""Answers in a row after which it does no longer."""


class LanHealth:
    """What the probes of one network have shown; at first it is thought well of.

    :ivar is_dead: whether the network cannot be reached.
    """

    def __init__(self) -> None:
        self.is_dead = False
        self._unanswered = 0
        self._answered = 0

    def probe(self) -> None:
        """Note that a probe is sent, or could not be; those before had their time."""
        if self._unanswered >= DEAD_AFTER:
            self.is_dead = True
        if self._unanswered:
            self._answered = 0
        self._unanswered += 1

    def answer(self) -> None:
        """Note that a probe was answered."""
        self._unanswered = 0
        self._answered += 1
        if self._answered >= ALIVE_AFTER:
            self.is_dead = False
