"""What comes after plain punching: which method is tried, and when again.

The controlling side decides. It begins with the cheapest method that can work for the
two NATs; a method that failed is followed by the next one, and is tried again after a
pause, as often as the limiter allows. While the node makes an attempt with another
peer, this one waits.
"""

from meshwg.path.events import Attempt, AttemptResult
from meshwg.path.limiter import BUSY, PunchLimiter
from meshwg.path.punch import PunchMethod, Role, roles
from meshwg.path.puncher import Puncher, PunchState
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.verdict import Outcome, Verdict
from meshwg.transmit import Random

SLACK = 5.0
"""Seconds that the controlling side waits longer than its own limiter asks for: the
other side's may have counted the last attempt later."""

BUSY_PAUSE = 2.0
"""Seconds to wait, more or less by half, while another peer has its turn."""

LATE_PAUSE = 3.0
"""Seconds after an attempt to which the peer, or the system, did not answer."""

LATE_LIMIT = 2
"""Such attempts in a row that are followed by another one."""


class Escalation:
    """Chooses the methods that a :class:`Puncher` runs."""

    def __init__(
        self,
        puncher: Puncher,
        limiter: PunchLimiter,
        rendezvous: Rendezvous,
        random: Random,
    ) -> None:
        self.next_at: float | None = None
        """When to call :meth:`begin` again."""
        self._puncher = puncher
        self._limiter = limiter
        self._rendezvous = rendezvous
        self._random = random
        self._late = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being tried."""
        return self._puncher.state is PunchState.IDLE

    def has_fresh_sockets(self, now: float) -> bool:
        """Tell whether fresh sockets could be tried now, and may help."""
        own, peer = self._rendezvous.nat, self._rendezvous.peer.nat
        return (
            roles(own, peer, PunchMethod.FRESH) is not None
            and self._puncher.has_target
            and self._limiter.allowed_at(self._puncher.peer, PunchMethod.FRESH, now)
            <= now
        )

    def begin(self, now: float, without: PunchMethod | None = None) -> list[Attempt]:
        """Begin the first method that can work; return those that were refused.

        :param without: the method that was just tried.
        """
        self.next_at = None
        refused: list[Attempt] = []
        if not self.is_idle:
            return refused
        for method in PunchMethod:
            parts = roles(self._rendezvous.nat, self._rendezvous.peer.nat, method)
            if parts is None:
                continue
            allowed_at = self._limiter.allowed_at(self._puncher.peer, method, now)
            if allowed_at > now:
                self._plan(allowed_at + SLACK)
            elif method is not without:
                refusal = self._begin(method, parts, now)
                if refusal is None:
                    break
                # A fresh socket repeats what plain punching tried: without one, that
                # was all.
                if method is not PunchMethod.FRESH:
                    result = AttemptResult.REFUSED
                    refused.append(Attempt(now, method.value, result, refusal))
        return refused

    def follow(self, outcome: Outcome, now: float) -> list[Attempt]:
        """Begin what comes after an attempt that did not help."""
        if outcome.verdict is Verdict.BUSY:
            self._wait_for_turn(now)
            return []
        is_late = outcome.verdict is Verdict.LATE
        self._late = self._late + 1 if is_late else 0
        may_repeat = outcome.method is not PunchMethod.FRESH
        if is_late and may_repeat and self._late <= LATE_LIMIT:
            self._plan(now + LATE_PAUSE)
            return []
        return self.begin(now, without=outcome.method)

    def _begin(
        self, method: PunchMethod, parts: tuple[Role, Role], now: float
    ) -> str | None:
        """Return why a method cannot be tried, ``None`` if it is, or will be soon."""
        refusal = self._puncher.begin(method, parts, now)
        if refusal == BUSY:
            self._wait_for_turn(now)
            return None
        return refusal

    def _wait_for_turn(self, now: float) -> None:
        self._plan(now + BUSY_PAUSE * (0.5 + self._random(1)[0] / 256))

    def _plan(self, when: float) -> None:
        self.next_at = when if self.next_at is None else min(self.next_at, when)
