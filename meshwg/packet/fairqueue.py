"""Packets that wait for their turn: each flow in a line of its own.

Where more packets come than can be carried, a queue grows, and what comes to its end
waits for all that is in front. So flows take turns (as in fq_codel, RFC 8290): one that
had nothing waiting goes first, with one turn; the others follow in a circle. A ping, a
name lookup or an acknowledgement beside a large transfer waits for one batch then, and
not for all of the transfer's packets. Packets of one flow keep their order.
Where packets wait for too long, the longest line loses its first one.
"""

from collections import deque
from collections.abc import Sequence
from operator import itemgetter

from meshwg.packet.lateness import Lateness

TURN = 45
"""Packets of a flow in a row: as many as one system call sends."""
_IPV6 = b"\x60"
_ENDS = itemgetter(slice(12, 24))
"""Addresses and ports of IPv4, if these are in the usual place."""


class FairQueue:
    """A queue of IP packets, with a line for each flow."""

    def __init__(self) -> None:
        self.dropped = 0
        """Packets that were dropped because the queue did not get shorter."""
        self._lines: dict[bytes, list[bytes]] = {}
        self._new: deque[bytes] = deque()
        self._old: deque[bytes] = deque()
        # How many packets came and went, and how many had come by when.
        self._added = self._taken = 0
        self._arrivals: deque[tuple[int, float]] = deque()
        self._lateness = Lateness()

    def __len__(self) -> int:
        """Return how many packets wait."""
        return self._added - self._taken

    def add(self, packets: Sequence[bytes], now: float) -> None:
        """Let packets wait."""
        if not packets:
            return
        ends = list(map(_ENDS, packets))
        if packets[0] < _IPV6 and ends.count(ends[0]) == len(ends):
            self._line(ends[0]).extend(packets)
        else:
            self._add_each(packets, ends)
        self._added += len(packets)
        self._arrivals.append((self._added, now))

    def _add_each(self, packets: Sequence[bytes], ends: Sequence[bytes]) -> None:
        """Let packets of several flows, or of IPv6, wait."""
        last: bytes | None = None
        for packet, flow in zip(packets, ends, strict=True):
            if packet >= _IPV6:
                flow = packet[8:44]
            if flow != last:
                last, line = flow, self._line(flow)
            line.append(packet)

    def _line(self, flow: bytes) -> list[bytes]:
        """Return the line of a flow, a new one if it had none."""
        line = self._lines.get(flow)
        if line is None:
            line = self._lines[flow] = []
            self._new.append(flow)
        return line

    def take(self, count: int, now: float) -> list[bytes]:
        """Return the packets whose turn it is, and forget them.

        :param count: how many at least, if so many wait; the last turn is a whole one.
        """
        taken: list[bytes] = []
        while len(taken) < count and self._lines:
            is_new = bool(self._new)
            flow = (self._new if is_new else self._old).popleft()
            line = self._lines[flow]
            taken += line[:TURN]
            del line[:TURN]
            # An empty line stays for one round, so that whoever comes back at once
            # does not always go first.
            if line or is_new:
                self._old.append(flow)
            else:
                del self._lines[flow]
        self._taken += len(taken)
        self._drop_if_late(now)
        return taken

    def _drop_if_late(self, now: float) -> None:
        """Drop a packet if the queue has been long for too long."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] <= self._taken:
            arrivals.popleft()
        waited = now - arrivals[0][1] if arrivals else 0.0
        if self._lateness.is_too_much(waited, now):
            del max(self._lines.values(), key=len)[0]
            self._taken += 1
            self.dropped += 1
