"""Which of several routers of a network packets to it go through.

All routers of a network are held, in the order of what is known of them: first those
that work, of these first the ones with the lower priority number, of these the nearest.
A router that does not answer, that says that its network is dead or that it stops, is
left at once; it is returned to when it has worked for a while, and only if it is
preferred or clearly nearer. So two that are alike do not take turns.

Routers in reserve are kept warm while the one in use carries: they have a session and a
path when they are needed, and what is known of them is fresh. Nobody in the middle has
a part in this, so it works while the coordinator is away.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

from meshwg.node.liveness import Liveness, Probing
from meshwg.path.routereport import RouteReport
from meshwg.path.score import MARGIN, MARGIN_RATIO

RETURN_AFTER = 5.0
"""Seconds for which a router must have worked before it takes over from one that
works."""
IN_USE = 15.0
"""Seconds after the last packet to a router for which its networks count as in use."""
WARM_INTERVAL = 5.0
"""Seconds between messages to routers in reserve, while their networks are in use."""
RETRY_INTERVAL = 2.0
"""The same to those that do not answer."""
OWN_MESSAGE = 1.0
"""Seconds after such a message for which what goes there does not count as use."""
MAX_WARM = 3
"""Routers in reserve of one network that are kept warm."""
AWAY_AFTER = 12.0
"""Seconds without a word of a router after which it is believed that the coordinator
has lost it, too."""
REORDERED = 10.0
"""Seconds after a report for which an older one is one that was overtaken; later, the
router's clock was set back."""


class RouterHealth(IntEnum):
    """What is known of a router of a network, the better the lower."""

    GOOD = 0
    AWAY = 1
    """The coordinator has lost it, and nothing was heard of it lately."""
    SILENT = 2
    """It does not answer."""
    DEAD = 3
    """It says that it does not reach the network, or stops."""


class MoveReason(Enum):
    """Why packets go to another router; a sentence that begins with a name."""

    FIRST = "{after} is the first one"
    GONE = "{before} does not offer it any more"
    AWAY = "{before} is offline"
    SILENT = "{before} does not answer"
    DEAD = "{before} does not reach it"
    LEAVES = "{before} stops"
    PREFERRED = "{after} is preferred"
    NEARER = "{after} is nearer"


class Contender(NamedTuple):
    """A router of a network."""

    key: str
    priority: int


class Move(NamedTuple):
    """Packets to a network go to another router from now on, or to none."""

    network: str
    before: str | None
    after: str | None
    reason: MoveReason


class RouterStanding(NamedTuple):
    """How a router of a network stands."""

    key: str
    priority: int
    health: RouterHealth
    is_chosen: bool
    leaves: bool
    round_trip: float | None
    """Seconds."""

    @property
    def state(self) -> str:
        """It in a word."""
        if self.leaves:
            return "leaving"
        if self.health is not RouterHealth.GOOD:
            return self.health.name.lower()
        return "used" if self.is_chosen else "reserve"

    @property
    def sentence(self) -> str:
        """What is said of a router that is not as it should be, after its name."""
        return _SENTENCES.get(self.state, "")


_SENTENCES = {
    "leaving": "stops",
    "away": "is offline",
    "silent": "does not answer",
    "dead": "does not reach it",
}


@dataclass(slots=True)
class _Router:
    """What is known of one router, whatever its networks are."""

    liveness: Liveness
    is_online: bool = True
    report: RouteReport | None = None
    reported_at: float = float("-inf")
    sent_at: float = float("-inf")
    warmed_at: float = float("-inf")
    is_awaited: bool = False
    """Whether it takes over as soon as it is heard."""
    well_since: dict[str, float] = field(default_factory=dict)
    """Since when it works, by network; not there while it does not."""

    def follow(self, *, is_online: bool) -> None:
        """Know whether the coordinator has a connection to it."""
        if is_online and not self.is_online:
            # It may be another run of it, of which nothing bad is known.
            self.report = None
            self.liveness.is_silent = False
        self.is_online = is_online


