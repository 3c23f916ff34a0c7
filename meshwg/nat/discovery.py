"""Finding out how the NATs in front of this host behave (RFC 5780), for one family.

Theory of operation. The discovery goes through three stages and ends in a report:

* *Looking*: every server is asked from the node's own socket. One that has a second
  address (OTHER-ADDRESS) becomes the primary, or else the first that answered. If none
  answers, UDP is blocked as far as anyone can tell.
* *Filtering*: four fresh sockets ask the primary, in order: the public ports they get
  show how ports are given out. The first of them also asks for answers from the
  primary's other address and from its other port: whichever arrives was let in unasked.
  Meanwhile two sockets send to each other's public endpoint, which shows hairpinning.
* *Mapping*: only now, since a NAT may let in whom the host has sent to, the node's own
  socket asks the primary's other endpoints: is it still seen as the same? If it is not,
  and fresh sockets keep their ports, one of these asks, too. Some routers take what
  comes unasked for their own, and then give all later flows of that socket another
  port (:mod:`meshwg.path.openings`): the socket has *moved* since it first asked the
  primary, and is seen by others where the other endpoints see it.

Only waiting shows that there is no answer, so the waits are short (:class:`Patience`):
half a second before the mapping stage starts, about a second until an answer is taken
to be filtered, half of that where somebody waits for the report, and longer where round
trips are. Silence is evidence only if the mapping
stage then finds the endpoint that kept silent alive. What is not proven is reported as
unknown.

A report with one server address takes as long, and tells only what depends on the
port; several servers are compared with each other.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.inference import (
    Passed,
    Sample,
    Seen,
    allocation_of,
    filtering_of,
    is_credible,
    keeps_ports,
    mapping_of,
)
from meshwg.nat.probe import BRISK_REPEATS, DENSE_REPEATS, Probe, Probes
from meshwg.nattypes import Filtering, Mapping
from meshwg.transmit import UDP, Endpoint, Random, Transmit
from meshwg.wire.stun import Attribute, Buffer, Change

LIMIT = 4.8
"""Seconds until there is a report, whatever happens."""
GIVE_UP = 3.0
"""Seconds after which no first answer is expected."""
SAMPLE_SPREAD = 0.15
"""Later answers than the first by more seconds are to a repeated request, which may
have taken its port out of order."""

SERVERS_LIMIT = 8
NO_ROUTE = "no route to it"
"""What is reported of servers of a family in which this host has no address."""
FRESH_SOCKETS = 4


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a discovery waits for answers, in seconds."""

    servers: float
    """For other servers, after one answered that has one address."""
    filtering: float
    """Silence for so long means that the answer was filtered."""
    mapping_delay: float
    """For filtering to be answered before the other address is sent to."""
    mapping: float
    repeats: Sequence[float]
    """When requests are sent whose silence is taken as an answer."""


THOROUGH = Patience(0.25, 1.1, 0.5, 0.6, DENSE_REPEATS)
"""For a node, which lives with the report for minutes."""
BRISK = Patience(0.1, 0.5, 0.3, 0.4, BRISK_REPEATS)
"""For somebody who waits."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What came of asking one server."""

    address: Endpoint
    rtt: float | None
    """Seconds; an upper bound if the first request was lost."""
    error: str | None


@dataclass(frozen=True, slots=True)
class DiscoveryReport:
    """The result of a discovery."""

    behavior: NatBehavior
    servers: tuple[ServerReport, ...]


class Stage(Enum):
    """What a discovery is at."""

    LOOKING = "looking"
    FILTERING = "filtering"
    MAPPING = "mapping"
    DONE = "done"


