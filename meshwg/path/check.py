"""Connectivity checks: STUN Binding requests that only the two nodes can make.

A check asks "do packets get there and back?" (RFC 8445 section 7). Its USERNAME is a
tag and its MESSAGE-INTEGRITY key is a secret, both derived from the static X25519
secret that the two nodes share::

    ss = X25519(own private key, peer's public key)
    tag, key = HKDF("meshwg path check 1", ss || asker's key || answerer's key)

so nobody else can make or verify a check, or learn from it who is asking whom. Once
the answerer has made an offer, its tag for this is used instead, which is another one
with each offer (:mod:`meshwg.path.veil`): the derived tag is for those that make none,
and for checks before the first one. The
asker's and the answerer's place in the derivation give each direction values of its
own: a check sent back to where it came from is not a check of the other direction.
An answer is signed with the key of the check that it answers.

Every transmission has a transaction id of its own, so that an answer tells exactly
which check arrived, and how long it took. Ids are remembered on both sides: the asker
takes one answer per check, the answerer gives one. A recorded check that is played
again, from wherever, is dropped; one so old that its id was forgotten draws an answer
that is smaller than itself. The first four bytes of an id hide the asker's ``route``,
by which a node with many peers finds whose check was answered.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from meshwg.keys import PrivateKey
from meshwg.noise import hkdf
from meshwg.path.candidate import CandidateKind
from meshwg.path.report import DeliveryReport
from meshwg.path.routereport import RouteReport
from meshwg.path.tally import NOTHING, Amount
from meshwg.path.veil import ROUTE_LENGTH, TAG_LENGTH, TAGS, Veil
from meshwg.transmit import Endpoint, Random
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method

CHECK_TIMEOUT = 4.0
"""Seconds after which a check is lost, and its answer too late."""

PENDING_LIMIT = 4096
"""Checks awaiting an answer: two birthday attempts and room for the rest."""

SEEN_LIMIT = 2048
"""Ids of the peer's checks that are remembered against replay."""

_PADDED_LENGTH = 84
"""Bytes of a check with an empty PADDING."""
_LABEL = b"meshwg path check 1"


class CheckDrop(StrEnum):
    """Why a STUN message was ignored, or a check not sent."""

    FORGED = "check-forged"
    """A check or an answer with a wrong signature."""
    REFLECTED = "check-reflected"
    """This node's own check, sent back to it."""
    REPLAYED = "check-replayed"
    """A check that was seen before."""
    UNKNOWN_ANSWER = "check-answer-unknown"
    """An answer to no check that is on its way."""
    WRONG_SOURCE = "check-answer-wrong-source"
    """An answer from another address than was asked."""
    UNEXPECTED = "check-unexpected"
    """A STUN message that is neither a check nor an answer."""
    LOSER = "check-lost-election"
    """A check on an auxiliary socket that was not the first to hear the peer."""
    OVER_BUDGET = "check-over-budget"
    """A check not sent, because an unconfirmed address has had enough of them."""
    OVERLEARNT = "check-too-many-sources"
    """A check not sent, because too many new addresses were learnt lately."""


class _Direction(NamedTuple):
    """What signs the checks that one of two nodes sends to the other."""

    tag: str
    key: bytes


@dataclass(frozen=True, slots=True)
class CheckKeys:
    """The tags and keys of the checks between two nodes."""

    outgoing: _Direction = field(repr=False)
    incoming: _Direction = field(repr=False)
    controlling: bool
    """True on exactly one side: it decides where both would decide alike."""
    peer: bytes = b""
    """The peer's public key."""

    @classmethod
    def derive(cls, private_key: PrivateKey, peer: bytes) -> "CheckKeys | None":
        """Return the keys shared with a peer, ``None`` if its key has a low order."""
        own = private_key.public_bytes
        secret = private_key.exchange(peer)
        if secret is None or own == peer:
            return None
        return cls(
            _direction(secret, own, peer),
            _direction(secret, peer, own),
            own < peer,
            peer,
        )


def _free_route(route: bytes, taken: Container[bytes]) -> bytes:
    """Return this route, or the next one that is free."""
    while route in taken:
        number = int.from_bytes(route) + 1
        route = (number % (1 << 8 * ROUTE_LENGTH)).to_bytes(ROUTE_LENGTH)
    return route