class Routers:
    """The routers of all networks behind peers.

    :param round_trip: returns the seconds to a router, ``None`` if that is not known.
    """

    def __init__(self, round_trip: Callable[[str], float | None]) -> None:
        self._round_trip = round_trip
        self._contenders: dict[str, tuple[Contender, ...]] = {}
        self._routers: dict[str, _Router] = {}
        self._holders: dict[str, str] = {}
        self._moves: list[Move] = []
        self._checks: list[str] = []
        self._warm: list[str] = []
        self._due: float | None = None

    def __contains__(self, key: object) -> bool:
        return key in self._routers

    # What is asked.

    def holder(self, network: str) -> str | None:
        """Return the key of the router that packets to a network go to."""
        return self._holders.get(network)

    def standings(self, network: str, now: float) -> tuple[RouterStanding, ...]:
        """Return how all routers of a network stand, the one in use first."""
        found = []
        for key, priority in self._contenders.get(network, ()):
            router, chosen = self._routers[key], self._holders.get(network) == key
            health, leaves = self._health(key, network, now), _leaves(router)
            trip = self._round_trip(key)
            found.append(RouterStanding(key, priority, health, chosen, leaves, trip))
        return tuple(
            sorted(found, key=lambda s: (not s.is_chosen, s.health, s.priority))
        )

    @property
    def has_moved(self) -> bool:
        """Whether :meth:`take_moves` has something to return."""
        return bool(self._moves)

    def take_moves(self) -> list[Move]:
        """Return what moved since the last call."""
        moves, self._moves = self._moves, []
        return moves

    def take_wishes(self) -> tuple[list[str], list[str]]:
        """Return the routers to be checked now, and those to send a message to."""
        wishes, self._checks, self._warm = (self._checks, self._warm), [], []
        return wishes

    # What is learnt.

    def set_routes(
        self,
        routes: Mapping[str, Sequence[Contender]],
        online: Collection[str],
        now: float,
    ) -> None:
        """Know the routers of each network, in their order where all else is equal.

        :param online: those that the coordinator has a connection to.
        """
        known = self._contenders
        self._contenders = {network: tuple(each) for network, each in routes.items()}
        keys = dict.fromkeys(c.key for each in routes.values() for c in each)
        self._routers = {key: self._routers.get(key) or self._new(key) for key in keys}
        for key, router in self._routers.items():
            router.follow(is_online=key in online)
        for network in [each for each in self._holders if each not in routes]:
            self._move(network, None, MoveReason.GONE)
        for network in routes:
            if network not in known:
                self._welcome(network)
            self._decide(network, now)
        self._plan(now)

    def _welcome(self, network: str) -> None:
        """Have the best router of a new network at once: there is none to be left."""
        for key, _ in self._contenders[network]:
            self._routers[key].well_since[network] = float("-inf")

    def sent(self, key: str, now: float) -> None:
        """Note that something goes to a router, or waits for a way to it."""
        router = self._routers.get(key)
        if router is not None and self._has_rival(key):
            if now >= router.warmed_at + OWN_MESSAGE:
                router.sent_at = now
            router.liveness.sent(now)
            self._plan(now)

    def heard(self, key: str, now: float, *, is_data: bool) -> None:
        """Note that something authentic came from a router."""
        router = self._routers.get(key)
        if router is not None:
            was_silent = router.liveness.heard(now, is_data=is_data)
            if was_silent or router.is_awaited:
                router.is_awaited = False
                self._decide_all(now)

    def reported(self, key: str, report: RouteReport, now: float) -> None:
        """Take what a router says of its networks."""
        router = self._routers.get(key)
        if router is None:
            return
        known = router.report
        is_late = known is not None and report.is_older(known)
        if is_late and now < router.reported_at + REORDERED:
            return
        router.report, router.reported_at = report, now
        if report != known:
            self._decide_all(now)

    # Time.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted, perhaps too early."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Look after routers that do not answer, and those in reserve."""
        for key, router in self._routers.items():
            if router.liveness.next_step(now) is Probing.CHECK:
                self._checks.append(key)
        self._decide_all(now)
        for key in dict.fromkeys(self._in_reserve(now)):
            router = self._routers[key]
            if now >= router.warmed_at + self._warm_interval(router):
                router.warmed_at = now
                self._warm.append(key)
        self._plan(now)

    def _plan(self, now: float) -> None:
        times = []
        for key in dict.fromkeys(self._in_reserve(now)):
            router = self._routers[key]
            times.append(router.warmed_at + self._warm_interval(router))
        for router in self._routers.values():
            if (due := router.liveness.get_timer()) is not None:
                times.append(due)
            away_at = router.liveness.heard_at + AWAY_AFTER
            if not router.is_online and away_at > now:
                times.append(away_at)
            times += [
                since + RETURN_AFTER
                for since in router.well_since.values()
                if since + RETURN_AFTER > now
            ]
        if self._checks:
            times.append(now)
        self._due = max(now, min(times)) if times else None

    # How it is decided.

    def _new(self, key: str) -> _Router:
        return _Router(Liveness(lambda: self._round_trip(key)))

    def _has_rival(self, key: str) -> bool:
        return any(
            len(contenders) > 1 and any(each.key == key for each in contenders)
            for contenders in self._contenders.values()
        )

    def _in_reserve(self, now: float) -> Iterator[str]:
        """Yield the routers that are to be kept warm."""
        for network, contenders in self._contenders.items():
            holder = self._holders.get(network)
            if len(contenders) < 2 or holder is None:
                continue
            if now < self._routers[holder].sent_at + IN_USE:
                others = [each.key for each in contenders if each.key != holder]
                yield from others[:MAX_WARM]

    @staticmethod
    def _warm_interval(router: _Router) -> float:
        is_well = not router.liveness.is_silent and router.is_online
        return WARM_INTERVAL if is_well else RETRY_INTERVAL

    def _health(self, key: str, network: str, now: float) -> RouterHealth:
        router = self._routers[key]
        if router.report is not None and not router.report.reaches(network):
            return RouterHealth.DEAD
        if router.liveness.is_silent:
            return RouterHealth.SILENT
        if not router.is_online and now >= router.liveness.heard_at + AWAY_AFTER:
            return RouterHealth.AWAY
        return RouterHealth.GOOD

    def _decide_all(self, now: float) -> None:
        for network in self._contenders:
            self._decide(network, now)
        self._plan(now)

    def _decide(self, network: str, now: float) -> None:
        """Choose the router of a network."""
        contenders = self._contenders[network]
        healths = {
            each.key: self._health(each.key, network, now) for each in contenders
        }
        for key, health in healths.items():
            well_since = self._routers[key].well_since
            if health is not RouterHealth.GOOD:
                well_since.pop(network, None)
            else:
                well_since.setdefault(network, now)
        current = next(
            (each for each in contenders if each.key == self._holders.get(network)),
            None,
        )
        better = [
            each
            for each in contenders
            if current is None
            or (
                each is not current
                and self._beats(each, current, network, healths, now)
            )
        ]
        if better:
            best = min(better, key=lambda each: self._order(each, healths))
            reason = self._reason(current, best, network, healths)
            self._move(network, best.key, reason)

    def _order(
        self, contender: Contender, healths: Mapping[str, RouterHealth]
    ) -> tuple[int, int, float]:
        trip = self._round_trip(contender.key)
        distance = float("inf") if trip is None else trip
        return healths[contender.key], contender.priority, distance

    def _beats(
        self,
        challenger: Contender,
        current: Contender,
        network: str,
        healths: Mapping[str, RouterHealth],
        now: float,
    ) -> bool:
        """Tell whether packets should go to a challenger, and not where they do."""
        here, there = healths[current.key], healths[challenger.key]
        if here is not there:
            return there < here
        router = self._routers[challenger.key]
        since = router.well_since.get(network)
        if since is None or now < since + RETURN_AFTER:
            return False
        if challenger.priority > current.priority:
            return False
        is_preferred = challenger.priority < current.priority
        if not is_preferred and not self._is_nearer(challenger.key, current.key):
            return False
        if router.liveness.heard_at >= since + RETURN_AFTER:
            return True
        # It may have gone again meanwhile.
        if not router.is_awaited:
            router.is_awaited = True
            self._checks.append(challenger.key)
        return False

    def _is_nearer(self, challenger: str, current: str) -> bool:
        there, here = self._round_trip(challenger), self._round_trip(current)
        if there is None or here is None:
            return False
        return there + max(MARGIN, MARGIN_RATIO * here) < here

    def _reason(
        self,
        before: Contender | None,
        after: Contender,
        network: str,
        healths: Mapping[str, RouterHealth],
    ) -> MoveReason:
        if before is None:
            is_first = self._holders.get(network) is None
            return MoveReason.FIRST if is_first else MoveReason.GONE
        match healths[before.key]:
            case RouterHealth.DEAD:
                leaves = _leaves(self._routers[before.key])
                return MoveReason.LEAVES if leaves else MoveReason.DEAD
            case RouterHealth.SILENT:
                return MoveReason.SILENT
            case RouterHealth.AWAY:
                return MoveReason.AWAY
        is_preferred = after.priority < before.priority
        return MoveReason.PREFERRED if is_preferred else MoveReason.NEARER

    def _move(self, network: str, after: str | None, reason: MoveReason) -> None:
        before = self._holders.pop(network, None)
        if after is not None:
            self._holders[network] = after
        self._moves.append(Move(network, before, after, reason))


def _leaves(router: _Router) -> bool:
    return router.report is not None and router.report.leaves
