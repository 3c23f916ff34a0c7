"""Binding requests that are repeated until an answer, a refusal or a deadline."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshwg.errors import InvalidMessage
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method, StunErrorCode

REPEATS = (0.0, 0.2, 0.6, 1.4)
"""Seconds after its start at which a request is sent, as long as nothing comes back.

RFC 8489's half second would leave no time for a second try within a report that a
person waits for.
"""
DENSE_REPEATS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""The same for a request whose silence will be taken as an answer: where one exchange
in five is lost, all of these are once in fifteen thousand."""
BRISK_REPEATS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
"""The same where somebody waits: as many, but a burst of losses may take all."""


class ProbeDrop(StrEnum):
    """Why a message with a transaction of ours was not taken for its answer."""

    MALFORMED = "probe-malformed"
    WRONG_SOURCE = "probe-wrong-source"
    """It came from another endpoint than was asked."""
    NOT_AN_ANSWER = "probe-not-an-answer"
    """It is neither a success nor an error."""
    NO_ADDRESS = "probe-no-address"
    """It holds no mapped address of the right family."""


@dataclass(slots=True, eq=False)
class Probe:
    """One request, and what came of it."""

    destination: Endpoint
    """Where it goes; its link is the socket it leaves from."""
    answers_from: Endpoint
    """Where the answer has to come from; its link is the socket it has to reach."""
    request: bytes
    started: float
    deadline: float
    repeats: Sequence[float] = REPEATS
    sends: int = 0
    mapped: Endpoint | None = None
    """The socket as the server saw it, once it answered."""
    other: Endpoint | None = None
    """The server's OTHER-ADDRESS, if it sent one."""
    local: str | None = None
    """The local address that the answer came to, if the runtime tells it."""
    answered: float | None = None
    refusal: StunErrorCode | None = None
    is_ignored: bool = False
    """Whether the server answered as if CHANGE-REQUEST were not there."""
    has_strayed: bool = False
    """Whether an answer came from somewhere else."""

    def is_open(self, now: float) -> bool:
        """Tell whether an answer may still come."""
        is_settled = self.answered is not None or self.is_unsupported
        return not is_settled and now < self.deadline

    @property
    def is_unsupported(self) -> bool:
        """Whether the server showed that it will not do what it was asked."""
        return self.refusal is not None or self.is_ignored

    @property
    def rtt(self) -> float | None:
        """Seconds from the first request to the answer."""
        return None if self.answered is None else self.answered - self.started

    def next_send(self) -> float | None:
        """Return when to send it next."""
        if self.sends >= len(self.repeats):
            return None
        return self.started + self.repeats[self.sends]


class Probes:
    """All requests of one discovery, by transaction."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._probes: dict[bytes, Probe] = {}
        self._to_send: list[Transmit] = []
        self.drops: Counter[ProbeDrop] = Counter()

    def start(
        self,
        destination: Endpoint,
        now: float,
        deadline: float,
        *,
        answers_from: Endpoint | None = None,
        attributes: dict[Attribute, Any] | None = None,
        repeats: Sequence[float] = REPEATS,
    ) -> Probe:
        """Begin a request; it is sent at once."""
        transaction_id = self._random(stun.TRANSACTION_ID_LENGTH)
        request = (
            stun.encode(
                Message(Method.BINDING, Class.REQUEST, transaction_id, attributes)
            )
            if attributes
            else stun.binding_request(transaction_id)
        )
        source = answers_from or destination
        probe = Probe(destination, source, request, now, deadline, repeats)
        self._probes[transaction_id] = probe
        self.handle_timer(now)
        return probe

    def find(self, data: stun.Buffer) -> Probe | None:
        """Return the probe whose transaction a datagram belongs to."""
        return self._probes.get(bytes(data[8:20]))

    def receive(self, data: stun.Buffer, source: Endpoint, now: float) -> bool:
        """Take a datagram that may be an answer; return whether it was meant for us."""
        probe = self.find(data)
        if probe is None:
            return False
        drop = _take(probe, data, source, now)
        if drop is not None:
            self.drops[drop] += 1
        return True

    def handle_timer(self, now: float) -> None:
        """Send what is due."""
        for probe in self._probes.values():
            due = probe.next_send()
            if due is not None and due <= now and probe.is_open(now):
                probe.sends += 1
                self._to_send.append(Transmit(probe.destination, [probe.request]))

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the requests to send, in order."""
        to_send, self._to_send = self._to_send, []
        return to_send

    def get_timer(self, now: float) -> float | None:
        """Return when the next request is due or the next probe has failed."""
        times = [
            min(probe.deadline, probe.next_send() or probe.deadline)
            for probe in self._probes.values()
            if probe.is_open(now)
        ]
        return min(times, default=None)


def _take(
    probe: Probe, data: stun.Buffer, source: Endpoint, now: float
) -> ProbeDrop | None:
    """Enter an answer into its probe, or return why it is none."""
    try:
        message = stun.parse(data)
    except InvalidMessage:
        return ProbeDrop.MALFORMED
    if source[:3] not in (probe.answers_from[:3], probe.destination[:3]):
        probe.has_strayed = probe.has_strayed or message.cls is not Class.REQUEST
        return ProbeDrop.WRONG_SOURCE
    if message.cls is Class.ERROR and message.error is not None:
        probe.refusal = message.error
        return None
    if message.cls is not Class.SUCCESS or message.unknown_required:
        return ProbeDrop.NOT_AN_ANSWER
    if message.mapped is None or not _same_family(message.mapped, source):
        return ProbeDrop.NO_ADDRESS
    if source[:3] != probe.answers_from[:3]:
        probe.is_ignored = True
    elif probe.is_open(now):
        probe.answered = now
        probe.mapped = message.mapped
        probe.other = message.address(Attribute.OTHER_ADDRESS)
        probe.local = None if source.source is None else source.source.host
    return None


def _same_family(one: Endpoint, other: Endpoint) -> bool:
    return (":" in one.host) == (":" in other.host)