def _direction(secret: bytes, asker: bytes, answerer: bytes) -> _Direction:
    tag, key = hkdf(_LABEL, secret + asker + answerer, 2)
    return _Direction(tag[:TAG_LENGTH].hex(), key)


@dataclass(frozen=True, slots=True)
class Check:
    """A check on its way."""

    endpoint: Endpoint
    """Where it went; the link tells from which socket."""
    kind: CandidateKind
    """What the endpoint is, if the answer shows that it is anything."""
    sent_at: float
    counts: bool
    """Whether its loss says something: not while a path is only being opened."""
    size: int = 0
    """Bytes that it was padded to, 0 for as long as it is."""
    sent: Amount = NOTHING
    """What of the tunnel had gone the same way before it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The peer checks a path."""

    answer: bytes = field(repr=False)
    report: DeliveryReport | None = None
    """What has reached the peer by this path, if it says so."""
    routes: RouteReport | None = None
    """What the peer says of the networks behind it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer answered a check: the path works both ways."""

    check: Check
    endpoint: Endpoint
    """Where the answer came from; it carries the local address to stick to."""
    rtt: float
    report: DeliveryReport | None = None
    """What had reached the peer by this path, if it says so."""


Outcome = Asked | Answered | CheckDrop


class Checks:
    """Makes the checks for one peer, and judges what comes in.

    :param taken: the routes of the node's other peers.
    :param veil: hides from bystanders whose checks these are.
    """

    def __init__(
        self,
        keys: CheckKeys,
        random: Random,
        taken: Container[bytes] = (),
        veil: Veil | None = None,
    ) -> None:
        self.keys = keys
        self.tag = keys.outgoing.tag
        """That of this node's checks: the derived one, or one of the peer's."""
        self._spare: tuple[str, ...] = ()
        """Others that the peer gave."""
        self._veil = veil
        self.route = _free_route(random(ROUTE_LENGTH), taken)
        self.routes: RouteReport | None = None
        """What this node's checks say of the networks behind it."""
        self.drops: Counter[CheckDrop] = Counter()
        self._random = random
        self._pending: OrderedDict[bytes, Check] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def transaction_id(self) -> bytes:
        """Return a new id that leads back to this object."""
        nonce = self._random(stun.TRANSACTION_ID_LENGTH - ROUTE_LENGTH)
        if self._veil is None:
            return self.route + nonce
        return self._veil.transaction_id(self.route, nonce)

    def new_tags(self) -> tuple[str, ...]:
        """Return tags for the peer's checks from now on.

        Those before are taken, too. Without any, the peer uses the derived one.
        """
        if self._veil is None:
            return ()
        tags = (self._veil.tag_for(self.keys.peer, self._random) for _ in range(TAGS))
        return tuple(tags)

    def take_tags(self, tags: tuple[str, ...]) -> None:
        """Use these tags, which the peer gave; without any, the derived one."""
        self.tag, self._spare = self.keys.outgoing.tag, tags
        self.change_tag()

    def change_tag(self) -> None:
        """Use another tag, as one end is in another network, if there is one left."""
        if self._spare:
            self.tag, *rest = self._spare
            self._spare = tuple(rest)

    def ask(
        self,
        endpoint: Endpoint,
        kind: CandidateKind,
        now: float,
        *,
        counts: bool = False,
        size: int = 0,
        sent: Amount = NOTHING,
        report: DeliveryReport | None = None,
    ) -> bytes:
        """Return a check for an endpoint, and expect its answer.

        :param size: bytes to pad it to (RFC 5780 section 7.6), a multiple of four.
        :param sent: what of the tunnel has gone there so far.
        :param report: what to tell of what has come from there; not in a padded one.
        """
        transaction_id = self.transaction_id()
        check = Check(endpoint, kind, now, counts, size, sent)
        self._pending[transaction_id] = check
        if len(self._pending) > PENDING_LIMIT:
            self._pending.popitem(last=False)
        message = Message(Method.BINDING, Class.REQUEST, transaction_id)
        message.attributes[Attribute.USERNAME] = self.tag
        if size > _PADDED_LENGTH:
            message.attributes[Attribute.PADDING] = bytes(size - _PADDED_LENGTH)
        if report is not None:
            message.attributes[Attribute.DELIVERY_REPORT] = report.pack()
        if self.routes is not None and not size:
            message.attributes[Attribute.ROUTE_REPORT] = self.routes.pack()
        return stun.encode(message, self.keys.outgoing.key, fingerprint=True)

    def receive(
        self,
        message: Message,
        source: Endpoint,
        now: float,
        report: Callable[[], DeliveryReport] | None = None,
    ) -> Outcome:
        """Judge a message; a :class:`CheckDrop` is counted already.

        :param report: returns what to tell a peer that understands it.
        """
        outcome = self._judge(message, source, now, report)
        if isinstance(outcome, CheckDrop):
            self.drops[outcome] += 1
        return outcome

    def is_genuine(self, message: Message, source: Endpoint) -> bool:
        """Tell whether this is the peer's check, or its answer from where it was asked.

        Nothing is remembered of it; a check may be one that was seen before.
        """
        if message.cls is Class.REQUEST:
            return stun.check_integrity(message, self.keys.incoming.key)
        check = self._pending.get(message.transaction_id)
        return (
            check is not None
            and source[:3] == check.endpoint[:3]
            and stun.check_integrity(message, self.keys.outgoing.key)
        )

    def expire(self, now: float) -> list[Check]:
        """Return the checks that went unanswered, and forget them."""
        lost = []
        while self._pending:
            transaction_id, check = next(iter(self._pending.items()))
            if check.sent_at + CHECK_TIMEOUT > now:
                break
            del self._pending[transaction_id]
            lost.append(check)
        return lost

    def get_timer(self) -> float | None:
        """Return when the next check counts as lost."""
        for check in self._pending.values():
            return check.sent_at + CHECK_TIMEOUT
        return None

    def _judge(
        self,
        message: Message,
        source: Endpoint,
        now: float,
        report: Callable[[], DeliveryReport] | None,
    ) -> Outcome:
        if message.method is not Method.BINDING or message.unknown_required:
            return CheckDrop.UNEXPECTED
        if message.cls is Class.REQUEST:
            return self._judge_request(message, source, report)
        if message.cls is Class.SUCCESS:
            return self._judge_answer(message, source, now)
        return CheckDrop.UNEXPECTED

    def _judge_request(
        self,
        message: Message,
        source: Endpoint,
        report: Callable[[], DeliveryReport] | None,
    ) -> Outcome:
        tag = message.attributes.get(Attribute.USERNAME)
        if tag in (self.tag, self.keys.outgoing.tag):
            return CheckDrop.REFLECTED
        key = self.keys.incoming.key
        if not stun.check_integrity(message, key):
            return CheckDrop.FORGED
        if message.transaction_id in self._seen:
            return CheckDrop.REPLAYED
        self._seen[message.transaction_id] = None
        if len(self._seen) > SEEN_LIMIT:
            self._seen.popitem(last=False)
        answer = Message(Method.BINDING, Class.SUCCESS, message.transaction_id)
        host = source.host.partition("%")[0]
        answer.attributes[Attribute.XOR_MAPPED_ADDRESS] = Endpoint(host, source.port)
        told = _report_in(message)
        if told is not None and report is not None:
            # So an answer is never longer than what it answers.
            answer.attributes[Attribute.DELIVERY_REPORT] = report().pack()
        routes = RouteReport.parse(message.attributes.get(Attribute.ROUTE_REPORT))
        return Asked(stun.encode(answer, key, fingerprint=True), told, routes)

    def _judge_answer(self, message: Message, source: Endpoint, now: float) -> Outcome:
        check = self._pending.get(message.transaction_id)
        if check is None:
            return CheckDrop.UNKNOWN_ANSWER
        if not stun.check_integrity(message, self.keys.outgoing.key):
            return CheckDrop.FORGED
        del self._pending[message.transaction_id]
        if source[:3] != check.endpoint[:3]:
            return CheckDrop.WRONG_SOURCE
        return Answered(check, source, now - check.sent_at, _report_in(message))


def _report_in(message: Message) -> DeliveryReport | None:
    return DeliveryReport.parse(message.attributes.get(Attribute.DELIVERY_REPORT))
