"""The five timers of a peer (paper, section 6; Linux ``timers.c``).

Theory of operation. Whatever happens to a peer is told to :class:`Timers`, which moves
deadlines; nothing else knows them. ``NEVER`` is a timer that is not armed.

===================  ==============================  =============================
deadline             armed by                        what the peer then does
===================  ==============================  =============================
``retransmit``       sending an initiation           repeats it, or gives up
``keepalive``        receiving data                  acknowledges with a keepalive
``new_handshake``    sending data                    suspects the session: new one
``zero_key``         deriving a session              forgets all keys
``persistent``       any authenticated packet        keeps the NAT mapping open
===================  ==============================  =============================

Any authenticated packet sent cancels ``keepalive``, any received ``new_handshake``: a
peer that answers is alive, and so are we to it.
"""

from meshwg.wireguard.constants import (
    KEEPALIVE_TIMEOUT,
    REKEY_TIMEOUT,
    REKEY_TIMEOUT_JITTER,
    ZERO_KEY_TIME,
)

NEVER = float("inf")


class Timers:
    """The deadlines of one peer, on the clock of ``now``."""

    __slots__ = (
        "_another_keepalive",
        "_jitter",
        "attempts",
        "keepalive",
        "new_handshake",
        "persistent",
        "persistent_interval",
        "retransmit",
        "sent_last_minute",
        "zero_key",
    )

    def __init__(self) -> None:
        self.persistent_interval = 0
        self._jitter = 0.0
        self.stop()

    def stop(self) -> None:
        """Disarm everything, as when the interface goes down."""
        self.retransmit = self.keepalive = self.new_handshake = NEVER
        self.zero_key = self.persistent = NEVER
        self._another_keepalive = False
        self.attempts = 0
        self.sent_last_minute = False

    def next(self) -> float:
        """Return the earliest deadline, ``NEVER`` if there is none."""
        return min(
            self.retransmit,
            self.keepalive,
            self.new_handshake,
            self.zero_key,
            self.persistent,
        )

    def initiation_sent(self, now: float, jitter: bytes) -> None:
        """:param jitter: two random bytes, so that two peers do not collide forever."""
        fraction = int.from_bytes(jitter, "little") / 65536
        self._jitter = fraction * REKEY_TIMEOUT_JITTER
        self.retransmit = now + REKEY_TIMEOUT + self._jitter

    def handshake_completed(self) -> None:
        self.retransmit = NEVER
        self.attempts = 0
        self.sent_last_minute = False

    def session_derived(self, now: float) -> None:
        self.zero_key = now + ZERO_KEY_TIME

    def gave_up(self, now: float) -> None:
        """No initiation was answered: the keys will soon be of no use."""
        self.retransmit = self.keepalive = NEVER
        if self.zero_key == NEVER:
            self.zero_key = now + ZERO_KEY_TIME

    def keepalive_due(self, now: float) -> None:
        """Re-arm if more data arrived since the keepalive was first owed."""
        self.keepalive = NEVER
        if self._another_keepalive:
            self._another_keepalive = False
            self.keepalive = now + KEEPALIVE_TIMEOUT

    def sent(self, now: float, *, is_data: bool = False) -> None:
        """An authenticated message was sent: it tells the peer that we are here."""
        self.keepalive = NEVER
        if self.persistent_interval:
            self.persistent = now + self.persistent_interval
        if is_data and self.new_handshake == NEVER:
            silence = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self._jitter
            self.new_handshake = now + silence

    def received(self, now: float, *, is_data: bool = False) -> None:
        """An authenticated message arrived: the peer is there."""
        self.new_handshake = NEVER
        if self.persistent_interval:
            self.persistent = now + self.persistent_interval
        if not is_data:
            return
        if self.keepalive == NEVER:
            self.keepalive = now + KEEPALIVE_TIMEOUT
        else:
            self._another_keepalive = True