class NatDiscovery:
    """One discovery for one address family; it begins at once.

    :param servers: STUN servers of the family; more than eight are not asked.
    :param ports: local port by link: the node's own socket (:data:`UDP`), then four
        that are fresh, which means that nothing was ever sent from them. With fewer,
        less is found out. Their owner may close them after the report.
    :param addresses: the host's own addresses: to be seen as one of them is to have
        no NAT. So is the local address that answers came to, if it is known.
    :param limit: seconds until the report, at most.
    :param patience: how long to wait on the way there.
    """

    def __init__(
        self,
        servers: Sequence[Endpoint],
        ports: dict[int, int],
        *,
        addresses: Collection[str] = (),
        random: Random,
        now: float,
        limit: float = LIMIT,
        patience: Patience = THOROUGH,
    ) -> None:
        self._patience = patience
        self.stage = Stage.LOOKING
        self.probes = Probes(random)
        self._ports = ports
        self._fresh = [link for link in ports if link != UDP][:FRESH_SOCKETS]
        self._addresses = addresses
        self._now = now
        self._end = self._next_stage = now + limit
        self._report: DiscoveryReport | None = None
        self._primary: Probe | None = None
        self._other = Endpoint("", 0)
        self._filtering: dict[Change, Probe] = {}
        self._samples: list[Probe] = []
        self._hairpins: list[Probe] = []
        self._mapping: dict[Change, Probe] = {}
        self._second_look: list[Probe] = []
        give_up = min(now + GIVE_UP, self._end)
        self._looking = [
            self.probes.start(server._replace(link=UDP), now, give_up)
            for server in servers[:SERVERS_LIMIT]
        ]
        self._advance(now)

    @property
    def public(self) -> Endpoint | None:
        """Where the first server that answered sees the node's own socket."""
        answered = (one for one in self._looking if one.mapped is not None)
        return next((one.mapped for one in answered), None)

    def receive_stun(self, data: Buffer, source: Endpoint, now: float) -> bool:
        """Take a STUN message; return whether it belongs to this discovery."""
        probe = self.probes.find(data)
        if probe is None:
            return False
        if probe not in self._hairpins:
            self.probes.receive(data, source, now)
        elif data == probe.request:
            probe.answered = now
        self._advance(now)
        return True

    def handle_timer(self, now: float) -> None:
        """Repeat requests, and go on where time is up."""
        self.probes.handle_timer(now)
        self._advance(now)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the requests to send, in order."""
        return self.probes.datagrams_to_send()

    def next_event(self) -> DiscoveryReport | None:
        """Return the report, once."""
        report, self._report = self._report, None
        return report

    def get_timer(self) -> float | None:
        """Return when to call :meth:`handle_timer`."""
        if self.stage is Stage.DONE:
            return None
        due = self.probes.get_timer(self._now)
        return min(self._next_stage, self._end if due is None else due)

    def _advance(self, now: float) -> None:
        self._now = now
        if self.stage is Stage.LOOKING:
            self._look(now)
        if self.stage is Stage.FILTERING:
            self._filter(now)
        if self.stage is Stage.MAPPING:
            self._map(now)
        if now >= self._end:
            self._finish()

    # Looking

    def _look(self, now: float) -> None:
        """Choose the primary server, and start filtering."""
        answered = [probe for probe in self._looking if probe.answered is not None]
        complete = [
            probe for probe in answered if is_credible(probe.other, probe.destination)
        ]
        is_over = not any(probe.is_open(now) for probe in self._looking)
        if complete:
            self._start_filtering(complete[0], now)
        elif not answered:
            if is_over:
                self._finish()
        elif is_over or self._waited_for_another(answered, now):
            self._start_filtering(answered[0], now)

    def _waited_for_another(self, answered: Sequence[Probe], now: float) -> bool:
        """Tell whether a complete server had its time since others answered."""
        first = min(probe.answered or now for probe in answered)
        self._next_stage = min(first + self._patience.servers, self._end)
        return now >= self._next_stage

    # Filtering

    def _start_filtering(self, primary: Probe, now: float) -> None:
        self.stage = Stage.FILTERING
        self._primary = primary
        server = primary.destination
        has_other = primary.other is not None and is_credible(primary.other, server)
        # A server with one address has its next port open, if it is one of ours.
        self._other = (
            primary.other
            if has_other and primary.other is not None
            else Endpoint(server.host, server.port + 1)
        )
        deadline = self._deadline(self._patience.filtering, now)
        self._samples = [
            self.probes.start(server._replace(link=link), now, deadline)
            for link in self._fresh
        ]
        if self._fresh:
            if has_other:
                change = Change.ADDRESS | Change.PORT
                self._filtering[change] = self._ask_to_change(change, now, deadline)
            change = Change.PORT
            self._filtering[change] = self._ask_to_change(change, now, deadline)
        self._next_stage = self._deadline(self._patience.mapping_delay, now)

    def _ask_to_change(self, change: Change, now: float, deadline: float) -> Probe:
        """Ask, from the first fresh socket, for an answer from somewhere else."""
        link = self._fresh[0]
        return self.probes.start(
            self._endpoint(Change(0))._replace(link=link),
            now,
            deadline,
            answers_from=self._endpoint(change)._replace(link=link),
            attributes={Attribute.CHANGE_REQUEST: change},
            repeats=self._patience.repeats,
        )

    def _filter(self, now: float) -> None:
        self._start_hairpinning(now)
        probes = [*self._filtering.values(), *self._samples]
        is_over = not any(probe.is_open(now) for probe in probes)
        if is_over or now >= self._next_stage:
            self._start_mapping(now)

    def _start_hairpinning(self, now: float) -> None:
        """Have two sockets send to each other's public endpoints.

        Both send, because the NAT may filter what comes back in like anything else.
        """
        assert self._primary is not None
        if self._hairpins or len(self._samples) < 2 or self._is_local():
            return
        own, fresh = self._primary.mapped, self._samples[1].mapped
        if own is None or fresh is None:
            return
        deadline = self._deadline(self._patience.mapping_delay, now)
        link = self._samples[1].destination.link
        self._hairpins = [
            self.probes.start(own._replace(link=link), now, deadline),
            self.probes.start(fresh._replace(link=UDP), now, deadline),
        ]

    # Mapping

    def _start_mapping(self, now: float) -> None:
        self.stage = Stage.MAPPING
        self._next_stage = self._end
        deadline = self._deadline(self._patience.mapping, now)
        changes = [Change.PORT]
        if self._endpoint(Change.ADDRESS) != self._endpoint(Change(0)):
            changes = [Change.ADDRESS, Change.ADDRESS | Change.PORT, Change.PORT]
        for change in changes:
            endpoint = self._endpoint(change)
            if endpoint.port <= 65535:
                self._mapping[change] = self.probes.start(endpoint, now, deadline)

    def _map(self, now: float) -> None:
        probes = [
            *self._mapping.values(),
            *self._filtering.values(),
            *self._samples,
            *self._hairpins,
            *self._second_look,
        ]
        if not any(probe.is_open(now) for probe in probes) and not self._look_twice(
            now
        ):
            self._finish()

    def _look_twice(self, now: float) -> bool:
        """Ask with a fresh socket what the own one asked, if that may have moved."""
        own = self._seen()
        if self._second_look or own is None or not own.varies:
            return False
        # The first fresh socket was sent answers unasked, the second one has hairpins.
        if len(self._fresh) < 3 or not keeps_ports(list(self._ordered_samples())):
            return False
        link, deadline = self._fresh[-1], self._deadline(self._patience.mapping, now)
        asked = [*self._looking, *self._mapping.values()]
        self._second_look = [
            self.probes.start(probe.destination._replace(link=link), now, deadline)
            for probe in asked
            if probe.mapped is not None and probe is not self._primary
        ]
        return True

    def _endpoint(self, change: Change) -> Endpoint:
        """Return the primary server's endpoint with address, port or both changed."""
        assert self._primary is not None
        server = self._primary.destination
        host = self._other.host if change & Change.ADDRESS else server.host
        port = self._other.port if change & Change.PORT else server.port
        return Endpoint(host, port)

    def _deadline(self, patience: float, now: float) -> float:
        """Return until when to wait: longer where round trips are long."""
        assert self._primary is not None
        rtt = self._primary.rtt or 0.0
        return min(now + max(patience, 1.5 * rtt + 0.2), self._end)

    # The report

    def _finish(self) -> None:
        if self.stage is not Stage.DONE:
            self.stage = Stage.DONE
            servers = tuple(_server_report(probe) for probe in self._looking)
            self._report = DiscoveryReport(self._behavior(), servers)

    def _behavior(self) -> NatBehavior:
        primary = self._primary
        if primary is None or primary.mapped is None:
            # Even a refusal, or an answer from elsewhere, has come through.
            reachable = any(
                one.is_unsupported or one.has_strayed for one in self._looking
            )
            return NatBehavior(
                reachable=reachable, blocked=bool(self._looking) and not reachable
            )
        seen, public = self._judged(primary.mapped)
        samples = list(self._ordered_samples())
        mapping = mapping_of(seen, self._is_local())
        filtering = filtering_of(self._passed())
        allocation, delta = allocation_of(samples, seen)
        return NatBehavior(
            reachable=True,
            public=public,
            mapping=mapping,
            filtering=filtering,
            port_preserving=keeps_ports(samples),
            port_allocation=allocation,
            port_delta=delta,
            hairpinning=self._hairpinning(mapping, filtering),
            varies=seen.varies,
            agrees=seen.agrees,
        )

    def _judged(self, mapped: Endpoint) -> tuple[Seen, Endpoint]:
        """Return what tells of the mapping, and where peers see the node's socket."""
        own, again = self._seen() or Seen(mapped), self._seen_again()
        if again is not None and again.agrees and own.moved_to is not None:
            return again, own.moved_to
        return own, mapped

    def _is_local(self) -> bool:
        """Tell whether the primary server saw the socket's own endpoint: no NAT."""
        primary = self._primary
        if primary is None or primary.mapped is None:
            return False
        host, port = primary.mapped[:2]
        is_own = host in self._addresses or host == primary.local
        return is_own and port == self._ports.get(UDP)

    def _seen(self) -> Seen | None:
        """Return how the node's own socket is seen."""
        return self._seen_by(self._primary, [*self._looking, *self._mapping.values()])

    def _seen_again(self) -> Seen | None:
        """Return how the fresh socket is seen that looked again, if one did."""
        first = self._samples[-1] if self._second_look else None
        return self._seen_by(first, self._second_look)

    def _seen_by(self, first: Probe | None, others: Sequence[Probe]) -> Seen | None:
        if first is None or first.mapped is None:
            return None
        views = {
            probe.destination._replace(link=UDP): probe.mapped
            for probe in others
            if probe.mapped is not None and probe is not self._primary
        }
        own_host = first.destination.host
        changed = {
            change: views.get(self._endpoint(change)) for change in self._mapping
        }
        return Seen(
            first.mapped,
            other_port=changed.get(Change.PORT),
            other_address=changed.get(Change.ADDRESS),
            other_both=changed.get(Change.ADDRESS | Change.PORT),
            other_servers=tuple(
                views[destination]
                for probe in self._looking
                if (destination := probe.destination) in views
                and destination.host != own_host
            ),
        )

    def _passed(self) -> Passed:
        return Passed(
            self._has_passed(Change.ADDRESS | Change.PORT),
            self._has_passed(Change.PORT),
        )

    def _has_passed(self, change: Change) -> bool | None:
        """Tell whether an unasked answer came; silence counts only of who is alive."""
        asked, alive = self._filtering.get(change), self._mapping.get(change)
        if asked is not None and asked.answered is not None:
            return True
        if asked is None or asked.is_unsupported or alive is None:
            return None
        return False if alive.answered is not None else None

    def _ordered_samples(self) -> Iterator[Sample]:
        """Yield what fresh sockets got, but for answers to repeated requests."""
        rtts = [probe.rtt for probe in self._samples if probe.rtt is not None]
        quickest = min(rtts, default=0.0)
        for probe in self._samples:
            in_time = probe.rtt is not None and probe.rtt <= quickest + SAMPLE_SPREAD
            if in_time and probe.mapped is not None:
                yield Sample(self._ports[probe.destination.link], probe.mapped.port)

    def _hairpinning(self, mapping: Mapping, filtering: Filtering) -> bool | None:
        if any(probe.answered is not None for probe in self._hairpins):
            return True
        # Otherwise nothing is proven where the test itself may have been filtered.
        can_tell = (
            mapping is Mapping.ENDPOINT_INDEPENDENT
            or filtering is Filtering.ENDPOINT_INDEPENDENT
        )
        return False if self._hairpins and can_tell else None


def _server_report(probe: Probe) -> ServerReport:
    """Return what came of asking one server."""
    error = None
    if probe.refusal is not None:
        error = f"refused: {probe.refusal.code} {probe.refusal.reason}".strip()
    elif probe.answered is None:
        error = "answered from another address" if probe.has_strayed else "no answer"
    return ServerReport(probe.destination, probe.rtt, error)
