"""Whether the home relay is alive, and whether another would be a better home."""

from collections import Counter

from meshwg.relay.client import RelayClient
from meshwg.relay.prober import Prober
from meshwg.relay.server import RelayServer
from meshwg.relay.ways import Way, endpoint_of

ASK_AFTER = 1.5
"""Seconds of silence after which a home in use is asked whether it is alive."""
ASK_IDLE_AFTER = 10.0
"""The same for a home that is not in use."""
IN_USE = 5.0
"""Seconds after the last packet for which a home is in use."""
ASK_AGAIN_AFTER = 0.5
"""Seconds after which an unanswered request is followed by a question of our own."""
GIVE_UP_AFTER = 2.0
"""Seconds without an answer after which a home is dead."""

CLEAR_GAIN, CLEAR_PART = 0.010, 0.2
"""Seconds, and the part of the round trip, by which another server has to be nearer."""
STEADY_ROUNDS = 3
"""How many measurements in a row have to say so."""
ROUND_GAP = 10.0
"""Seconds between two measurements that count: a change of networks causes several at
once, and what disturbs one of them disturbs all."""


class Watch:
    """Asks a home that says nothing whether it is alive."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When to call :meth:`look`."""
        self._used_at = 0.0

    def note_use(self, home: RelayClient | None, now: float) -> None:
        """Look after home more often from now on: packets travel."""
        self._used_at = now
        if self.due is not None and self.due > now + ASK_AFTER:
            self.plan(home, now)

    def look(self, home: RelayClient | None, now: float) -> None:
        """Ask home whether it is alive, or give it up."""
        if home is not None and now >= self._deadline(home, now):
            if home.is_probing:
                self.due = None
                home.give_up(now)
                return
            home.probe(now)
        self.plan(home, now)

    def plan(self, home: RelayClient | None, now: float) -> None:
        """Set the time at which home has been silent for too long."""
        self.due = None if home is None else max(self._deadline(home, now), now)

    def _deadline(self, home: RelayClient, now: float) -> float:
        """Return when to ask home, or to give it up if it was asked already."""
        since = home.silent_since()
        if since is None:
            in_use = now - self._used_at < IN_USE
            return home.heard_at + (ASK_AFTER if in_use else ASK_IDLE_AFTER)
        return since + (GIVE_UP_AFTER if home.is_probing else ASK_AGAIN_AFTER)


class Rivalry:
    """Compares other servers with home, and takes its time."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._rounds: Counter[Way] = Counter()
        """How many times in a row a server was clearly nearer than home."""
        self._counted_at: dict[Way, float] = {}

    def begin(self) -> None:
        """Forget what was measured: there is another home."""
        self._rounds.clear()
        self._counted_at.clear()

    def is_better(self, server: RelayServer, home: RelayClient, now: float) -> bool:
        """Take a new measurement into account; tell whether home should be there.

        UDP beats any stream, at once.
        """
        if home.is_stream:
            return True
        if not self._is_clearly_nearer(server, home):
            self._rounds.pop(server.way, None)
            return False
        if now < self._counted_at.get(server.way, float("-inf")) + ROUND_GAP:
            return False
        self._counted_at[server.way] = now
        self._rounds[server.way] += 1
        return self._rounds[server.way] >= STEADY_ROUNDS

    def _is_clearly_nearer(self, server: RelayServer, home: RelayClient) -> bool:
        here = self._prober.round_trip(home.destination)
        there = self._prober.round_trip(endpoint_of(server))
        if here is None or there is None:
            return False
        return here - there > max(CLEAR_GAIN, CLEAR_PART * here)
