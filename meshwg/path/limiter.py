"""Keeps the expensive methods rare: one attempt at a time per node, and few per peer.

A birthday attempt costs up to 256 mappings in one router (512 if the other one has two
addresses) and 1,024 connection entries in the other, twice as many if the first volley
misses; and home routers hold a few thousand. So attempts are spaced out by more than
the half minute that Linux keeps an unanswered entry, and end after a few volleys.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from meshwg.path.punch import PunchMethod


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often a method may be used with one peer."""

    spacing: float
    """Seconds from one attempt to the next."""
    attempts: int
    """Attempts in one :data:`PERIOD`; a second volley counts as another one."""


PERIOD = 600.0
"""Seconds after which an attempt no longer counts."""

ALLOWANCES = {
    PunchMethod.FRESH: Allowance(spacing=5.0, attempts=4),
    PunchMethod.PREDICTION: Allowance(spacing=2.0, attempts=4),
    PunchMethod.BIRTHDAY: Allowance(spacing=35.0, attempts=3),
}

HOST_VOLLEYS = ALLOWANCES[PunchMethod.BIRTHDAY].attempts
"""Birthday volleys to one address in one :data:`PERIOD`, however many peers say that
they are there: keys cost nothing. Those that met a peer do not count, so that many
nodes of one office are reached."""

NODE_VOLLEYS = 4 * HOST_VOLLEYS
"""Those of one node in one :data:`PERIOD`, to all addresses."""

ROOM_MEMORY = 86400.0
"""Seconds for which it is remembered how many flows a network has room for."""

ROOMS = 16
"""Networks of which that is remembered."""

LEASE = 30.0
"""Seconds after which an attempt that was never ended no longer blocks others."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many flows a network lets a node open at once."""

    flows: int
    is_limit: bool
    """Whether a node should use no more; otherwise there is room for more."""


class PunchLimiter:
    """Shared by the path agents of one node.

    :param birthday: whether the birthday method may be used at all.
    """

    def __init__(self, birthday: bool = True) -> None:
        self.birthday = birthday
        self._holder: Hashable | None = None
        self._held_until = 0.0
        self._attempts: dict[tuple[Hashable, PunchMethod], list[float]] = {}
        self._volleys: dict[str, list[float]] = {}
        """When there were birthday volleys, by address, and of the whole node."""
        self._rooms: dict[str, tuple[Room, float]] = {}

    def room(self, network: str, now: float) -> Room | None:
        """Return for how many flows a network has room, as far as it was found out."""
        room, until = self._rooms.get(network, (None, now))
        return room if now < until else None

    def note_room(self, network: str, room: Room, now: float) -> None:
        """Remember for how many flows there was room."""
        self._rooms.pop(network, None)
        self._rooms[network] = room, now + ROOM_MEMORY
        while len(self._rooms) > ROOMS:
            del self._rooms[next(iter(self._rooms))]

    def acquire(
        self,
        peer: Hashable,
        method: PunchMethod,
        now: float,
        hosts: Sequence[str] = (),
    ) -> str | None:
        """Reserve the node for an attempt; return why it cannot be, else ``None``.

        :param hosts: the addresses at which a birthday attempt would aim many packets.
        """
        if method is PunchMethod.BIRTHDAY and not self.birthday:
            return OFF
        if self.allowed_at(peer, method, now) > now:
            return TOO_OFTEN
        if self.volleys_left(hosts, now) == 0:
            return TOO_MANY
        if self._holder not in (None, peer) and now < self._held_until:
            return BUSY
        self._holder, self._held_until = peer, now + LEASE
        return None

    def record(self, peer: Hashable, method: PunchMethod, now: float) -> None:
        """Count an attempt: packets are being sent."""
        self._forget_old(now)
        self._attempts.setdefault((peer, method), []).append(now)

    def record_volley(self, hosts: Sequence[str], now: float) -> None:
        """Count one birthday volley to these addresses together."""
        for host in (*hosts, _NODE):
            times = [
                when for when in self._volleys.pop(host, ()) if when + PERIOD > now
            ]
            self._volleys[host] = [*times, now]
        while next(iter(self._volleys.values()))[-1] + PERIOD <= now:
            del self._volleys[next(iter(self._volleys))]

    def forgive_volleys(self, host: str, count: int) -> None:
        """Do not count the last volleys to an address."""
        for counted in (host, _NODE):
            times = self._volleys.pop(counted, [])
            if len(times) > count:
                self._volleys[counted] = times[: len(times) - count]

    def volleys_left(self, hosts: Sequence[str], now: float) -> int:
        """Return how many volleys may still go to some addresses."""
        if not hosts:
            return HOST_VOLLEYS
        limits = dict.fromkeys(hosts, HOST_VOLLEYS) | {_NODE: NODE_VOLLEYS}
        return min(
            max(0, limit - sum(at + PERIOD > now for at in self._volleys.get(host, ())))
            for host, limit in limits.items()
        )

    def release(self, peer: Hashable) -> None:
        """End the reservation of this peer, if it has one."""
        if self._holder == peer:
            self._holder = None

    def allowed_at(self, peer: Hashable, method: PunchMethod, now: float) -> float:
        """Return from when on the next attempt is allowed."""
        allowance = ALLOWANCES[method]
        times = self._counted(peer, method, now)
        if not times:
            return now
        spaced = times[-1] + allowance.spacing
        if len(times) < allowance.attempts:
            return spaced
        return max(spaced, times[-allowance.attempts] + PERIOD)

    def left(self, peer: Hashable, method: PunchMethod, now: float) -> int:
        """Return how many attempts are left, whenever they may be made."""
        used = len(self._counted(peer, method, now))
        return max(0, ALLOWANCES[method].attempts - used)

    def _counted(self, peer: Hashable, method: PunchMethod, now: float) -> list[float]:
        times = self._attempts.get((peer, method), ())
        return [when for when in times if when + PERIOD > now]

    def _forget_old(self, now: float) -> None:
        for key, times in list(self._attempts.items()):
            if times[-1] + PERIOD <= now:
                del self._attempts[key]


_NODE = ""
OFF = "the birthday method is switched off"
TOO_OFTEN = "it has been tried often enough for now"
TOO_MANY = "enough packets were sent to that address, or by this node, for now"
NO_ROOM = "the network lets a node open too few ports at once"
BUSY = "another peer is being punched to"
