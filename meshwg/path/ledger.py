"""How much may be sent to addresses that are not known to be the peer's.

A peer can offer anybody's address. Until one is confirmed it gets a few small packets
a minute, all such addresses together get a bounded number, and nothing that needs
hundreds of packets (:mod:`meshwg.path.puncher`) is aimed at it. An address is confirmed
by an answered check, or by someone trusted who saw the peer there: the coordinator
knows where a node's control connection comes from.
"""

from collections import Counter
from collections.abc import Iterable

WINDOW = 60.0
"""Seconds over which packets are counted."""

HOST_LIMIT = 32
"""Packets to one unconfirmed host in a window: a burst to each of four ports."""

TOTAL_LIMIT = 256
"""Packets to all unconfirmed hosts in a window."""

HOSTS_SHARE = 192
"""The same to host candidates: a peer may have many, most of which lead nowhere from
here, and there must be something left for the address that its NAT has."""

LEARN_LIMIT = 32
"""Addresses learnt from authentic packets in a window. Two NATs that give every
destination another port, and filter nothing, show each other new ones forever."""

CONFIRMED_LIMIT = 32
"""Confirmed hosts that are remembered; the oldest is forgotten first."""


class Ledger:
    """Counts what one peer makes this node send."""

    def __init__(self) -> None:
        self._confirmed: dict[str, None] = {}
        self._learnt = 0
        self._sent: Counter[str] = Counter()
        self._window_ends = 0.0

    def confirm(self, hosts: Iterable[str]) -> None:
        """Note that the peer was seen at these hosts."""
        for host in hosts:
            self._confirmed.pop(host, None)
            self._confirmed[host] = None
        while len(self._confirmed) > CONFIRMED_LIMIT:
            del self._confirmed[next(iter(self._confirmed))]

    def is_confirmed(self, host: str) -> bool:
        """Tell whether the peer was seen at a host."""
        return host in self._confirmed

    def charge(self, host: str, now: float, *, is_own: bool = False) -> bool:
        """Tell whether one more packet may go to a host, and count it.

        :param is_own: whether the peer says that one of its interfaces has it.
        """
        if host in self._confirmed:
            return True
        self._turn(now)
        limit = HOSTS_SHARE if is_own else TOTAL_LIMIT
        if self._sent[host] >= HOST_LIMIT or self._sent.total() >= limit:
            return False
        self._sent[host] += 1
        return True

    def may_learn(self, now: float) -> bool:
        """Tell whether one more new address may be checked, and count it."""
        self._turn(now)
        self._learnt += 1
        return self._learnt <= LEARN_LIMIT

    def _turn(self, now: float) -> None:
        if now >= self._window_ends:
            self._sent.clear()
            self._learnt = 0
            self._window_ends = now + WINDOW
