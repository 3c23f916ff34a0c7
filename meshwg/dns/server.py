"""A name server for the machine it runs on.

It answers for the mesh's zone, and only if it is told to does it pass other questions
on (:mod:`meshwg.dns.forwarder`). At an exit, members may ask for names of the internet,
but not for those of the mesh, of which each sees others. At a hub, its plain peers are
told those that they may see. Whoever else asks from another machine is refused, a few
times a second, and after that not heard at all. Everything has a bound: questions at
once, bytes of one, askers that are remembered.

After every call in, send :meth:`NameServer.answers_to_send` and what
:attr:`NameServer.forwarder` has to ask; call :meth:`NameServer.handle_timer` when
:meth:`NameServer.get_timer` says so.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address

from meshwg.dns.forwarder import Asker, DnsDrop, Forwarder
from meshwg.dns.message import (
    CLASS_ANY,
    CLASS_IN,
    MAX_MESSAGE,
    Query,
    Question,
    RecordType,
    ResourceRecord,
    ResponseCode,
    read_query,
    respond,
)
from meshwg.dns.zone import TTL, Zone
from meshwg.limits import RateLimiter, TokenBucket
from meshwg.prefixes import IPNetwork
from meshwg.transmit import Random

RATE, BURST = 2000.0, 4000.0
"""Questions of one address of this machine in a second, and at once."""
STRANGER_RATE, STRANGER_BURST = 5.0, 20.0
"""Refusals of one other machine in a second, and at once."""
REFUSAL_RATE = 100.0
"""Refusals of all others in a second."""
MAX_SOURCES = 256

_ANY = b"\x07RFC8482\x00"
"""The answer to whoever wants everything at once (RFC 8482 section 4.2)."""


class NameServer:
    """Answers questions about names."""

    def __init__(self, random: Random, now: float) -> None:
        self.drops: Counter[DnsDrop] = Counter()
        """What was not answered, by reason."""
        self.zone: Zone | None = None
        self.forwards = False
        """Whether other questions are passed on."""
        self.forwarder = Forwarder(random, self.drops)
        self._own: Collection[str] = ()
        self._members: tuple[IPNetwork, ...] = ()
        self._zone_of: Callable[[str], Zone | None] = lambda _: None
        self._answers: list[tuple[Asker, bytes]] = []
        self._askers = RateLimiter(RATE, BURST, max_keys=MAX_SOURCES)
        self._strangers = RateLimiter(
            STRANGER_RATE, STRANGER_BURST, max_keys=MAX_SOURCES
        )
        self._refusals = TokenBucket(REFUSAL_RATE, REFUSAL_RATE, now)

    def serve(self, own: Collection[str]) -> None:
        """Answer who asks from these addresses, beside those that only this machine
        has."""
        self._own = own

    def serve_members(self, networks: Iterable[IPNetwork]) -> None:
        """Pass questions on for whoever asks from these networks, too."""
        self._members = tuple(networks)

    def serve_plain(self, zone_of: Callable[[str], Zone | None]) -> None:
        """Answer plain peers of this node, too.

        :param zone_of: returns what a peer with an address may see, ``None`` if there
            is no such peer here.
        """
        self._zone_of = zone_of

    def use_servers(self, servers: Iterable[str]) -> None:
        """Pass questions on to these, but not to this one itself."""
        self.forwarder.use(each for each in servers if each not in self._own)

    def receive_query(self, data: bytes, asker: Asker, now: float) -> None:
        """Take what somebody has sent."""
        is_own = _is_loopback(asker.host) or asker.host in self._own
        zone = self.zone if is_own else self._zone_of(asker.host)
        forwards = self.forwards if is_own else self._is_member(asker.host)
        is_served = is_own or forwards or zone is not None
        if not is_served and not self._may_be_refused(asker, now):
            return
        if is_served and not self._askers.take(asker.host, now):
            self.drops[DnsDrop.TOO_MANY] += 1
            return
        query = read_query(data)
        if query is None:
            self.drops[DnsDrop.NOT_A_QUERY] += 1
        elif not is_served:
            self._answer(query, asker, ResponseCode.REFUSED)
        elif query.fault or query.question is None:
            self._answer(query, asker, query.fault)
        else:
            self._receive_question(
                query, query.question, asker, now, zone=zone, forwards=forwards
            )

    def answers_to_send(self) -> list[tuple[Asker, bytes]]:
        """Return answers, and who gets them."""
        answers, self._answers = self._answers, []
        return answers + self.forwarder.answers_to_send()

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        return self.forwarder.get_timer()

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self.forwarder.handle_timer(now)

    def _is_member(self, host: str) -> bool:
        if not self._members or "%" in host:
            return False
        address = ip_address(host)
        return any(address in network for network in self._members)

    def _may_be_refused(self, asker: Asker, now: float) -> bool:
        """Tell whether another machine is worth an answer, which is a refusal."""
        self.drops[DnsDrop.STRANGER] += 1
        return self._strangers.take(asker.host, now) and self._refusals.take(now)

    def _receive_question(
        self,
        query: Query,
        question: Question,
        asker: Asker,
        now: float,
        *,
        zone: Zone | None,
        forwards: bool,
    ) -> None:
        name, own = question.name.lower(), self.zone
        is_transfer = question.type in (RecordType.AXFR, RecordType.IXFR)
        if is_transfer or question.kind not in (CLASS_IN, CLASS_ANY):
            self._answer(query, asker, ResponseCode.REFUSED)
        elif own is not None and own.covers(name):
            if zone is None:
                self._answer(query, asker, ResponseCode.REFUSED)
            else:
                self._answer_from(zone, name, query, question, asker)
        elif not forwards:
            self._answer(query, asker, ResponseCode.REFUSED)
        elif not self.forwarder.forward(query, asker, now):
            self._answer(query, asker, ResponseCode.SERVFAIL)

    def _answer_from(
        self, zone: Zone, name: bytes, query: Query, question: Question, asker: Asker
    ) -> None:
        found = zone.look_up(name, question.type)
        answers, authority = found.answers, found.authority
        if question.type == RecordType.ANY and found.code is ResponseCode.NOERROR:
            answers = (ResourceRecord(name, RecordType.HINFO, TTL, _ANY),)
            authority = ()
        self._answer(query, asker, found.code, answers, authority, authoritative=True)

    def _answer(
        self,
        query: Query,
        asker: Asker,
        code: ResponseCode,
        answers: tuple[ResourceRecord, ...] = (),
        authority: tuple[ResourceRecord, ...] = (),
        *,
        authoritative: bool = False,
    ) -> None:
        message = respond(
            query,
            code,
            answers,
            authority,
            authoritative=authoritative,
            recursive=self.forwards,
            limit=MAX_MESSAGE if asker.is_stream else query.limit,
        )
        self._answers.append((asker, message))


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"
