"""Observes which public ports a NAT gives out right now.

Each sample is a plain Binding request from a socket of its own, since a NAT that is
asked again by the same socket shows the old mapping again.
"""

from collections.abc import Sequence

from meshwg.path.punch import observed_delta
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Class, Message

REPEATS = (0.0, 0.2, 0.6)
"""Seconds after the start at which unanswered requests are sent."""

DURATION = 1.2
"""Seconds after which the answers that came have to be enough."""


class Sampler:
    """One observation: a few requests from different sockets, in order.

    :param ids: a transaction id for each link.
    """

    def __init__(
        self,
        links: Sequence[int],
        server: Endpoint,
        ids: Sequence[bytes],
        now: float,
    ) -> None:
        self._server = server
        self._links = dict(zip(ids, links, strict=True))
        self._ports: dict[int, int] = {}
        self._due = [now + after for after in REPEATS]
        self._deadline = now + DURATION

    def receive(self, message: Message, source: Endpoint) -> bool:
        """Take an answer; return whether it is one."""
        link = self._links.get(message.transaction_id)
        if link is None or source[:3] != self._server._replace(link=link)[:3]:
            return False
        if message.cls is Class.SUCCESS and message.mapped is not None:
            self._ports.setdefault(link, message.mapped.port)
        return True

    def is_done(self, now: float) -> bool:
        """Tell whether all answers are in, or it is too late for more."""
        return len(self._ports) == len(self._links) or now >= self._deadline

    def result(self, expected_delta: int) -> tuple[int, int] | None:
        """Return the last port given out and the step, ``None`` without an answer."""
        ports = [
            self._ports[link] for link in self._links.values() if link in self._ports
        ]
        if not ports:
            return None
        # A repeated request may have overtaken a later one: what counts is which port
        # is furthest along the sequence.
        delta = observed_delta(ports, expected_delta)
        return max(ports, key=lambda port: (port - ports[0]) * delta), delta

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        """Return the requests that are due."""
        if not self._due or self._due[0] > now:
            return []
        self._due.pop(0)
        return [
            Transmit(self._server._replace(link=link), [stun.binding_request(id_)])
            for id_, link in self._links.items()
            if link not in self._ports
        ]

    def get_timer(self) -> float:
        """Return when there is something to do."""
        return min([*self._due[:1], self._deadline])
