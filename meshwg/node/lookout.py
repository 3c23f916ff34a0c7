"""Where this node accepts streams, and how its NAT maps TCP.

The NAT is looked at only when an attempt to open a stream needs to know: from a port
that is new, a *hole*, and which the attempt then uses. The streams to the servers stay
open for as long as an attempt takes, since some NATs forget a mapping with its last
connection.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from meshwg.nat.streamprobe import SERVERS, StreamProbe
from meshwg.nattypes import Mapping
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.tcp import TcpTraits
from meshwg.relay.server import RelayServer, Transport
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wire.stun import Buffer

SHARED = 2.0
"""Seconds for which attempts with other peers use the same hole."""

HOLD = 10.0
"""Seconds for which the streams to the servers stay open, and peers are told where the
hole is."""

CANDIDATES = 8
"""Addresses that are told to peers, at most."""


@dataclass(frozen=True, slots=True)
class DialWanted:
    """Open a stream, and tell the node what came of it."""

    endpoint: Endpoint
    """Its link is the stream's number."""
    hole: int | None = None
    """All of one hole leave from the same local port; ``None``: from any."""
    ttl: int | None = None
    """The hop limit of its first SYN, which shall not arrive."""


@dataclass(frozen=True, slots=True)
class StreamsClosed:
    """Close these streams; nothing is told of them any more."""

    links: tuple[int, ...]


class Lookout:
    """The TCP side of a node's whereabouts.

    :param port: at which streams are accepted, ``None`` if there are to be none.
    :param links: numbers for streams.
    """

    def __init__(
        self, port: int | None, links: Iterator[int], *, random: Random
    ) -> None:
        self.events: deque[DialWanted | StreamsClosed] = deque()
        self._port = port
        self._links = links
        self._random = random
        self._hosts: tuple[str, ...] = ()
        self._mapped: Endpoint | None = None
        self._servers: tuple[Endpoint, ...] = ()
        self.hole: int | None = None
        """The local port that was looked at last."""
        self._holes = count(1)
        self._mapping = Mapping.UNKNOWN
        self._public: Endpoint | None = None
        self._found_at = float("-inf")
        self._probe: StreamProbe | None = None
        self._held: tuple[int, ...] = ()
        self._held_until: float | None = None
        self._transmits: list[Transmit] = []

    @property
    def traits(self) -> TcpTraits | None:
        """What peers are told, ``None`` if this node has no part in streams."""
        if self._port is None:
            return None
        candidates = [
            Candidate(kind, endpoint.host, endpoint.port)
            for kind, endpoint in (
                (CandidateKind.PORT_MAPPED, self._mapped),
                (CandidateKind.REFLEXIVE, self._public),
            )
            if endpoint is not None
        ]
        candidates += [
            Candidate(CandidateKind.HOST, host, self._port) for host in self._hosts
        ]
        return TcpTraits(tuple(candidates[:CANDIDATES]), self._mapping)

    # What others find out.

    def set_hosts(self, addresses: Sequence[str]) -> None:
        """Take note of the host's addresses; others mean a new network."""
        if tuple(addresses) != self._hosts:
            self._hosts = tuple(addresses)
            self.network_changed()

    def set_mapped(self, endpoint: Endpoint | None) -> None:
        """Take note of the TCP port that the router forwards to this node."""
        self._mapped = endpoint

    def set_servers(
        self, stun: Iterable[Endpoint], relays: Iterable[RelayServer]
    ) -> None:
        """Ask these servers: relays over TCP, and their other addresses.

        A coordinator with two addresses has its TCP port at both, and is a STUN server
        at both.
        """
        relayed = [
            Endpoint(server.address, server.url.port)
            for server in relays
            if server.transport is Transport.TCP and not server.is_proxied
        ]
        others = [
            Endpoint(server.host, relay.port) for relay in relayed for server in stun
        ]
        by_host: dict[str, Endpoint] = {}
        for server in (*relayed, *others):
            if ":" not in server.host:
                by_host.setdefault(server.host, server)
        self._servers = tuple(by_host.values())[:SERVERS]

    def network_changed(self) -> None:
        """Forget what was found: it was about another network."""
        self._mapping, self._found_at = Mapping.UNKNOWN, float("-inf")
        self._abandon()

    # Looking.

    def look(self, now: float) -> bool:
        """Look at the NAT from a new hole; return whether there is nothing to find."""
        if self._probe is not None:
            return False
        if now < self._found_at + SHARED or not self._servers:
            return True
        self._let_go()
        self.hole = next(self._holes)
        servers = [each._replace(link=next(self._links)) for each in self._servers]
        self._probe = StreamProbe(
            servers, addresses=self._hosts, random=self._random, now=now
        )
        self.events.extend(DialWanted(server, self.hole) for server in servers)
        return False

    def claims(self, link: int) -> bool:
        """Tell whether a stream leads to a server."""
        return link in self._held or (
            self._probe is not None and link in self._probe.links
        )

    def opened(self, link: int) -> None:
        """Ask a server."""
        if self._probe is not None and link in self._probe.links:
            request = self._probe.opened(link)
            self._transmits.append(Transmit(Endpoint("", 0, link), [request]))

    def receive(self, link: int, data: Buffer, now: float) -> bool:
        """Take bytes of a server; return whether now all is known that can be."""
        if self._probe is None or link not in self._probe.links:
            return False
        self._probe.receive(link, data, now)
        return self._conclude(now)

    def closed(self, link: int, now: float) -> bool:
        """Do without a server; return whether now all is known that can be."""
        if self._probe is None or link not in self._probe.links:
            return False
        self._probe.closed(link)
        return self._conclude(now)

    def handle_timer(self, now: float) -> bool:
        """Do what is due; return whether peers are to be told something else."""
        if self._held_until is not None and now >= self._held_until:
            self._let_go()
            return True
        return self._conclude(now)

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        times = (
            self._held_until,
            None if self._probe is None else self._probe.deadline,
        )
        return min((when for when in times if when is not None), default=None)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the requests to the servers."""
        transmits, self._transmits = self._transmits, []
        return transmits

    def _conclude(self, now: float) -> bool:
        if self._probe is None or not self._probe.is_done(now):
            return False
        found = self._probe.result()
        if found.mapping is not Mapping.UNKNOWN:
            self._mapping = found.mapping
        self._public, self._found_at = found.public, now
        self._held, self._held_until = self._probe.links, now + HOLD
        self._probe = None
        return True

    def _abandon(self) -> None:
        if self._probe is not None:
            self._held += self._probe.links
            self._probe = None
        self._let_go()

    def _let_go(self) -> None:
        if self._held:
            self.events.append(StreamsClosed(self._held))
        self._public = None
        self._held, self._held_until = (), None
