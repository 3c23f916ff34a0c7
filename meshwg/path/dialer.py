"""Opens a stream to a peer: both nodes dial each other at the same moment.

One side is controlling: it alone decides that it is tried, and both follow this
protocol, whose steps travel in the part of offers that is about TCP. Each offer also
says where its sender accepts streams::

    controlling                                   controlled
    looks at its NAT    ── ask {id} ──▶           looks at its NAT
                        ◀── ready {id} ──         knows where it is
    knows where it is   ── go {id} ──▶            dials
    dials

Addresses at which the peer should be reachable are just connected to. Towards a NAT,
both sides connect from one port each, which is new for every attempt, and nobody
listens there: connection tracking knows a flow by the sequence number of its first SYN,
and has no use for an answer of another socket. The first SYN has a low TTL. It opens
this side's NAT, and cannot make the peer's NAT refuse or remember a flow that it does
not know yet. A moment later the controlling side replaces its SYN by one that goes all
the way, and finds the peer still connecting: that is a simultaneous open. If one of
these gets lost, the systems repeat them after a second, and all the way then. But the
SYN that goes all the way is of a new socket: if it does not even come to the NAT, that
has no use for what the socket says later. So it is replaced once more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from meshwg.path.candidate import CandidateKind
from meshwg.path.events import AttemptResult
from meshwg.path.ledger import Ledger
from meshwg.path.respite import Respite
from meshwg.path.tcp import TcpState, TcpTraits, is_hopeless, targets
from meshwg.path.volley import OPENER_TTL
from meshwg.transmit import Endpoint, Random

ANSWER_TIMEOUT = 4.0
"""Seconds for the peer to answer a step; it may have to look at its NAT first."""

DURATION = 4.5
"""Seconds of dialling after which an attempt has failed."""

ATTEMPTS = 2
"""Attempts in a row; what failed again is tried with the next round of punching."""

RETRY = 3.0
"""Seconds from one to the next, at least; as much again is left to chance."""

LEAD, MAX_LEAD = 0.1, 0.5
"""Seconds from the SYN that opens the way to the one that uses it, on the side that
says go: at least, and at most."""

REPLACED = 0.4
"""Seconds from that SYN to the one that replaces it, at least."""

PATIENCE = (0.8, 1.2, 2.0)
"""Seconds for which each dial to a reachable address waits for its answer."""
PAUSE = 0.2
"""Seconds from one dial to the next, at least, after some were refused; as much again
is left to chance."""
AT_ONCE = 3
"""Refused dials that are repeated without a pause."""
MAX_REFUSALS = 10
"""Dials to one address that may be refused in one attempt."""

BRITTLE = "connections carry nothing soon after they were opened"

HOPELESS = "a NAT maps it to another port for each destination, too"


class DialState(Enum):
    """Where an attempt stands."""

    IDLE = 0
    LOOKING = 1
    """This side, or the peer, is finding out about its NAT."""
    WAITING = 2
    """The peer was told that this side is ready."""
    DIALLING = 3


@dataclass(slots=True)
class Dial:
    """The dials to one address."""

    endpoint: Endpoint
    is_mapped: bool
    """Whether a NAT is there, which has to be opened from both sides."""
    due: float | None = None
    """When to dial next."""
    again_after: float | None = None
    """Seconds from the next dial to one more, if it is not answered."""
    link: int | None = None
    """Of the dial under way."""
    gives_up_at: float | None = None
    silences: int = 0
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class DialOutcome:
    """How an attempt ended, with a few words for the user."""

    result: AttemptResult
    detail: str


class Dialer:
    """Runs at most one attempt with one peer.

    After every call in, its parent takes :attr:`steps`, :attr:`wanted`,
    :attr:`unwanted`, :attr:`looks` and :attr:`outcome`, and empties them.

    :param links: numbers for streams, which the dialers of a node share.
    """

    def __init__(
        self,
        ledger: Ledger,
        links: Iterator[int],
        random: Random,
        *,
        controlling: bool,
    ) -> None:
        self.own: TcpTraits | None = None
        """``None``: this node has no part in streams."""
        self.peer: TcpTraits | None = None
        """``None``: the peer knows of none."""
        self.state = DialState.IDLE
        self.steps: list[dict[str, object]] = []
        self.wanted: list[tuple[Endpoint, int | None]] = []
        """Streams to open, and the hop limit of their SYNs."""
        self.unwanted: list[int] = []
        self.looks = False
        """Whether this node's NAT is to be looked at."""
        self.hole: int | None = None
        """Which local port is dialled from."""
        self.outcome: DialOutcome | None = None
        self.failure: str | None = None
        """Why the last attempt opened nothing."""
        self.next_at: float | None = None
        """When to begin again, if it is still wanted then."""
        self._failures = 0
        self._respite = Respite()
        self._ledger = ledger
        self._links = links
        self._random = random
        self._controlling = controlling
        self._id = 0
        self._deadline = 0.0
        self._asked_at = 0.0
        self._has_looked = self._peer_is_ready = False
        self._dials: list[Dial] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being tried."""
        return self.state is DialState.IDLE

    @property
    def is_possible(self) -> bool:
        """Whether both nodes take part, and their NATs are not known to prevent it."""
        return (
            self.own is not None
            and self.peer is not None
            and not is_hopeless(self.own, self.peer)
        )

    def status(self, *, was_heard: bool) -> TcpState:
        """Return what to tell a user.

        :param was_heard: whether the peer could say that it takes part.
        """
        if self.own is None:
            return TcpState(hindrance="it is switched off on this node")
        if self.peer is None:
            silent = TcpState(hindrance="the peer takes no part in it")
            return silent if was_heard else TcpState(is_untried=True)
        if not self.is_idle:
            return TcpState(is_dialling=True)
        if is_hopeless(self.own, self.peer):
            return TcpState(hindrance=HOPELESS)
        return TcpState(is_untried=self.failure is None, hindrance=self.failure)

    # In

    def begin(self, now: float, *, again: bool = False) -> bool:
        """Begin an attempt as the controlling side; return whether there is one.

        :param again: whether it repeats one that failed.
        """
        self.next_at = None
        if not self._controlling or not self.is_idle or not self.is_possible:
            return False
        if now < self._respite.until:
            self.next_at = self._respite.until
            return False
        self._failures = self._failures if again else 0
        self._id += 1
        self._asked_at = now
        self._look(now)
        self._say("ask")
        return True

    def receive(self, raw: Mapping[str, object], now: float) -> None:
        """Take a step of the peer; one that makes no sense here is ignored."""
        step, id_ = raw.get("step"), raw.get("id")
        if not isinstance(id_, int) or isinstance(id_, bool) or self.own is None:
            return
        if step == "ask" and not self._controlling and id_ > self._id:
            self._stop()
            self._id = id_
            self._look(now)
        elif id_ != self._id:
            return
        elif step == "ready" and self._controlling:
            self._peer_is_ready = self.state is DialState.LOOKING
            self._go_if_ready(now)
        elif step == "go" and self.state is DialState.WAITING:
            self._dial(None, now)

    def looked(self, hole: int | None, now: float) -> None:
        """Go on: what can be known of this node's NAT is in :attr:`own`.

        :param hole: the local port that was looked at.
        """
        if self.state is not DialState.LOOKING or self._has_looked:
            return
        self._has_looked, self.hole = True, hole
        if self._controlling:
            self._go_if_ready(now)
        else:
            self._say("ready")
            self._enter(DialState.WAITING, now + ANSWER_TIMEOUT)

    def opened(self, link: int) -> None:
        """Take note that a dial got through, perhaps to the peer."""
        for dial in self._dials:
            if dial.link == link:
                dial.link = dial.due = dial.gives_up_at = None

    def closed(self, link: int, now: float) -> None:
        """Take note that a dial failed: dial once more, if that may help."""
        for dial in self._dials:
            if dial.link == link:
                dial.refusals += 1
                self._redial(dial, now)

    def lost(self, link: int, now: float) -> None:
        """Take note that a stream in use carries nothing any more."""
        self._respite.lost(link, now)
        if self._respite.is_needed:
            self.failure = BRITTLE

    def succeed(self, endpoint: Endpoint, now: float) -> None:
        """End the attempt because a stream to the peer works."""
        self.failure = self.next_at = None
        self._respite.worked(endpoint.link, now)
        if not self.is_idle:
            self.outcome = DialOutcome(AttemptResult.OK, f"{endpoint} answered")
            self._stop(spare=endpoint.link)

    def abandon(self) -> None:
        """Forget the attempt, and what came of the last one: things changed."""
        self.failure = self.next_at = None
        self._respite.end()
        self._stop()

    def restarted(self) -> None:
        """Forget the numbers of a peer that begins anew."""
        self.abandon()
        if not self._controlling:
            self._id = 0

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self.is_idle:
            return
        for dial in self._dials:
            if dial.gives_up_at is not None and now >= dial.gives_up_at:
                dial.silences += 1
                self._hang_up(dial)
                self._redial(dial, now)
            if dial.due is not None and now >= dial.due:
                again_after, dial.again_after = dial.again_after, None
                self._connect(dial, None, now)
                if again_after is not None and dial.link is not None:
                    dial.due = now + again_after
        if now >= self._deadline:
            self._time_out(now)

    def get_timer(self) -> float | None:
        """Return when there is something to do."""
        if self.is_idle:
            return None
        times = [self._deadline]
        for dial in self._dials:
            times += [t for t in (dial.due, dial.gives_up_at) if t is not None]
        return min(times)

    # Steps

    def _look(self, now: float) -> None:
        self._has_looked = self._peer_is_ready = False
        self.looks = True
        self._enter(DialState.LOOKING, now + ANSWER_TIMEOUT)

    def _go_if_ready(self, now: float) -> None:
        if not (self._has_looked and self._peer_is_ready):
            return
        self._say("go")
        trip = 0.6 * (now - self._asked_at)
        self._dial(min(MAX_LEAD, max(LEAD, trip)), now)

    def _dial(self, lead: float | None, now: float) -> None:
        """Open this side's NAT for the peer, and connect to where it is reachable.

        :param lead: seconds until the SYN that shall arrive, on the side that sends it.
        """
        assert self.own is not None
        if self.peer is None or is_hopeless(self.own, self.peer):
            self._fail(HOPELESS, now)
            return
        self._enter(DialState.DIALLING, now + DURATION)
        for candidate in targets(self.own, self.peer):
            is_mapped = candidate.kind is CandidateKind.REFLEXIVE
            dial = Dial(candidate.endpoint, is_mapped)
            self._dials.append(dial)
            self._connect(dial, OPENER_TTL if is_mapped else None, now)
            if is_mapped and lead is not None:
                dial.due, dial.again_after = now + lead, max(REPLACED, 3 * lead)
        if not self._dials:
            why = "the peer named no address that this node could connect to"
            self._fail(why, now)

    def _connect(self, dial: Dial, ttl: int | None, now: float) -> None:
        self._hang_up(dial)
        if not self._ledger.charge(dial.endpoint.host, now):
            return
        dial.link = next(self._links)
        if not dial.is_mapped:
            patience = PATIENCE[min(dial.silences, len(PATIENCE) - 1)]
            dial.gives_up_at = now + patience
        self.wanted.append((dial.endpoint._replace(link=dial.link), ttl))

    def _redial(self, dial: Dial, now: float) -> None:
        dial.link = dial.gives_up_at = None
        if dial.silences >= len(PATIENCE) or dial.refusals >= MAX_REFUSALS:
            dial.due = None
        elif dial.refusals <= AT_ONCE and dial.is_mapped:
            dial.due = now
        else:
            dial.due = now + PAUSE * (1 + self._random(1)[0] / 256)

    def _hang_up(self, dial: Dial) -> None:
        if dial.link is not None:
            self.unwanted.append(dial.link)
        dial.link = dial.due = dial.gives_up_at = None

    # End

    def _time_out(self, now: float) -> None:
        if self.state is DialState.DIALLING:
            count = len(self._dials)
            why = f"none of the peer's {count} addresses could be connected to"
        else:
            why = "the peer did not answer through the coordinator"
        self._fail(why, now)

    def _fail(self, why: str, now: float) -> None:
        self._failures += 1
        if self._failures < ATTEMPTS:
            self.next_at = now + RETRY * (1 + self._random(1)[0] / 256)
        self.failure = why
        self.outcome = DialOutcome(AttemptResult.FAILED, why)
        self._stop()

    def _stop(self, spare: int | None = None) -> None:
        for dial in self._dials:
            if dial.link != spare:
                self._hang_up(dial)
        self._dials.clear()
        self._enter(DialState.IDLE, 0.0)

    def _enter(self, state: DialState, deadline: float) -> None:
        self.state, self._deadline = state, deadline

    def _say(self, step: str) -> None:
        self.steps.append({"step": step, "id": self._id})
