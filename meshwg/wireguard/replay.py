"""The sliding window that lets every message counter through once (RFC 6479's aim).

Nearly all messages arrive in order, so the window keeps the *run* of counters that
arrived one after the other as a plain number, and only turns it into bits when a gap
or a late message makes it look back.
"""

from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW

_MASK = (1 << (REPLAY_WINDOW + 1)) - 1


class ReplayWindow:
    """The counters seen on one keypair; only authentic ones may be shown to it."""

    __slots__ = ("_bits", "_run", "expected")

    def __init__(self) -> None:
        self.expected = 0
        """The counter after the newest."""
        # The newest counters that all arrived, not yet in the bits.
        self._run = 0
        # Bit n is the counter (expected - run - 1 - n).
        self._bits = 0

    def extend(self, expected: int) -> None:
        """Remember that all counters before ``expected`` arrived in their order.

        The caller compared them with :attr:`expected` itself, which is most of the
        work there is.
        """
        self._run += expected - self.expected
        self.expected = expected

    def accept(self, counter: int) -> bool:
        """Return whether this counter is new, and remember it."""
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        if counter == self.expected:
            self.expected += 1
            self._run += 1
            return True
        self._settle()
        if counter > self.expected:
            gap = min(counter - self.expected, REPLAY_WINDOW + 1)
            self._bits = (self._bits << gap) & _MASK
            self.expected = counter + 1
            self._run = 1
            return True
        behind = self.expected - 1 - counter
        if behind > REPLAY_WINDOW or self._bits >> behind & 1:
            return False
        self._bits |= 1 << behind
        return True

    def _settle(self) -> None:
        run = min(self._run, REPLAY_WINDOW + 1)
        if run:
            self._bits = ((self._bits << run) | ((1 << run) - 1)) & _MASK
        self._run = 0
