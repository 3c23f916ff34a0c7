"""Round trips to several servers over UDP, measured with Binding requests."""

from collections.abc import Iterable
from dataclasses import dataclass

from meshwg.errors import InvalidMessage
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wire.stun import (
    TRANSACTION_ID_LENGTH,
    Buffer,
    Class,
    Method,
    binding_request,
    parse,
)

EVERY = 25.0
"""Seconds between two measurements of one server."""
RESEND_AFTER = (0.2, 0.4, 0.8)
"""Seconds after each request until the next, or until the server counts as silent."""


@dataclass(slots=True)
class _Target:
    """One server."""

    endpoint: Endpoint
    round_trip: float | None = None
    """Seconds, smoothed; ``None`` while it is silent."""
    mapped: Endpoint | None = None
    """Where it saw this node last."""
    sent: int = 0
    """Requests of this round, each with a transaction id of its own, so that an answer
    tells which of them it belongs to."""
    due: float = 0.0


class Prober:
    """Asks each server at intervals, and all at once on request."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._targets: dict[Endpoint, _Target] = {}
        self._open: dict[bytes, tuple[_Target, float]] = {}
        self._to_send: list[Transmit] = []

    def watch(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Measure these servers, beginning now with new ones."""
        before, self._targets = self._targets, {}
        for endpoint in endpoints:
            known = before.get(endpoint)
            self._targets[endpoint] = known or _Target(endpoint, due=now)
        self._forget({id(each) for each in self._targets.values()})
        self.handle_timer(now)

    def probe(self, now: float) -> None:
        """Measure all of them now."""
        for target in self._targets.values():
            target.sent = 0
            target.due = now
        self.handle_timer(now)

    def round_trip(self, endpoint: Endpoint) -> float | None:
        """Return seconds to a server that answers, else ``None``."""
        target = self._targets.get(endpoint)
        return target.round_trip if target is not None else None

    def mapped(self, endpoint: Endpoint) -> Endpoint | None:
        """Return where a server saw this node last."""
        target = self._targets.get(endpoint)
        return target.mapped if target is not None else None

    def silence(self, endpoint: Endpoint) -> None:
        """Take a server for silent until it answers again."""
        target = self._targets.get(endpoint)
        if target is not None:
            target.round_trip = None

    def claims(self, transaction_id: bytes) -> bool:
        """Tell whether a Binding response is one that this prober waits for."""
        return transaction_id in self._open

    def receive(self, data: Buffer, source: Endpoint, now: float) -> Endpoint | None:
        """Take a response; return the server that it tells about."""
        try:
            message = parse(data)
        except InvalidMessage:
            return None
        target, sent_at = self._open.get(message.transaction_id, (None, 0.0))
        if target is None or target.endpoint[:2] != source[:2]:
            return None
        if (message.method, message.cls) != (Method.BINDING, Class.SUCCESS):
            return None
        self._smooth(target, now - sent_at)
        target.mapped = message.mapped
        self._close(target)
        target.sent = 0
        target.due = now + EVERY
        return target.endpoint

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the requests to send."""
        transmits, self._to_send = self._to_send, []
        return transmits

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        return min((target.due for target in self._targets.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Send what is due; a server that answered nothing of a round is silent."""
        for target in self._targets.values():
            if target.due > now:
                continue
            if target.sent == len(RESEND_AFTER):
                target.round_trip = None
                self._close(target)
                target.sent = 0
                target.due = now + EVERY
                continue
            self._send(target, now)

    def _send(self, target: _Target, now: float) -> None:
        transaction_id = self._random(TRANSACTION_ID_LENGTH)
        self._open[transaction_id] = target, now
        target.due = now + RESEND_AFTER[target.sent]
        target.sent += 1
        request = binding_request(transaction_id)
        self._to_send.append(Transmit(target.endpoint, [request]))

    def _smooth(self, target: _Target, sample: float) -> None:
        """Take one measurement into account; the way of RFC 6298."""
        last = target.round_trip
        target.round_trip = sample if last is None else last + (sample - last) / 4

    def _close(self, target: _Target) -> None:
        """Forget the requests of a round."""
        self._open = {
            key: each for key, each in self._open.items() if each[0] is not target
        }

    def _forget(self, kept: set[int]) -> None:
        self._open = {
            key: each for key, each in self._open.items() if id(each[0]) in kept
        }
