"""A connection that may be dead, and the one that is made beside it.

When the network has changed, the connection may be dead, and nobody would say so for
many seconds. So the coordinator is pinged, and if it does not answer at once, a second
connection is made beside the first. It takes over when the coordinator has registered
it, and the first one, which the coordinator replaces at that moment, is closed. Until
then the first goes on, and it stays if it answers after all.
"""

from dataclasses import dataclass
from itertools import count

from meshwg.control.connection import Connection
from meshwg.transmit import Random
from meshwg.wire import control

CONNECT_TIMEOUT = 15.0
"""Seconds from the wish to connect until the coordinator must have answered."""
PROBE_TIMEOUT = 5.0
"""Seconds in which a connection must show life after the network changed."""
HEAD_START = 0.2
"""Seconds that the connection has to answer a ping before another one is made beside
it. Most changes of network concern other interfaces: of containers, for instance."""
SUCCESSOR_TIMEOUT = 4.0
"""Seconds that such a connection has to become a member's. The packet that opens it may
have been lost, and is repeated less and less often."""
SUCCESSOR_RETRY = 0.5
"""Seconds from the failure of such a connection to the next one."""
REDIAL_INTERVAL = 3.0
"""Seconds between two connections that are given up because the network has changed
again while they were made; so one that takes long is made all the same."""
SUCCESSION_TIME = 30.0
"""Seconds after a connection took over in which to be replaced means that an older one
of this node came late, and not that another machine has its key."""


@dataclass(slots=True)
class Doubt:
    """What is asked of a connection that may be dead."""

    ping: int
    """The number of the ping that it has to answer."""
    since: float
    succeed_at: float
    """When to make a connection beside it."""


class Succession:
    """The connections of a node: a member's, and one that is to follow it."""

    def __init__(self, random: Random) -> None:
        self.member: Connection | None = None
        """The connection that the coordinator has registered."""
        self.attempt: Connection | None = None
        """One that is being made: without a member the first, or else a successor."""
        self.registered_at = float("-inf")
        """When the member's was registered."""
        self._random = random
        self._numbers = count(1)
        self._redialled_at = self._own_doing_until = float("-inf")
        self._doubt: Doubt | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the connections that should be open, or being opened."""
        return tuple(each.number for each in self._all())

    def find(self, number: int) -> Connection | None:
        """Return one of these connections, if it still is one."""
        return next((each for each in self._all() if each.number == number), None)

    def begin(self, now: float) -> None:
        """Make a connection, in place of one that is being made."""
        patience = CONNECT_TIMEOUT if self.member is None else SUCCESSOR_TIMEOUT
        self.attempt = Connection(next(self._numbers), now, now + patience)

    def succeed(self, now: float) -> None:
        """Make a connection beside the member's, if there is none under way."""
        if self.member is not None and self.attempt is None:
            self.begin(now)

    def redial(self, now: float) -> None:
        """Begin anew with what may have been dialled from an address that is gone."""
        is_dialling = self.attempt is not None and not self.attempt.is_secure
        if is_dialling and now >= self._redialled_at + REDIAL_INTERVAL:
            self._redialled_at = now
            self.begin(now)

    def doubt(self, now: float) -> None:
        """Ask whether the member's connection is alive, and perhaps have another."""
        if self.member is not None and self._doubt is None:
            number = int.from_bytes(self._random(6))
            self.member.send(control.Ping(id=number), now)
            self._doubt = Doubt(number, now, succeed_at=now + HEAD_START)

    def answered(self, ping: int) -> float | None:
        """Trust the connection again if it answers the ping of the doubt.

        :returns: since when it was doubted; ``None`` if nothing was asked by this ping.
        """
        doubt = self._doubt
        if doubt is None or ping != doubt.ping:
            return None
        self._doubt = self.attempt = None
        return doubt.since

    def register(self, connection: Connection, now: float) -> bool:
        """Take note that the coordinator has registered a connection.

        :returns: whether it is another than before.
        """
        if connection is not self.attempt:
            return False
        if self.member is not None:
            self._own_doing_until = now + SUCCESSION_TIME
        self.member, self.attempt, self._doubt = connection, None, None
        self.registered_at = now
        return True

    def is_own_doing(self, now: float) -> bool:
        """Tell whether one of its own, made before, may have replaced a connection."""
        return self.attempt is not None or now < self._own_doing_until

    def lose(self, connection: Connection, now: float) -> bool:
        """Drop a connection; return whether there is none that is registered now."""
        if connection is not self.member:
            self.attempt = None
            if self.member is not None:
                if self._doubt is not None:
                    self._doubt.succeed_at = now + SUCCESSOR_RETRY
                return False
        self.member = self._doubt = None
        return True

    def end(self) -> None:
        """Drop all connections."""
        self.member = self.attempt = self._doubt = None

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Return the WebSocket messages to send, in order, with their connections."""
        return [(each.number, f) for each in self._all() for f in each.frames_to_send()]

    # Time.

    @property
    def succeed_at(self) -> float | None:
        """When doubt wants another connection beside the member's."""
        return None if self._doubt is None else self._doubt.succeed_at

    def dead_at(self, member: Connection, silence: float) -> float:
        """Return when the member's connection is taken for dead.

        :param silence: seconds without a word after which that is so anyway.
        """
        at = member.heard_at + silence
        return at if self._doubt is None else min(at, self._doubt.since + PROBE_TIMEOUT)

    def _all(self) -> list[Connection]:
        return [each for each in (self.member, self.attempt) if each is not None]
