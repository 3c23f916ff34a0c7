"""Where this node can be reached, as far as it knows, and how it finds that out.

Host addresses come from the system, a mapped port from the router, a relayed address
from the relay; what the world sees instead of them is found by NAT discovery, again
every five minutes and whenever the network changes. All of it together are the node's
candidates, which it reports to the mesh and offers to peers.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.discovery import (
    FRESH_SOCKETS,
    NO_ROUTE,
    NatDiscovery,
    ServerReport,
)
from meshwg.nattypes import Mapping
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.traits import NatTraits, followable
from meshwg.transmit import UDP, Endpoint, Random, Transmit
from meshwg.wire.stun import Buffer

INTERVAL = 300.0
"""Seconds between two discoveries while nothing changes."""
RETRY_INTERVAL = 30.0
"""The same while no server answers."""
MIN_INTERVAL = 5.0
"""Seconds between two discoveries that somebody asks for."""

FAMILIES = (4, 6)

STEADY = (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT, Mapping.UNKNOWN)
"""Mappings by which every server sees the same public address."""


@dataclass(frozen=True, slots=True)
class CandidatesChanged:
    """The node is reachable elsewhere, or knows more about its NAT."""


@dataclass(frozen=True, slots=True)
class PublicAddressChanged:
    """The NAT got another address, or the node another NAT: flows are broken."""


@dataclass(frozen=True, slots=True)
class FreshSocketsWanted:
    """Open sockets that never sent anything, for one discovery."""

    family: int
    """4 or 6."""
    count: int


@dataclass(frozen=True, slots=True)
class SocketsUnused:
    """Close these auxiliary sockets."""

    links: tuple[int, ...]


Event = CandidatesChanged | PublicAddressChanged | FreshSocketsWanted | SocketsUnused


class Whereabouts:
    """The candidates of one node.

    :ivar nat: what discovery found, by address family; ``None`` before the first.
    :ivar servers: what came of asking each STUN server, by address family.
    :ivar looked_at: when the last look at this network ended; ``None`` until the first
        one has, and again as soon as the network may be another one.
    """

    def __init__(self, *, random: Random, listen_port: int) -> None:
        self.listen_port = listen_port
        self.candidates: tuple[Candidate, ...] = ()
        self.nat: dict[int, NatBehavior | None] = dict.fromkeys(FAMILIES)
        self.servers: dict[int, tuple[ServerReport, ...]] = {}
        self.looked_at: float | None = None
        self._random = random
        self._hosts: tuple[str, ...] = ()
        self._mapped: Endpoint | None = None
        self._relayed: Endpoint | None = None
        self._servers: dict[int, list[Endpoint]] = {family: [] for family in FAMILIES}
        self._running: dict[int, NatDiscovery] = {}
        self._fresh: dict[int, tuple[int, ...]] = {}
        # Where the first server that answers sees the node. A socket that has moved
        # is seen elsewhere by others, which is known after the first report.
        self._seen_first: dict[int, Endpoint] = {}
        self._waiting: set[int] = set()
        self._started_at = float("-inf")
        self._next_at: float | None = None
        self._events: deque[Event] = deque()

    @property
    def is_looking(self) -> bool:
        """Whether a discovery runs, or is about to."""
        return bool(self._running or self._waiting)

    @property
    def report(self) -> NatTraits:
        """What matters of the IPv4 NAT for punching."""
        nat = self.nat[4]
        if nat is None:
            return NatTraits()
        return NatTraits(
            nat.mapping,
            nat.filtering,
            nat.port_allocation,
            followable(nat.port_delta),
            nat.blocked,
        )

    def has(self, family: int) -> bool:
        """Tell whether the host has an address of a family."""
        return any((":" in host) == (family == 6) for host in self._hosts)

    def stun_server(self) -> Endpoint | None:
        """Return a server by which to see what ports the IPv4 NAT gives out."""
        return next(iter(self._servers[4]), None)

    # What others find out.

    def set_hosts(self, addresses: Sequence[str], now: float) -> None:
        """Take note of the host's addresses, the uplink's first.

        Another one there means a new network.
        """
        hosts, before = tuple(addresses), self._hosts
        if hosts != before:
            self._hosts = hosts
            self._update()
            self.refresh(now, at_once=hosts[:1] != before[:1])

    def set_mapped(self, endpoint: Endpoint | None) -> None:
        """Take note of the port that the router forwards to this node."""
        self._mapped = endpoint
        self._update()

    def set_relayed(self, endpoint: Endpoint | None) -> None:
        """Take note of the node's address on its relay."""
        self._relayed = endpoint
        self._update()

    def set_stun_servers(self, servers: Iterable[Endpoint], now: float) -> None:
        """Ask these servers from now on."""
        by_family: dict[int, list[Endpoint]] = {family: [] for family in FAMILIES}
        for server in servers:
            by_family[_family(server)].append(server)
        if by_family != self._servers:
            self._servers = by_family
            self.refresh(now, at_once=True)

    # Discovery.

    def refresh(self, now: float, *, at_once: bool = False) -> None:
        """Look again soon; not more often than every few seconds, unless at once."""
        if at_once:
            self._abandon()
            self._next_at = now
        else:
            due = max(now, self._started_at + MIN_INTERVAL)
            self._next_at = due if self._next_at is None else min(self._next_at, due)

    def sockets_opened(self, family: int, ports: dict[int, int], now: float) -> None:
        """Begin a discovery with these fresh sockets: local port by link."""
        if family not in self._waiting:
            self._release(tuple(ports))
            return
        self._waiting.discard(family)
        self._fresh[family] = tuple(ports)
        self._running[family] = NatDiscovery(
            self._servers[family],
            {UDP: self.listen_port, **ports},
            addresses=self._hosts,
            random=self._random,
            now=now,
        )

    def receive_stun(self, data: Buffer, source: Endpoint, now: float) -> bool:
        """Take a STUN message; return whether a discovery asked for it."""
        for family, discovery in list(self._running.items()):
            if discovery.receive_stun(data, source, now):
                self._take_early(family, discovery)
                self._conclude(family, discovery, now)
                return True
        return False

    def get_timer(self) -> float | None:
        times = [discovery.get_timer() for discovery in self._running.values()]
        times.append(self._next_at)
        return min((when for when in times if when is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Begin a discovery that is due, and go on with those that run."""
        if self._next_at is not None and now >= self._next_at:
            self._begin(now)
        for family, discovery in list(self._running.items()):
            due = discovery.get_timer()
            if due is None or due <= now:
                discovery.handle_timer(now)
                self._conclude(family, discovery, now)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the requests of running discoveries."""
        transmits: list[Transmit] = []
        for discovery in self._running.values():
            transmits += discovery.datagrams_to_send()
        return transmits

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def _begin(self, now: float) -> None:
        self._started_at = now
        self._next_at = now + INTERVAL
        for family in FAMILIES:
            is_idle = family not in self._running and family not in self._waiting
            if not self.has(family):
                self.servers[family] = tuple(
                    ServerReport(server, None, NO_ROUTE)
                    for server in self._servers[family]
                )
            elif self._servers[family] and is_idle:
                self._waiting.add(family)
                self._events.append(FreshSocketsWanted(family, FRESH_SOCKETS))
        if any(self._servers.values()) and not self.is_looking:
            self.looked_at = now

    def _take_early(self, family: int, discovery: NatDiscovery) -> None:
        """Offer a new public address as soon as it is seen, seconds before the report.

        Where each server may see another one, that would say nothing.
        """
        known, public = self.nat[family], discovery.public
        if public is None or public == self._seen_first.get(family):
            return
        self._seen_first[family] = public
        if known is not None and known.public == public:
            return
        if known is None or known.mapping in STEADY:
            self._set_nat(
                family, replace(known or NatBehavior(reachable=True), public=public)
            )

    def _conclude(self, family: int, discovery: NatDiscovery, now: float) -> None:
        report = discovery.next_event()
        if report is None:
            return
        del self._running[family]
        self.servers[family] = report.servers
        self._release(self._fresh.pop(family, ()))
        if not self.is_looking:
            self.looked_at = now
        if not report.behavior.reachable:
            self._next_at = now + RETRY_INTERVAL
        self._set_nat(family, report.behavior)

    def _set_nat(self, family: int, behavior: NatBehavior) -> None:
        before = self.nat[family]
        if behavior == before:
            return
        self.nat[family] = behavior
        if not self._update():
            self._events.append(CandidatesChanged())
        was = before.public if before is not None else None
        is_now = behavior.public
        if was and is_now and was.host != is_now.host:
            self._events.append(PublicAddressChanged())

    def _abandon(self) -> None:
        """Stop what runs: its answers would be about another network."""
        for family in list(self._running):
            del self._running[family]
            self._release(self._fresh.pop(family, ()))
        self._waiting.clear()
        self.looked_at = None

    def _release(self, links: tuple[int, ...]) -> None:
        if links:
            self._events.append(SocketsUnused(links))

    # Candidates.

    def _update(self) -> bool:
        """Gather the candidates again; return whether they changed."""
        candidates: dict[tuple[str, int], Candidate] = {}
        for candidate in self._gather():
            candidates.setdefault((candidate.host, candidate.port), candidate)
        changed = tuple(candidates.values()) != self.candidates
        if changed:
            self.candidates = tuple(candidates.values())
            self._events.append(CandidatesChanged())
        return changed

    def _gather(self) -> Iterable[Candidate]:
        # A host may have hundreds of addresses, of which peers look at a few.
        public = {nat.public.host for nat in self.nat.values() if nat and nat.public}
        for host in sorted(self._hosts, key=lambda host: host not in public):
            yield Candidate(CandidateKind.HOST, host, self.listen_port)
        if self._mapped is not None:
            yield Candidate(
                CandidateKind.PORT_MAPPED, self._mapped.host, self._mapped.port
            )
        for nat in self.nat.values():
            if nat is not None and nat.public is not None:
                yield Candidate(
                    CandidateKind.REFLEXIVE, nat.public.host, nat.public.port
                )
        if self._relayed is not None:
            yield Candidate(
                CandidateKind.RELAYED, self._relayed.host, self._relayed.port
            )


def _family(endpoint: Endpoint) -> int:
    return 6 if ":" in endpoint.host else 4
