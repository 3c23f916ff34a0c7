"""Flows: what was let pass, so that what belongs to it passes as well.

Tables are bounded. When one is full, the flow that was idle for longest goes: who fills
a table loses his own flows first, unless others say nothing.
"""

from collections import OrderedDict
from enum import Enum, auto

from meshwg.policy.rules import AllowRule

MAX_TCP, MAX_UDP, MAX_ICMP, MAX_OTHER = 65_536, 16_384, 2_048, 1_024
"""Flows of a kind; those of NetBird's firewall, which are known to suffice."""
MAX_FRAGMENTED = 1_024
"""Fragmented packets of which more fragments are awaited."""
FRAGMENT_TIMEOUT = 30.0
"""Seconds in which all fragments of a packet come (RFC 791: 15; Linux: 30)."""

TCP_HANDSHAKE, TCP_ESTABLISHED, TCP_CLOSING = 60.0, 7200.0, 60.0
"""Seconds that a connection may be silent, by its state (RFC 5382: two hours)."""
UDP_ONE_WAY, UDP_BOTH_WAYS = 30.0, 180.0
"""Seconds that a flow of datagrams may be silent."""
ICMP_TIMEOUT = 30.0
OTHER_TIMEOUT = 180.0


class FlowState(Enum):
    """How far a flow has come."""

    ASKED = auto()
    """Only who began it has sent."""
    ANSWERED = auto()
    """Both have."""
    CLOSING = auto()
    """Both have said that it ends."""


class Flow:
    """A flow that a rule lets pass.

    :ivar inbound: whether the other side began it.
    :ivar generation: the rules under which it was judged last.
    :ivar expires: when it is forgotten unless something is heard of it.
    :ivar ended: which directions have said that they end, of TCP.
    """

    __slots__ = ("ended", "expires", "generation", "inbound", "rule", "state")

    def __init__(self, inbound: bool, generation: int, rule: AllowRule | None) -> None:
        self.inbound = inbound
        self.generation = generation
        self.rule = rule
        self.state = FlowState.ASKED
        self.expires = 0.0
        self.ended = 0


class FlowTable:
    """The flows of one kind, those that were idle for longest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._flows: OrderedDict[bytes, Flow] = OrderedDict()
        self.evicted = 0
        """Flows that went because there were too many."""

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, key: bytes, now: float) -> Flow | None:
        """Return a flow that lives."""
        flow = self._flows.get(key)
        if flow is not None and now >= flow.expires:
            del self._flows[key]
            return None
        return flow

    def keep(self, key: bytes, flow: Flow, until: float, now: float) -> None:
        """Keep a flow, new or not, until a time."""
        flow.expires = until
        self._flows[key] = flow
        self._flows.move_to_end(key)
        if len(self._flows) > self._limit:
            _, oldest = self._flows.popitem(last=False)
            self.evicted += now < oldest.expires

    def forget(self, key: bytes) -> None:
        """Forget a flow."""
        self._flows.pop(key, None)


class Fragments:
    """The packets whose first fragment was let pass."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def let_pass(self, fragment: bytes, end: int, now: float) -> None:
        """Let the rest of a packet pass.

        :param end: bytes of the packet that its first fragment had.
        """
        self._known[fragment] = now + FRAGMENT_TIMEOUT, end
        self._known.move_to_end(fragment)
        if len(self._known) > MAX_FRAGMENTED:
            self._known.popitem(last=False)

    def passes(self, fragment: bytes, offset: int, now: float) -> bool:
        """Tell whether more of a packet passes: nothing in place of what was judged.

        :param offset: bytes of the packet before this fragment.
        """
        until, end = self._known.get(fragment, (0.0, 0))
        return now < until and offset >= end
