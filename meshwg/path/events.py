"""What a path agent tells its parent."""

from dataclasses import dataclass
from enum import Enum

from meshwg.path.candidate import CandidateKind
from meshwg.path.offer import Offer
from meshwg.path.routereport import RouteReport
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


@dataclass(frozen=True, slots=True)
class PeerStreams:
    """Open and close streams to the peer; find out how the NAT maps them."""

    wanted: tuple[tuple[Endpoint, int | None], ...] = ()
    """Where to, by which link, and the hop limit of the first packet. What becomes of
    each goes to ``PathAgent.stream_opened`` and ``PathAgent.stream_closed``."""
    close: tuple[int, ...] = ()
    """Links; what is closed here is not reported back."""
    hole: int | None = None
    """The local port to open them from, as ``PathAgent.stream_nat_known`` named it."""
    looks: bool = False
    """Whether to call ``PathAgent.stream_nat_known`` when all is known that can be."""


@dataclass(frozen=True, slots=True)
class RoutesReported:
    """The peer has said how the networks behind it are."""

    report: RouteReport


@dataclass(frozen=True, slots=True)
class HandshakeOverdue:
    """Begin the handshake that is under way anew: its last message was in vain."""


@dataclass(frozen=True, slots=True)
class ProbeWanted:
    """Send one message of the tunnel by a path that did not carry them."""

    endpoint: Endpoint
    handshake: bool
    """Whether it has to be an initiation, and not a keepalive."""


Event = (
    SelectionChanged
    | CandidatesOffered
    | CandidatesWanted
    | AuxiliarySockets
    | PeerStreams
    | HandshakeOverdue
    | ProbeWanted
    | RoutesReported
)


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
    """``punch``, ``prediction``, ``birthday``, ``tcp``, or the kind of a path that was
    lost."""
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
