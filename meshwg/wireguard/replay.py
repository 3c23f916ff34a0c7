"""The sliding window that lets every message counter through once (RFC 6479's aim).

Nearly all messages arrive in order, so the window keeps the *run* of counters that
arrived one after the other as a plain number, and only turns it into bits when a gap
or a late message makes it look back.
"""

from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW

_MASK = (1 << (REPLAY_WINDOW + 1)) - 1


class ReplayWindow:
    """The counters seen on one keypair; only authentic ones may be shown to it."""

    __slots__ = ("_bits", "_run_from", "expected")

    def __init__(self) -> None:
        self.expected = 0
        """The counter after the newest.

        A caller that has compared counters with it can raise it, to say that all of
        them arrived in order; nothing else needs to be done.
        """
        # The counters from here on all arrived, and are not yet in the bits.
        self._run_from = 0
        # Bit n is the counter (run from - 1 - n).
        self._bits = 0

    def accept(self, counter: int) -> bool:
        """Return whether this counter is new, and remember it."""
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        if counter == self.expected:
            self.expected += 1
            return True
        self._settle()
        if counter > self.expected:
            gap = min(counter - self.expected, REPLAY_WINDOW + 1)
            self._bits = (self._bits << gap) & _MASK
            self.expected = counter + 1
            self._run_from = counter
            return True
        behind = self.expected - 1 - counter
        if behind > REPLAY_WINDOW or self._bits >> behind & 1:
            return False
        self._bits |= 1 << behind
        return True

    def _settle(self) -> None:
        run = min(self.expected - self._run_from, REPLAY_WINDOW + 1)
        self._bits = ((self._bits << run) | ((1 << run) - 1)) & _MASK
        self._run_from = self.expected
