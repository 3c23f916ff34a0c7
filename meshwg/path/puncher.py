"""Fresh sockets, prediction, birthday: what may follow plain punching that failed.

One side is controlling: it alone decides that a method is tried, and both follow this
protocol, whose steps travel in the extension of offers::

    controlling                                        controlled
    limiter, roles   ── ask {id, method, roles} ──▶    limiter, sockets, samples
    sockets, samples ◀── ready {id, port, delta} ──    begins, if it knows where
    begins           ── go {id, port, delta} ──▶       begins
                     ◀── refuse {id, why} ──▶          either, at any time

A *fan* opens auxiliary sockets; a prober uses one. ``port`` and ``delta`` come from a
side that predicts: its last observed public port and the step to the next. With fresh
sockets, both sides are fans with one socket, and ``port`` is its public one. A fan aims
at the prober's public endpoint, or, if both sides are fans, at one port ahead of the
peer's sequence; a prober aims at predicted or random ports. Where a NAT has several
public addresses, all that are known are aimed at.

A prober's own socket may have another public port by now for whoever is new to it: once
a router has moved one flow of a socket to another port, the Linux kernel moves all that
come after. So a prober, too, takes a fresh socket, before it asks or is ready, and says
its ``port`` there, if it knows that the fan heeds that, which a fan says by
``any_port``. A fan that does not is sent to from the node's own socket.

The first auxiliary socket that hears the peer is the winner: the others fall silent, so
that both sides find the same path, and are closed when that path is proven. If that
does not happen soon, the election is open again.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from meshwg.nattypes import Filtering
from meshwg.nattypes import Mapping as NatMapping
from meshwg.path import steps
from meshwg.path.aim import KnownAddresses, PunchAttempt
from meshwg.path.barrage import Barrage
from meshwg.path.candidate import CandidateKind
from meshwg.path.check import Checks
from meshwg.path.ledger import Ledger
from meshwg.path.limiter import BUSY, NO_ROOM, PunchLimiter, Room
from meshwg.path.punch import (
    BIRTHDAY_FIRST_SOCKETS,
    BIRTHDAY_SOCKETS,
    FRESH_SOCKETS,
    PREDICTION_SOCKETS,
    SAMPLES,
    PunchMethod,
    Role,
    roles,
)
from meshwg.path.room import CANARIES, FAN_STEPS, PROBE_STEPS, RoomWatch
from meshwg.path.sampler import Sampler
from meshwg.path.traits import NatTraits
from meshwg.path.verdict import Outcome, Verdict
from meshwg.path.volley import (
    BIRTHDAY_DURATION,
    BIRTHDAY_VOLLEYS,
    FRESH_DURATION,
    PREDICTION_DURATION,
)
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wire.stun import Message

ANSWER_TIMEOUT = 5.0
"""Seconds for the peer to answer a step."""

SOCKETS_TIMEOUT = 2.0
"""Seconds for the runtime to open sockets."""

SOCKETS_NEEDED = 8
"""Fewer sockets than this, where more are wanted, are not worth an attempt."""

SOCKETS = {
    PunchMethod.FRESH: FRESH_SOCKETS,
    PunchMethod.PREDICTION: PREDICTION_SOCKETS,
    PunchMethod.BIRTHDAY: BIRTHDAY_SOCKETS,
}
"""How many sockets a fan uses."""

DURATIONS = {
    PunchMethod.FRESH: FRESH_DURATION,
    PunchMethod.PREDICTION: PREDICTION_DURATION,
    PunchMethod.BIRTHDAY: BIRTHDAY_DURATION,
}
"""Seconds after which an attempt has failed."""

ELECTION = 2.0
"""Seconds in which the first socket that heard the peer has to prove its path."""

SENSELESS = "the roles asked for do not fit the two NATs"
UNCONFIRMED = "the peer's public address was not confirmed as its own"


class PunchState(Enum):
    """Where an attempt stands."""

    IDLE = 0
    ASKED = 1
    OPENING = 2
    SAMPLING = 3
    WAITING = 4
    FIRING = 5


class Puncher:
    """Runs at most one attempt with one peer.

    After every call in, its parent takes :attr:`messages`, :attr:`transmits`,
    :attr:`sockets_wanted`, :attr:`losers` and :attr:`outcome`, and empties them.
    """

    def __init__(
        self, checks: Checks, ledger: Ledger, limiter: PunchLimiter, random: Random
    ) -> None:
        self.own_nat = NatTraits()
        self.peer_nat = NatTraits()
        """As the peer says, in its offers and in the netmap."""
        self.own_public = ""
        """Where the outside sees this node: how a network is known again."""
        self.stun_server: Endpoint | None = None
        self.peer_public: tuple[Endpoint, ...] = ()
        """Where the outside sees the peer's socket, as it says."""
        self.peer_hosts: tuple[str, ...] = ()
        """Where someone reliable saw the peer."""
        self.state = PunchState.IDLE
        self.messages: list[dict[str, object]] = []
        self.transmits: list[Transmit] = []
        self.sockets_wanted = 0
        self.losers: list[int] = []
        self.outcome: Outcome | None = None
        self._checks = checks
        self._ledger = ledger
        self._limiter = limiter
        self._random = random
        self._last_id = 0
        self._attempt: PunchAttempt | None = None
        self._deadline = 0.0
        self._sampler: Sampler | None = None
        self._barrage = Barrage()
        self._second_at: float | None = None
        """When the second volley begins, which counts as another attempt."""

    @property
    def peer(self) -> str:
        """What the limiter knows the peer by."""
        return self._checks.keys.incoming.tag

    @property
    def method(self) -> PunchMethod | None:
        """The method that is being tried, if any."""
        return None if self._attempt is None else self._attempt.method

    @property
    def kind(self) -> CandidateKind | None:
        """The kind of a path that is found now, if it is this attempt's doing."""
        if self._attempt is None or self.state is not PunchState.FIRING:
            return None
        return self._attempt.kind

    @property
    def links(self) -> tuple[int, ...]:
        """The auxiliary sockets in use."""
        return () if self._attempt is None else self._attempt.links

    @property
    def has_target(self) -> bool:
        """Whether the peer has an address that fresh sockets may be aimed at."""
        return bool(self._known_addresses().targets())

    # In

    def begin(
        self, method: PunchMethod, roles: tuple[Role, Role], now: float
    ) -> str | None:
        """Ask the peer for an attempt, as the controlling side.

        :return: why it cannot be now, or ``None`` if the peer is asked.
        """
        id_ = self._last_id + 1
        self._attempt = PunchAttempt(id_, method, *roles, leads=True)
        refusal = self._refusal(method, now)
        if refusal is not None:
            self._attempt = None
            return refusal
        self._last_id += 1
        if self._wants_fresh(self._attempt):
            self._open(FRESH_SOCKETS, now)
        else:
            self._ask(self._attempt, now)
        return None

    def receive(self, raw: Mapping[str, object], now: float) -> None:
        """Take a step of the peer; one that makes no sense here is ignored."""
        step, id_ = raw.get("step"), raw.get("id")
        if not isinstance(id_, int):
            return
        if step == "ask":
            self._receive_ask(raw, id_, now)
        elif self._attempt is None or id_ != self._attempt.id:
            return
        elif step == "refuse":
            why = raw.get("why")
            verdict = Verdict.BUSY if why == BUSY else Verdict.REFUSED
            self._finish(verdict, f"the peer refused: {steps.text(why)}", now)
        elif step == "ready" and self.state is PunchState.ASKED:
            self._attempt.peer_sequence = steps.sequence(raw)
            if raw.get("any_port") is not True:
                self._forget_fresh(self._attempt)
            self._prepare(now)
        elif step == "go" and self.state is PunchState.WAITING:
            self._attempt.peer_sequence = steps.sequence(raw)
            self._fire(now)

    def add_sockets(self, links: Sequence[int], now: float) -> None:
        """Use these auxiliary sockets; fewer than wanted if no more could be opened."""
        attempt = self._attempt
        is_firing = self.state is PunchState.FIRING
        if attempt is not None and is_firing and attempt.is_probing:
            attempt.canaries = tuple(links)
            attempt.links += attempt.canaries
            self._watch(attempt, PROBE_STEPS, now)
            return
        if attempt is None or self.state is not PunchState.OPENING:
            self.losers.extend(links)
            return
        attempt.links = tuple(links)
        if attempt.role is Role.PROBE:
            self._sample_fresh(attempt, now)
        elif len(links) < min(SOCKETS_NEEDED, SOCKETS[attempt.method]):
            self._give_up("not enough sockets could be opened", now)
        elif attempt.needs_sample:
            self._sample(attempt, now)
        else:
            self._prepared(now)

    def receive_stun(self, message: Message, source: Endpoint, now: float) -> bool:
        """Take the answer to a sample; return whether it is one."""
        watch = self._barrage.watch
        if watch is not None and watch.receive(message, source):
            self._shoot(now)
            return True
        if self._sampler is None or not self._sampler.receive(message, source):
            return False
        self._check_sample(now)
        return True

    def elect(self, link: int, now: float) -> bool:
        """Tell whether what arrived on a link counts: on a loser's it does not."""
        attempt = self._attempt
        if attempt is None or link not in attempt.links or attempt.winner == link:
            return True
        if attempt.winner is not None and now < attempt.elected_at + ELECTION:
            return False
        attempt.winner, attempt.elected_at = link, now
        return True

    def succeed(self, endpoint: Endpoint, now: float) -> None:
        """End the attempt because a direct path works, whoever found it."""
        if self._attempt is not None:
            self._forgive(self._attempt, endpoint.host)
            self._attempt.winner = endpoint.link
            self._finish(Verdict.OK, f"{endpoint} answered", now)

    def abandon(self, why: str, now: float) -> None:
        """End the attempt because things changed."""
        if self._attempt is not None:
            self._give_up(why, now)

    def peer_restarted(self, now: float) -> None:
        """Forget what the peer asked for: its numbers begin anew."""
        self.abandon("the peer restarted", now)
        if not self._checks.keys.controlling:
            self._last_id = 0

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self.state is PunchState.IDLE:
            return
        if self._sampler is not None:
            self.transmits.extend(self._sampler.datagrams_to_send(now))
            self._check_sample(now)
        self._shoot(now)
        if now >= self._deadline + self._barrage.delay:
            self._time_out(now)

    def get_timer(self) -> float | None:
        """Return when there is something to do."""
        if self.state is PunchState.IDLE:
            return None
        when = self._deadline + self._barrage.delay
        shooting = self._barrage.get_timer()
        if shooting is not None:
            when = min(when, shooting)
        if self._sampler is not None:
            when = min(when, self._sampler.get_timer())
        return when

    # Steps

    def _receive_ask(self, raw: Mapping[str, object], id_: int, now: float) -> None:
        if self._checks.keys.controlling or id_ <= self._last_id:
            return
        try:
            method = PunchMethod(raw.get("method"))
            roles = Role(raw.get("role")), Role(raw.get("peer_role"))
        except ValueError:
            return
        self._last_id = id_
        self.abandon("the peer began another attempt", now)
        self._attempt = PunchAttempt(id_, method, *roles)
        self._attempt.names_port = raw.get("any_port") is True
        self._attempt.peer_sequence = steps.sequence(raw)
        refusal = self._refusal(method, now)
        if refusal is not None:
            self._give_up(refusal, now)
        else:
            self._prepare(now)

    def _refusal(self, method: PunchMethod, now: float) -> str | None:
        """Return why this node will not take part, or reserve it."""
        assert self._attempt is not None
        if not self._may_aim(self._attempt):
            return UNCONFIRMED
        limit = self._room_limit(self._attempt, now)
        needed = PROBE_STEPS[0] if self._attempt.is_probing else SOCKETS_NEEDED
        if limit is not None and limit < needed:
            return NO_ROOM
        if not self._attempt.leads and not self._makes_sense(self._attempt):
            return SENSELESS
        hosts = self._probed_hosts(self._attempt)
        return self._limiter.acquire(self.peer, method, now, hosts)

    def _makes_sense(self, attempt: PunchAttempt) -> bool:
        """Tell whether this side would have given both sides the same roles, as leader.

        A peer that asks for others wants packets, and no path. While this node does not
        know its own NAT, it has to trust the peer.
        """
        if self.own_nat.mapping is NatMapping.UNKNOWN:
            return True
        parts = attempt.peer_role, attempt.role
        return roles(self.peer_nat, self.own_nat, attempt.method) == parts

    def _probed_hosts(self, attempt: PunchAttempt) -> list[str]:
        """Return the addresses that are probed at many ports, if any."""
        return self._known_addresses().hosts() if attempt.is_probing else []

    def _may_aim(self, attempt: PunchAttempt) -> bool:
        """Tell whether the peer has an address at which many packets may be aimed."""
        known, is_fan = self._known_addresses(), attempt.role is Role.FAN
        return bool(known.targets() if is_fan else known.hosts())

    def _known_addresses(self) -> KnownAddresses:
        by_address = self.own_nat.filtering is Filtering.ADDRESS_DEPENDENT
        return KnownAddresses(
            self._ledger, self.peer_public, self.peer_hosts, by_address
        )

    def _wants_fresh(self, attempt: PunchAttempt) -> bool:
        """Tell whether this side probes, and a new socket has one public port."""
        is_easy = self.own_nat.mapping is NatMapping.ENDPOINT_INDEPENDENT
        is_probing = attempt.role is Role.PROBE
        return is_probing and is_easy and self.stun_server is not None

    def _open(self, count: int, now: float) -> None:
        self.sockets_wanted = count
        self._enter(PunchState.OPENING, now + SOCKETS_TIMEOUT)

    def _ask(self, attempt: PunchAttempt, now: float) -> None:
        """Ask the peer for the attempt that begins."""
        self._say(**steps.ask(attempt))
        self._enter(PunchState.ASKED, now + ANSWER_TIMEOUT)

    def _sample_fresh(self, attempt: PunchAttempt, now: float) -> None:
        """See what the fresh socket's public port is, if there is such a socket."""
        if attempt.links and self.stun_server is not None:
            attempt.fresh = attempt.links[0]
            self._sample(attempt, now)
        else:
            self._forget_fresh(attempt)
            self._with_probe(attempt, now)

    def _forget_fresh(self, attempt: PunchAttempt) -> None:
        """Probe from the node's own socket after all."""
        if attempt.role is Role.PROBE:
            self.losers.extend(attempt.links)
            attempt.fresh = attempt.own_sequence = None
            attempt.links = ()

    def _with_probe(self, attempt: PunchAttempt, now: float) -> None:
        """Go on, as a prober that has its socket."""
        self._sampler = None
        if attempt.leads:
            self._ask(attempt, now)
        else:
            self._prepared(now)

    def _prepare(self, now: float) -> None:
        """Get sockets if this side needs any, and has none yet."""
        attempt = self._attempt
        if attempt is None:
            return
        if attempt.role is Role.PROBE:
            if attempt.names_port and self._wants_fresh(attempt):
                self._open(FRESH_SOCKETS, now)
            else:
                self._prepared(now)
            return
        if attempt.needs_sample and self.stun_server is None:
            self._give_up("no STUN server shows which ports the NAT gives out", now)
            return
        count = SOCKETS[attempt.method]
        limit = self._room_limit(attempt, now)
        self._open(count if limit is None else min(count, limit + CANARIES), now)

    def _sample(self, attempt: PunchAttempt, now: float) -> None:
        assert self.stun_server is not None
        links = attempt.links[:SAMPLES]
        ids = [self._checks.transaction_id() for _ in links]
        self._sampler = Sampler(links, self.stun_server, ids, now)
        self.transmits.extend(self._sampler.datagrams_to_send(now))
        self._enter(PunchState.SAMPLING, now + SOCKETS_TIMEOUT)

    def _check_sample(self, now: float) -> None:
        if self._sampler is None or self._attempt is None:
            return
        if not self._sampler.is_done(now):
            return
        self._attempt.own_sequence = self._sampler.result(self.own_nat.delta or 1)
        self._sampler = None
        if self._attempt.role is Role.PROBE:
            if self._attempt.own_sequence is None:
                self._forget_fresh(self._attempt)
            self._with_probe(self._attempt, now)
        elif self._attempt.own_sequence is None:
            self._give_up("no STUN server answered", now)
        else:
            self._prepared(now)

    def _prepared(self, now: float) -> None:
        """Tell the peer, and begin if enough is known."""
        attempt = self._attempt
        if attempt is None:
            return
        controlling = self._checks.keys.controlling
        self._say(step="go" if controlling else "ready", **steps.told(attempt))
        if controlling or (attempt.role is Role.FAN and attempt.knows_target):
            self._fire(now)
        else:
            self._enter(PunchState.WAITING, now + ANSWER_TIMEOUT)

    def _fire(self, now: float) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        if not attempt.knows_target:
            self._give_up("the peer's next ports are not known", now)
            return
        if not self._may_aim(attempt):
            # It was confirmed when the attempt began: the peer has moved meanwhile.
            self._give_up(UNCONFIRMED, now)
            return
        volleys = self._limiter.left(self.peer, attempt.method, now)
        probed = self._probed_hosts(attempt)
        volleys = min(volleys, self._limiter.volleys_left(probed, now))
        self._record(attempt, now)
        self._make_room(attempt, now)
        shots = attempt.aim(self._known_addresses(), self._random, now, volleys)
        self._barrage = Barrage(shots)
        self._second_at = now + BIRTHDAY_VOLLEYS[1] if attempt.is_probing else None
        self._enter(PunchState.FIRING, now + DURATIONS[attempt.method])
        self._watch(attempt, FAN_STEPS, now)
        self._shoot(now)

    def _shoot(self, now: float) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        for when, endpoint, ttl in self._barrage.take_due(now):
            if self._second_at is not None and when >= self._second_at:
                self._second_at = None
                self._record(attempt, now)
            if attempt.winner is None or endpoint.link == attempt.winner:
                check = self._checks.ask(endpoint, attempt.kind, now)
                self.transmits.append(Transmit(endpoint, [check], ttl))
        watch = self._barrage.watch
        if watch is not None:
            self.transmits += watch.datagrams_to_send(now)
            self._note_room(watch, now)

    def _record(self, attempt: PunchAttempt, now: float) -> None:
        """Count an attempt, or another volley of it."""
        self._limiter.record(self.peer, attempt.method, now)
        probed = self._probed_hosts(attempt)
        if probed:
            attempt.volleys += 1
            self._limiter.record_volley(probed, now)

    def _forgive(self, attempt: PunchAttempt, host: str) -> None:
        """Count no volley to where the peer was met, and all to other addresses."""
        if host in self._probed_hosts(attempt):
            self._limiter.forgive_volleys(host, attempt.volleys)

    # Room

    def _room_limit(self, attempt: PunchAttempt, now: float) -> int | None:
        """Return how many flows the attempt may open here, ``None`` if nobody knows."""
        room = self._limiter.room(self.own_public, now)
        is_limited = room is not None and room.is_limit
        if attempt.method is not PunchMethod.BIRTHDAY or not is_limited:
            return None
        return room.flows if room is not None else None

    def _make_room(self, attempt: PunchAttempt, now: float) -> None:
        """Plan for as many flows as there is room for, and for who watches that."""
        if attempt.is_probing:
            attempt.most = self._room_limit(attempt, now)
            self.sockets_wanted = CANARIES if self.stun_server is not None else 0
        elif attempt.method is PunchMethod.BIRTHDAY:
            if self.stun_server is not None and len(attempt.links) > 2 * CANARIES:
                attempt.canaries = attempt.links[-CANARIES:]
            if self._limiter.room(self.own_public, now) is None:
                attempt.first = BIRTHDAY_FIRST_SOCKETS

    def _watch(self, attempt: PunchAttempt, steps: tuple[int, ...], now: float) -> None:
        if self.stun_server is not None and attempt.canaries:
            new_id = self._checks.transaction_id
            links, server = attempt.canaries, self.stun_server
            self._barrage.watch = RoomWatch(links, server, new_id, steps, now)
            self._shoot(now)

    def _note_room(self, watch: RoomWatch, now: float) -> None:
        room = None
        if watch.is_full:
            room = Room(watch.confirmed // 2, is_limit=True)
        elif watch.is_roomy:
            room = Room(watch.confirmed, is_limit=False)
        if room is not None:
            self._limiter.note_room(self.own_public, room, now)

    # End

    def _time_out(self, now: float) -> None:
        attempt = self._attempt
        opens = self.state is PunchState.OPENING
        if opens and attempt is not None and attempt.role is Role.PROBE:
            self._sample_fresh(attempt, now)
        elif self.state is PunchState.FIRING:
            watch = self._barrage.watch
            is_full = watch is not None and watch.is_full
            detail = NO_ROOM if is_full else "no port that was tried answered"
            self._finish(Verdict.MISSED, detail, now)
        elif self.state in (PunchState.ASKED, PunchState.WAITING):
            self._finish(Verdict.LATE, "the peer did not answer", now)
        else:
            late = "no sockets could be opened in time"
            self._give_up(late, now, Verdict.LATE)

    def _give_up(
        self, why: str, now: float, verdict: Verdict = Verdict.REFUSED
    ) -> None:
        """End the attempt, and tell the peer."""
        self._say(step="refuse", why=why)
        self._finish(Verdict.BUSY if why == BUSY else verdict, why, now)

    def _finish(self, verdict: Verdict, detail: str, now: float) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        winner = attempt.winner if verdict is Verdict.OK else None
        self.losers.extend(link for link in attempt.links if link != winner)
        self.outcome = Outcome(attempt.method, verdict, detail)
        self._limiter.release(self.peer)
        self._attempt = self._sampler = None
        self._barrage = Barrage()
        self._enter(PunchState.IDLE, now)

    def _enter(self, state: PunchState, deadline: float) -> None:
        self.state, self._deadline = state, deadline

    def _say(self, **step: object) -> None:
        if self._attempt is not None:
            self.messages.append({"id": self._attempt.id, **step})
