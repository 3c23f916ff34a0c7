"""Which flows others have begun here, for administrators who are about to change rules.

The coordinator is told of each once in a while, so that it can say whom another policy
would cut. How much is sent, or how often, nobody is told.
"""

from collections import OrderedDict
from ipaddress import ip_address

from meshwg.policy.ports import ports_label
from meshwg.wire.control import MAX_FLOWS, SeenFlow

INTERVAL = 30.0
"""Seconds between two messages about flows."""
AGAIN = 6 * 3600.0
"""Seconds after which the same flow is told once more: an administrator looks at days.
"""
MAX_REMEMBERED = 4096
"""Flows that are told or wait for it; of more only the first are told."""

_Flow = tuple[bytes, bytes, int, int]
"""Source, destination, protocol and port."""


class Sightings:
    """What was seen, and when it was told."""

    def __init__(self) -> None:
        self.is_wanted = True
        self._waiting: dict[_Flow, None] = {}
        self._told: OrderedDict[_Flow, float] = OrderedDict()
        self._next = float("-inf")

    def note(
        self, source: bytes, destination: bytes, protocol: int, port: int, now: float
    ) -> None:
        """A flow to this node, or behind it, has begun."""
        flow = source, destination, protocol, port
        if not self.is_wanted or flow in self._waiting:
            return
        told_at = self._told.get(flow)
        if told_at is not None and now < told_at + AGAIN:
            return
        if len(self._waiting) + len(self._told) < MAX_REMEMBERED or told_at is not None:
            self._waiting[flow] = None

    def take(self, now: float) -> tuple[SeenFlow, ...]:
        """Return what is to be told now; it counts as told."""
        while self._told and now >= next(iter(self._told.values())) + AGAIN:
            self._told.popitem(last=False)
        if not self._waiting or now < self._next:
            return ()
        self._next = now + INTERVAL
        flows = list(self._waiting)[:MAX_FLOWS]
        for flow in flows:
            del self._waiting[flow]
            self._told[flow] = now
            self._told.move_to_end(flow)
        return tuple(map(_message, flows))


def _message(flow: _Flow) -> SeenFlow:
    source, destination, protocol, port = flow
    return SeenFlow(
        source=str(ip_address(source)),
        destination=str(ip_address(destination)),
        port=ports_label(protocol, port),
    )
