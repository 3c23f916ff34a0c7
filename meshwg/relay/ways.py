"""The ways to the relays: which rest after a failure, and which to try next."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

from meshwg.relay.prober import Prober
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.transmit import UDP, Endpoint

UDP_HEAD_START = 0.3
"""Seconds for which streams wait for UDP."""
UNMEASURED_AFTER = 1.0
"""Seconds until a UDP server is tried that does not answer Binding requests."""
FIRST_REST, LAST_REST = 4.0, 60.0
"""Seconds for which a way that failed is left alone: doubled after each failure."""
MAX_REDIRECTS = 4

Way = tuple[RelayUrl, str]


@dataclass(slots=True)
class _Rest:
    """A way that failed."""

    until: float
    failures: int


class Ways:
    """What the coordinator named, and what relays redirected to."""

    def __init__(self) -> None:
        self._named: dict[Way, RelayServer] = {}
        self._redirects: dict[Way, RelayServer] = {}
        self._origins: dict[Way, Way] = {}
        """Which named way each redirect came from."""
        self._resting: dict[Way, _Rest] = {}

    def __iter__(self) -> Iterator[RelayServer]:
        yield from self._named.values()
        yield from self._redirects.values()

    def set(self, servers: Iterable[RelayServer]) -> None:
        """Take the ways that there are; redirects stay and go with their origin.

        Of two names for one address the first counts: a server takes this node's UDP
        port for one client.
        """
        first: dict[tuple[str, int, Transport], RelayServer] = {}
        for server in servers:
            first.setdefault(
                (server.address, server.url.port, server.transport), server
            )
        self._named = {server.way: server for server in first.values()}
        redirects, self._redirects = self._redirects, {}
        for way, server in redirects.items():
            origin = self._named.get(self._origins[way])
            if origin is not None:
                self._redirects[way] = replace(
                    server, username=origin.username, password=origin.password
                )
        self._origins = {way: self._origins[way] for way in self._redirects}
        self._resting = {
            way: rest for way, rest in self._resting.items() if self.find(way)
        }

    def find(self, way: Way) -> RelayServer | None:
        """Return the present entry for a way."""
        return self._named.get(way) or self._redirects.get(way)

    def redirect(self, server: RelayServer, alternate: Endpoint) -> None:
        """Follow a relay that wants another one to be used, but not without end."""
        url = server.url._replace(port=alternate.port)
        other = replace(server, url=url, address=alternate.host)
        if self.find(other.way) is None and len(self._redirects) < MAX_REDIRECTS:
            self._redirects[other.way] = other
            self._origins[other.way] = self._origins.get(server.way, server.way)

    def rest(self, way: Way, now: float) -> None:
        """Leave a way alone for a while, because it failed."""
        rest = self._resting.get(way)
        failures = rest.failures + 1 if rest is not None else 0
        until = now + min(FIRST_REST * 2**failures, LAST_REST)
        self._resting[way] = _Rest(until, min(failures, 10))

    def is_resting(self, way: Way, now: float) -> bool:
        """Tell whether a way is to be left alone."""
        rest = self._resting.get(way)
        return rest is not None and now < rest.until

    def wake(self, way: Way | None = None) -> None:
        """Forget the failures of a way that works, or of all in another network."""
        if way is None:
            self._resting.clear()
        else:
            self._resting.pop(way, None)

    def at(self, endpoint: Endpoint) -> RelayServer | None:
        """Return the way over UDP to an endpoint."""
        over_udp = (server for server in self if server.transport is Transport.UDP)
        return next((s for s in over_udp if endpoint_of(s) == endpoint), None)

    def udp_endpoints(self) -> list[Endpoint]:
        """Return the servers that can be measured."""
        return [endpoint_of(s) for s in self if s.transport is Transport.UDP]

    def spare(
        self, prober: Prober, home: RelayServer, now: float
    ) -> RelayServer | None:
        """Return the best way to another server, of the kind of the way to home.

        That is the nearest over UDP of those that answer, or else the first stream.
        """
        others = [
            server
            for server in self
            if server.address != home.address
            and server.transport is home.transport
            and not self.is_resting(server.way, now)
        ]
        if home.transport is not Transport.UDP:
            return next(iter(others), None)
        measured = [
            (round_trip, index)
            for index, server in enumerate(others)
            if (round_trip := prober.round_trip(endpoint_of(server))) is not None
        ]
        return others[min(measured)[1]] if measured else None

    def next(
        self, prober: Prober, busy: Container[Way], since: float, now: float
    ) -> RelayServer | None:
        """Return the best way that is neither tried now nor resting.

        That is the nearest of the UDP servers that answer; after a head start a
        stream, in the coordinator's order; in the end UDP without an answer.

        :param since: when the search began.
        """
        free = [
            server
            for server in self
            if server.way not in busy and not self.is_resting(server.way, now)
        ]
        measured = [
            (round_trip, index)
            for index, server in enumerate(free)
            if server.transport is Transport.UDP
            and (round_trip := prober.round_trip(endpoint_of(server))) is not None
        ]
        if measured:
            return free[min(measured)[1]]
        has_udp = any(server.transport is Transport.UDP for server in self)
        if now >= since + UDP_HEAD_START or not has_udp:
            for server in free:
                if server.transport is not Transport.UDP:
                    return server
        if now >= since + UNMEASURED_AFTER and free:
            return free[0]
        return None


def endpoint_of(server: RelayServer) -> Endpoint:
    """Return where a server's UDP datagrams go to and come from."""
    return Endpoint(server.address, server.url.port, UDP)
