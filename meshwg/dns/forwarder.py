"""Questions about other people's names, passed on to the machine's own name servers.

Theory of operation. A question goes to the server that answered fastest so far; if it
says nothing for :data:`HEAD_START`, or that it cannot help, the next one is asked, too.
The first answer wins. Each time that a server is asked there is a new random number in
the message and a socket of its own, so that nobody who only guesses can answer in its
place; what comes back has to name that number and that question.

The same question of several askers is asked once. That bounds what a circle of
forwarders can cost, too: a question that comes back is one that is being asked already.
Nothing is kept for later: what a name server says is its own to remember.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from meshwg.dns.message import (
    CHECKING_DISABLED,
    DNSSEC_OK,
    MAX_MESSAGE,
    RECURSION_DESIRED,
    Query,
    Question,
    ResponseCode,
    code_of,
    is_answer,
    pass_on,
    respond,
    write_query,
)
from meshwg.transmit import Random

HEAD_START = 0.3
"""Seconds that a server has before the next one is asked, too."""
ROUND = 1.0
"""Seconds from the last server to the first one, asked again."""
PATIENCE = 4.0
"""Seconds until there is no answer: glibc waits 5 before it asks the next server."""
ROUNDS = 2
MAX_SERVERS = 8
MAX_PENDING = 256
"""Questions at once."""
MAX_ASKERS = 16
"""Of one question at once."""
SMOOTHING = 0.2
PENALTY = 2.0
"""What silence multiplies the time by that a server is believed to take."""
SLOWEST = 10.0
_PASSED = {ResponseCode.SERVFAIL, ResponseCode.REFUSED, ResponseCode.NOTIMP}


class DnsDrop(StrEnum):
    """Why something was not answered, or not believed."""

    NOT_A_QUERY = "dns-not-a-query"
    STRANGER = "dns-stranger"
    """ServerQuery by another machine."""
    TOO_MANY = "dns-too-many"
    NOT_THE_ANSWER = "dns-not-the-answer"
    """What came from a name server belongs to no question that it was asked."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked, and how the answer gets there."""

    host: str
    is_stream: bool
    way: object = None
    """Means something to the one who handed the question in."""


@dataclass(frozen=True, slots=True)
class ServerQuery:
    """Send a message to a name server, from a socket that nothing else uses."""

    number: int
    host: str
    is_stream: bool
    message: bytes


