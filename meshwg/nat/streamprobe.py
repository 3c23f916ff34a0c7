"""How a NAT maps TCP: Binding requests over streams to two servers, from one port.

Linux's NATs, and most others, give a port the same public endpoint for every
destination over TCP, even where they do not over UDP. Two servers with different
addresses show whether that is so (RFC 5780 section 4.3, over TCP); one alone shows the
endpoint.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from meshwg.errors import InvalidMessage
from meshwg.nattypes import Mapping
from meshwg.transmit import Endpoint, Random
from meshwg.wire import stun
from meshwg.wire.channeldata import StreamFramer
from meshwg.wire.stun import Buffer, Class

SERVERS = 2
"""Servers that are asked."""

DEADLINE = 2.5
"""Seconds after which the answers that came have to be enough: one SYN may get lost,
and is repeated after one."""

GRACE = 0.7
"""Seconds that the first answer waits for the others."""

ANSWER_LIMIT = 512
"""Bytes of the longest answer that is taken."""


@dataclass(frozen=True, slots=True)
class TcpBehavior:
    """What a NAT does to TCP from one port."""

    mapping: Mapping = Mapping.UNKNOWN
    public: Endpoint | None = None
    """As a server saw the port."""


@dataclass(slots=True)
class _Question:
    transaction_id: bytes
    framer: StreamFramer
    mapped: Endpoint | None = None
    is_over: bool = False


class StreamProbe:
    """Asks each server once.

    :param servers: IPv4 endpoints; the link of each is the stream's to it.
    :param addresses: the host's own.
    """

    def __init__(
        self,
        servers: Iterable[Endpoint],
        *,
        addresses: Iterable[str],
        random: Random,
        now: float,
    ) -> None:
        self.deadline = now + DEADLINE
        self._addresses = frozenset(addresses)
        self._questions = {
            server.link: _Question(
                random(stun.TRANSACTION_ID_LENGTH), StreamFramer(ANSWER_LIMIT)
            )
            for server in servers
        }

    @property
    def links(self) -> tuple[int, ...]:
        """The streams to the servers."""
        return tuple(self._questions)

    def opened(self, link: int) -> bytes:
        """Return what to send on a stream that is open."""
        return stun.binding_request(self._questions[link].transaction_id)

    def receive(self, link: int, data: Buffer, now: float) -> None:
        """Take bytes of a server."""
        question = self._questions[link]
        try:
            for message in question.framer.receive(data):
                answer = stun.parse(message)
                is_ours = answer.transaction_id == question.transaction_id
                if is_ours and answer.cls is Class.SUCCESS:
                    question.mapped = answer.mapped
                    question.is_over = True
                    self.deadline = min(self.deadline, now + GRACE)
        except InvalidMessage:
            question.is_over = True

    def closed(self, link: int) -> None:
        """Take note that a stream could not be opened, or is gone."""
        self._questions[link].is_over = True

    def is_done(self, now: float) -> bool:
        """Tell whether all servers have answered, or it is too late for more."""
        over = all(question.is_over for question in self._questions.values())
        return over or now >= self.deadline

    def result(self) -> TcpBehavior:
        """Return what the answers so far show."""
        seen = [
            Endpoint(mapped.host, mapped.port)
            for question in self._questions.values()
            if (mapped := question.mapped) is not None
        ]
        if not seen:
            return TcpBehavior()
        if len(set(seen)) > 1:
            return TcpBehavior(Mapping.ADDRESS_DEPENDENT, seen[0])
        if seen[0].host in self._addresses:
            return TcpBehavior(Mapping.NONE, seen[0])
        known = len(seen) > 1
        mapping = Mapping.ENDPOINT_INDEPENDENT if known else Mapping.UNKNOWN
        return TcpBehavior(mapping, seen[0])
