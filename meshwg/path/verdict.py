"""How an attempt to open a direct path ended."""

from dataclasses import dataclass
from enum import Enum

from meshwg.path.events import AttemptResult
from meshwg.path.punch import PunchMethod


class Verdict(Enum):
    """How an attempt ended."""

    OK = "ok"
    """A direct path works."""
    MISSED = "missed"
    """Everything was sent, and nothing was answered."""
    BUSY = "busy"
    """One of the nodes makes an attempt with another peer."""
    REFUSED = "refused"
    """The attempt ended before anything was sent."""
    LATE = "late"
    """So it did, because an answer or sockets did not come in time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, with a few words for the user."""

    method: PunchMethod
    verdict: Verdict
    detail: str

    @property
    def result(self) -> AttemptResult:
        """What goes into the peer's history."""
        if self.verdict is Verdict.OK:
            return AttemptResult.OK
        return (
            AttemptResult.FAILED
            if self.verdict is Verdict.MISSED
            else AttemptResult.REFUSED
        )