@dataclass(slots=True)
class _Forwarded:
    """A question that servers were asked."""

    question: Question
    flags: int
    is_stream: bool
    has_edns: bool
    deadline: float
    next_at: float
    hosts: deque[str]
    """Whom to ask next."""
    askers: list[tuple[Query, Asker]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """Of the sockets that are open."""
    last_resort: bytes | None = None
    """What a server has said that could not help."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    key: tuple[object, ...]
    host: str
    id: int
    asked_at: float


class Forwarder:
    """Asks name servers, and passes on what they say."""

    def __init__(self, random: Random, drops: Counter[DnsDrop]) -> None:
        self._random = random
        self._drops = drops
        self._seconds: dict[str, float] = {}
        """What each server takes, in the order in which they were given."""
        self._pending: dict[tuple[object, ...], _Forwarded] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._numbers = count(1)
        self._to_ask: list[ServerQuery] = []
        self._to_close: list[int] = []
        self._answers: list[tuple[Asker, bytes]] = []

    @property
    def servers(self) -> list[str]:
        """Who is asked, the fastest first."""
        return sorted(self._seconds, key=self._seconds.__getitem__)

    def use(self, servers: Iterable[str]) -> None:
        """Ask these from now on; what is under way goes on."""
        known = self._seconds
        wanted = list(dict.fromkeys(servers))[:MAX_SERVERS]
        self._seconds = {host: known.get(host, 0.0) for host in wanted}

    def forward(self, query: Query, asker: Asker, now: float) -> bool:
        """Pass a question on; return whether there is somebody to pass it to."""
        if query.question is None or not self._seconds:
            return False
        key = _key_of(query, asker)
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                return False
            pending = self._pending[key] = self._begin(query, asker, now)
        if len(pending.askers) >= MAX_ASKERS:
            self._drops[DnsDrop.TOO_MANY] += 1
            return True
        pending.askers.append((query, asker))
        if not pending.numbers:
            self._ask(key, pending, now)
        return True

    def receive_answer(self, number: int, message: bytes, now: float) -> None:
        """Take what has come to the socket of a number."""
        attempt = self._attempts.get(number)
        if attempt is None:
            return
        pending = self._pending[attempt.key]
        if not is_answer(message, attempt.id, pending.question):
            self._drops[DnsDrop.NOT_THE_ANSWER] += 1
            return
        if code_of(message) in _PASSED:
            pending.last_resort = message
            self._give_up(number, now)
            return
        self._learn(attempt.host, now - attempt.asked_at)
        self._end(attempt.key, message)

    def failed(self, number: int, now: float) -> None:
        """Nobody can be reached by the socket of a number."""
        if number in self._attempts:
            self._give_up(number, now)

    def asked(self) -> list[ServerQuery]:
        """Return what to send to name servers."""
        asked, self._to_ask = self._to_ask, []
        return asked

    def closed(self) -> list[int]:
        """Return the numbers of sockets that are not needed any more."""
        closed, self._to_close = self._to_close, []
        return closed

    def answers_to_send(self) -> list[tuple[Asker, bytes]]:
        """Return answers, and who gets them."""
        answers, self._answers = self._answers, []
        return answers

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        times = [min(each.next_at, each.deadline) for each in self._pending.values()]
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Ask the next servers, or say that there is no answer."""
        for key, pending in list(self._pending.items()):
            if now >= pending.deadline:
                self._fail(key)
            elif now >= pending.next_at:
                self._ask(key, pending, now)

    def _begin(self, query: Query, asker: Asker, now: float) -> _Forwarded:
        assert query.question is not None
        extension = query.extension
        flags = query.flags & (RECURSION_DESIRED | CHECKING_DISABLED)
        if extension is not None and extension.dnssec_ok:
            flags |= DNSSEC_OK
        return _Forwarded(
            query.question,
            flags,
            asker.is_stream,
            extension is not None,
            now + PATIENCE,
            now,
            deque(self.servers * ROUNDS),
        )

    def _ask(self, key: tuple[object, ...], pending: _Forwarded, now: float) -> None:
        """Ask the next server, if there is one."""
        if not pending.hosts:
            pending.next_at = pending.deadline
            return
        host = pending.hosts.popleft()
        number, id_ = next(self._numbers), int.from_bytes(self._random(2))
        message = write_query(
            id_, pending.question, flags=pending.flags, edns=pending.has_edns
        )
        self._attempts[number] = _Attempt(key, host, id_, now)
        pending.numbers.append(number)
        begins_again = len(pending.hosts) == len(self._seconds)
        pending.next_at = now + (ROUND if begins_again else HEAD_START)
        self._to_ask.append(ServerQuery(number, host, pending.is_stream, message))

    def _give_up(self, number: int, now: float) -> None:
        """Go on without the server that was asked by a number."""
        attempt = self._attempts.pop(number)
        pending = self._pending[attempt.key]
        pending.numbers.remove(number)
        self._to_close.append(number)
        self._blame(attempt.host)
        # Once is enough: it would say the same again.
        others = [host for host in pending.hosts if host != attempt.host]
        pending.hosts = deque(others)
        if pending.hosts:
            self._ask(attempt.key, pending, now)
        elif not pending.numbers:
            self._fail(attempt.key)

    def _fail(self, key: tuple[object, ...]) -> None:
        pending = self._pending[key]
        for number in pending.numbers:
            self._blame(self._attempts[number].host)
        self._end(key, pending.last_resort)

    def _end(self, key: tuple[object, ...], message: bytes | None) -> None:
        """Answer everybody who asked, with a failure if there is no message."""
        pending = self._pending.pop(key)
        for number in pending.numbers:
            del self._attempts[number]
            self._to_close.append(number)
        for query, asker in pending.askers:
            if message is None:
                answer = respond(query, ResponseCode.SERVFAIL, recursive=True)
            else:
                limit = MAX_MESSAGE if asker.is_stream else query.limit
                answer = pass_on(message, query, limit)
            self._answers.append((asker, answer))

    def _learn(self, host: str, seconds: float) -> None:
        if host in self._seconds:
            known = self._seconds[host] or seconds
            self._seconds[host] = known + SMOOTHING * (seconds - known)

    def _blame(self, host: str) -> None:
        if host in self._seconds:
            known = max(self._seconds[host], HEAD_START)
            self._seconds[host] = min(known * PENALTY, SLOWEST)


def _key_of(query: Query, asker: Asker) -> tuple[object, ...]:
    """Return what is equal of questions that have the same answer."""
    question, extension = query.question, query.extension
    assert question is not None
    return (
        question.name.lower(),
        question.type,
        question.kind,
        query.flags & (RECURSION_DESIRED | CHECKING_DISABLED),
        extension is not None and extension.dnssec_ok,
        extension is not None,
        asker.is_stream,
    )
