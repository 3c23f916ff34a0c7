"""How many connections may be in the middle of an exchange, how long, and how large.

An *exchange* is a request and its answer, or what is to become a control connection or
a TURN stream.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from coordinator.control.limits import FairSlots
from meshwg.runtime.alarm import Alarm

EXCHANGE_TIMEOUT = 15.0
"""Seconds for one exchange: a request and its answer."""
CLOSE_TIMEOUT = 3.0
"""Seconds in which what has been carried may say good-bye."""
EXCHANGE_LIMIT = 48 * 1024
"""Bytes of one request; its head has at most 128 lines, its body 16 KiB."""
UPLOAD_TIMEOUT = 120.0
"""Seconds for one of those that may be larger, over a slow line."""

EXCHANGES_PER_ADDRESS = 128
"""Connections of one address (IPv6: /64) in the middle of an exchange."""
EXCHANGES_PER_NETWORK = 512
"""The same for one IPv6 /48."""
MAX_EXCHANGES = 2048
"""The same for all together."""


class Admission:
    """Counts the connections in the middle of an exchange, and bounds them."""

    def __init__(self) -> None:
        self._slots: FairSlots[Visit] = FairSlots(
            MAX_EXCHANGES,
            per_site=EXCHANGES_PER_ADDRESS,
            per_network=EXCHANGES_PER_NETWORK,
        )
        self.cut: Counter[str] = Counter()
        """Connections that were cut, by reason."""

    def __len__(self) -> int:
        """How many connections are counted right now."""
        return len(self._slots)

    @property
    def refused(self) -> int:
        """Connections that were cut because there were too many."""
        return self.cut["refused"]

    @property
    def late(self) -> int:
        """Those that were cut because they took too long."""
        return self.cut["late"]

    def admit(self, visit: "Visit", host: str) -> bool:
        """Count a connection; return whether it is allowed."""
        if not self._slots.enter(visit, host):
            self.cut["refused"] += 1
            return False
        for other in self._slots.evicted():
            other.cut("displaced")
        return True

    def heard(self, visit: "Visit") -> None:
        """A counted connection has said something."""
        self._slots.heard(visit)

    def release(self, visit: "Visit") -> None:
        """A connection is gone, or somebody else counts it from now on."""
        self._slots.leave(visit)


class Visit:
    """One connection, from when it is accepted until it is gone."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._transport: asyncio.Transport | None = None
        self._host = ""
        self._size = 0
        self._limit = EXCHANGE_LIMIT
        self._is_counted = False
        self._alarm = Alarm(self._on_late)

    def begin(self, transport: asyncio.Transport) -> bool:
        """Count a connection that was accepted, or cut it; return whether it stays.

        With TLS this is said twice: of the connection, and of TLS on it.
        """
        if self._transport is not None:
            self._transport = transport
            return True
        self._host = (transport.get_extra_info("peername") or ("",))[0]
        if not self._admission.admit(self, self._host):
            transport.abort()
            return False
        self._transport, self._is_counted = transport, True
        self._alarm.set(EXCHANGE_TIMEOUT, 0.0)
        return True

    def heard(self, size: int) -> bool:
        """So many bytes have come; return whether to read on."""
        if self._is_counted:
            self._size += size
            if self._size > self._limit:
                self.cut("too-large")
                return False
            self._admission.heard(self)
        return self._transport is not None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing more come while it is found out who sends it."""
        transport = self._transport
        if transport is not None:
            transport.pause_reading()
        try:
            yield
        finally:
            if self._transport is not None:
                self._transport.resume_reading()

    def expect(self, size: int) -> None:
        """Let so many bytes more come: who sends them has shown who he is."""
        if self._is_counted:
            self._limit = EXCHANGE_LIMIT + size
            self._alarm.clear()
            self._alarm.set(UPLOAD_TIMEOUT, 0.0)

    def leave(self) -> None:
        """Somebody else counts the connection from now on."""
        self._alarm.clear()
        self._admission.release(self)
        self._is_counted = False

    def close(self) -> None:
        """Somebody else has done with it: it is to end soon, read or not."""
        if self._transport is None or self._is_counted:
            return
        if self._admission.admit(self, self._host):
            self._is_counted, self._size = True, 0
            self._alarm.set(CLOSE_TIMEOUT, 0.0)
        else:
            self.cut("late")

    def cut(self, reason: str) -> None:
        """End it at once."""
        self._admission.cut[reason] += 1
        transport = self._transport
        self.end()
        if transport is not None:
            transport.abort()

    def end(self) -> None:
        """The connection is gone."""
        self.leave()
        self._transport = None

    def _on_late(self) -> None:
        self.cut("late")
