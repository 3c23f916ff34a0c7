"""What a path agent tells its parent."""

from dataclasses import dataclass
from enum import Enum

from meshwg.path.candidate import CandidateKind
from meshwg.path.offer import Offer
from meshwg.transmit import Endpoint


@dataclass(frozen=True, slots=True)
class SelectionChanged:
    """Data goes another way, or the way it goes came into doubt or out of it."""

    kind: CandidateKind | None
    """``None``: there is no way at all."""
    endpoint: Endpoint | None
    doubted: bool
    """Whether data also goes through the relay until a check is answered."""


@dataclass(frozen=True, slots=True)
class CandidatesOffered:
    """Send this to the peer through the coordinator."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class CandidatesWanted:
    """What this node offers may be outdated: find out its public address again."""


@dataclass(frozen=True, slots=True)
class AuxiliarySockets:
    """Open and close UDP sockets besides the node's own, at random ports."""

    wanted: int = 0
    """How many to open; their links go to ``PathAgent.add_auxiliary_sockets``."""
    close: tuple[int, ...] = ()


Event = SelectionChanged | CandidatesOffered | CandidatesWanted | AuxiliarySockets


class AttemptResult(Enum):
    """How an attempt to find a path ended."""

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of a peer's history."""

    at: float
    """On the clock of ``now``."""
    method: str
    """``punch``, ``prediction``, ``birthday``, or the kind of a path that was lost."""
    result: AttemptResult
    detail: str


@dataclass(frozen=True, slots=True)
class PathStatus:
    """What ``meshwg status`` shows about the path to one peer."""

    kind: str
    """``direct``, ``relay`` or ``none``."""
    method: str | None
    remote: Endpoint | None
    rtt: float | None
    """Seconds."""
    loss: float
    """0 to 1."""
    since: float | None
    """On the clock of ``now``."""
    reason: str
    """One plain sentence: why this path and not a better one."""
    attempts: tuple[Attempt, ...]
    next_attempt_in: float | None
    """Seconds."""
