"""Several relays: the nearest is home, another takes over when it dies.

Theory of operation
-------------------

Each server is reached in one or more *ways*: over UDP, TCP, TLS, in a WebSocket. A way
that is tried has a :class:`~meshwg.relay.client.RelayClient` and a link number of its
own. The first to have an allocation becomes *home*: its relayed address is the node's.

*Contest.* Without a home, all UDP servers are asked for their round trip at once, and
whoever answers first, which is the nearest, is asked for an allocation. When none has
answered after 0.3 s, UDP may be blocked, so streams are opened too, one more each half
second. A server over UDP that is heard later replaces a stream.

*Liveness.* A home that is in use and says nothing for 1.5 s is asked whether it is
alive, with a refresh that only a living allocation answers well; after 2 s without an
answer it is given up and the contest begins. So another server has taken over within
4 s.

*Moving.* Every 25 s all servers are measured. Another one that is nearer by more than
10 ms and 20 %, three times in a row, becomes home; the old allocation lingers for a
minute, because peers still send to it, and is home again if the new one dies.

*Standby.* While data goes through home for longer, an allocation is kept at another
server (:mod:`meshwg.relay.standby`). It is home at once when home dies.

Endpoints of peers that are reached through a relay carry the link of its client. When
that is gone, what is sent to them goes over the present home.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import count

from meshwg.relay.allocation import Allocated, Redirected, RelayState
from meshwg.relay.client import (
    MAX_WAITING,
    RENEW_AFTER,
    Received,
    RelayClient,
    RelayDrop,
)
from meshwg.relay.events import (
    ChannelChanged,
    CloseStream,
    CredentialsUsed,
    Event,
    OpenStream,
    RelayChanged,
    RelayStatus,
)
from meshwg.relay.keepsake import Keepsake
from meshwg.relay.prober import Prober
from meshwg.relay.server import RelayServer
from meshwg.relay.standby import Need
from meshwg.relay.transactions import TurnCredentials
from meshwg.relay.watch import Rivalry, Watch
from meshwg.relay.ways import UDP_HEAD_START, Ways
from meshwg.transmit import FIRST_LINK, Endpoint, Random, Transmit
from meshwg.wire.stun import HEADER_LENGTH, TRANSACTION_ID_LENGTH, Buffer

__all__ = [
    "ChannelChanged",
    "CloseStream",
    "CredentialsUsed",
    "Event",
    "OpenStream",
    "RelayChanged",
    "RelayPool",
    "RelayStatus",
]

NEXT_CONTENDER = 0.5
"""Seconds until another way is tried in parallel."""
PATIENCE = 5.0
"""Seconds after which a contest is a matter of waiting for the network."""
NEXT_LATE_CONTENDER = 2.0
"""Seconds between two looks for a way from then on."""
MAX_CONTENDERS = 4

LINGER = 60.0
"""Seconds for which the last home is kept after a move."""

_DATA_INDICATION = b"\x00\x17"


class RelayPool:
    """The relays of one node as one."""

    def __init__(
        self,
        *,
        random: Random,
        first_link: int = FIRST_LINK,
        renew_after: float = RENEW_AFTER,
    ) -> None:
        """Begin without servers.

        :param renew_after: seconds between two binds of a channel in use.
        """
        self._random = random
        self._renew_after = renew_after
        self._links = count(first_link)
        self._ways = Ways()
        self._prober = Prober(random)
        self._watch = Watch()
        self._rivalry = Rivalry(self._prober)
        self._clients: dict[int, RelayClient] = {}
        self._by_address: dict[tuple[str, int], RelayClient] = {}
        self._home: RelayClient | None = None
        self._challenger: int | None = None
        """The link of the client that is to replace home when it is ready."""
        self._lingering: dict[int, float] = {}
        self._standby: RelayClient | None = None
        self._need = Need()
        self._given_up: set[str] = set()
        """The addresses of servers that were home and fell silent."""
        self._peers: dict[Endpoint, None] = {}
        self._hosts: dict[str, None] = {}
        self._waiting: deque[tuple[Endpoint, bytes]] = deque()
        self._events: deque[Event] = deque()
        self._farewells: list[Transmit] = []
        self._keepsake = Keepsake()
        self._past_drops: Counter[RelayDrop] = Counter()
        self._error: str | None = None
        self._contest_since = 0.0
        self._contend_at: float | None = None

    # What there is.

    def remember(self, credentials: Iterable[tuple[str, TurnCredentials]]) -> None:
        """Take note of what the last process used, by URL.

        Its allocations may be in the way, and count for the node's quota.
        """
        self._keepsake.remember(credentials)

    def set_servers(self, servers: Iterable[RelayServer], now: float) -> None:
        """Use these servers, with these credentials, from now on."""
        self._ways.set(servers)
        for client in list(self._clients.values()):
            server = self._ways.find(client.server.way)
            if server is None:
                self._close(client, now)
            else:
                user = TurnCredentials(server.username, server.password)
                client.set_credentials(user, now)
        self._prober.watch(self._ways.udp_endpoints(), now)
        if self._home is None:
            self._begin_contest(now)
        self._settle(now)

    def network_changed(self, now: float) -> None:
        """Find out at once which relays the node's new addresses reach."""
        self._ways.wake()
        self._prober.probe(now)
        for client in self._clients.values():
            client.probe(now)
            client.hasten(now)
        if self._home is None:
            self._begin_contest(now)
        self._settle(now)

    def doubt(self, now: float) -> None:
        """Ask home whether it is alive, and still knows this node."""
        if self._home is not None:
            self._home.probe(now)
            self._watch.plan(self._home, now)
            self._settle(now)

    def stop(self, now: float) -> None:
        """Give all allocations back; drain what is to be sent once more."""
        self._ways.set(())
        self._prober.watch((), now)
        for client in list(self._clients.values()):
            self._close(client, now)
        self._contend_at = self._watch.due = None

    @property
    def status(self) -> RelayStatus:
        """What a user wants to know."""
        client = self._home or next(iter(self._clients.values()), None)
        if client is None:
            some = next(iter(self._ways), None)
            error = self._error if some else "The coordinator offers no relay"
            return RelayStatus(
                RelayState.OFFLINE, str(some.url) if some else None, error=error
            )
        round_trip = self._prober.round_trip(client.destination) or client.round_trip
        return RelayStatus(
            state=client.state,
            url=str(client.server.url),
            transport=client.server.transport,
            address=client.relayed if client is self._home else None,
            rtt_ms=None if round_trip is None else round(round_trip * 1000, 1),
            error=client.error or (None if client is self._home else self._error),
        )

    @property
    def relayed(self) -> Endpoint | None:
        """The node's relayed address."""
        return self._home.relayed if self._home is not None else None

    @property
    def drops(self) -> Counter[RelayDrop]:
        """What was dropped, over all relays there were."""
        drops = self._past_drops.copy()
        for client in self._clients.values():
            drops.update(client.drops)
        return drops

    # Peers and packets.

    def open(self, peer: Endpoint, now: float) -> None:
        """Keep a channel to a peer, at whatever server is home, until :meth:`close`."""
        address = Endpoint(peer.host, peer.port)
        self._peers[address] = None
        if self._home is not None:
            self._home.open(address, now)

    def close(self, peer: Endpoint) -> None:
        """Let a channel run out."""
        address = Endpoint(peer.host, peer.port)
        self._peers.pop(address, None)
        for client in self._clients.values():
            client.close(address)

    def permit(self, host: str, now: float) -> None:
        """Let packets from every port of a host in until :meth:`forbid`."""
        self._hosts[host] = None
        for client in (self._home, self._standby):
            if client is not None:
                client.permit(host, now)

    def forbid(self, host: str) -> None:
        """Let the permission for a host run out."""
        self._hosts.pop(host, None)
        for client in self._clients.values():
            client.forbid(host)

    def refusal_of(self, peer: Endpoint) -> str | None:
        """Return why home does not relay to a peer, if it said so."""
        return self._home.refusal_of(peer) if self._home is not None else None

    def send(self, peer: Endpoint, datagrams: Sequence[bytes], now: float) -> None:
        """Send packets to a peer through the relay of its link, or else through home.

        Without an allocation they wait for one; of too many, the oldest are dropped.
        """
        client = self._clients.get(peer.link)
        if client is None or client.state is not RelayState.ALLOCATED:
            client = self._home
        if client is None:
            self._keep(peer, datagrams)
            return
        client.send(peer, datagrams, now)
        self._watch.note_use(self._home, now)

    def note_sent(self, now: float) -> None:
        """Note that packets went through a channel, past this pool."""
        self._watch.note_use(self._home, now)
        self._note_need(now)

    def note_received(self, peer: Endpoint, now: float) -> None:
        """Note that packets of a peer came through its channel, past this pool."""
        client = self._clients.get(peer.link)
        if client is not None:
            client.note_received(peer, now)
        self._watch.note_use(self._home, now)
        self._note_need(now)

    def has_given_up(self, host: str) -> bool:
        """Tell whether home was at an address, and fell silent."""
        return host in self._given_up

    def is_relay(self, source: Endpoint) -> bool:
        """Tell whether ChannelData from there is ours to open."""
        return (source.host, source.port) in self._by_address

    def receive_channel_data(
        self, datagrams: Sequence[Buffer], source: Endpoint, now: float
    ) -> Received:
        """Take ChannelData; return the packets in it if a relay of ours sent it."""
        client = self._by_address.get((source.host, source.port))
        if client is None:
            return []
        received = client.receive(datagrams, now)
        self._watch.note_use(self._home, now)
        return received

    def receive_stun(
        self, datagram: Buffer, source: Endpoint, now: float
    ) -> Received | None:
        """Take a STUN message; return the packets in it, ``None`` if it is not ours."""
        start = HEADER_LENGTH - TRANSACTION_ID_LENGTH
        transaction_id = bytes(datagram[start:HEADER_LENGTH])
        if self._prober.claims(transaction_id):
            measured = self._prober.receive(datagram, source, now)
            if measured is not None:
                self._on_measured(measured, now)
            return []
        client = self._by_address.get((source.host, source.port))
        if client is None:
            return None
        if datagram[:2] != _DATA_INDICATION and not client.claims(transaction_id):
            return None
        received = client.receive([datagram], now)
        self._settle(now)
        return received

    def stream_opened(self, link: int, now: float) -> None:
        """Learn that a connection is there."""
        client = self._clients.get(link)
        if client is not None:
            client.start(now)
            self._settle(now)

    def stream_closed(self, link: int, reason: str, now: float) -> None:
        """Learn that a connection is gone or could not be made.

        :param reason: in the operating system's words: "Connection refused".
        """
        client = self._clients.get(link)
        if client is not None:
            client.stream_closed(reason, now)
            self._settle(now)

    def receive_stream(self, link: int, data: Buffer, now: float) -> Received:
        """Take bytes of a connection; return the packets in them."""
        client = self._clients.get(link)
        if client is None:
            return []
        received = client.receive_stream(data, now)
        self._settle(now)
        return received

    # Output and time.

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what to send: by UDP, or as bytes on the stream of the link."""
        transmits = self._prober.datagrams_to_send()
        for client in self._clients.values():
            transmits += client.datagrams_to_send()
        farewells, self._farewells = self._farewells, []
        return transmits + farewells

    def next_event(self) -> Event | None:
        """Return what happened; to be asked after the datagrams were sent."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        deadlines = [self._contend_at, self._watch.due, self._prober.get_timer()]
        deadlines += self._lingering.values()
        deadlines += [client.get_timer() for client in self._clients.values()]
        return min((each for each in deadlines if each is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._prober.handle_timer(now)
        for client in list(self._clients.values()):
            timer = client.get_timer()
            if timer is not None and timer <= now:
                client.handle_timer(now)
        for link in [link for link, until in self._lingering.items() if until <= now]:
            self._close(self._clients[link], now)
        if self._watch.due is not None and self._watch.due <= now:
            self._watch.look(self._home, now)
        if self._contend_at is not None and self._contend_at <= now:
            self._contend(now)
        self._settle(now)

    def _keep(self, peer: Endpoint, datagrams: Sequence[bytes]) -> None:
        """Keep packets until there is a home; of too many, the oldest are dropped."""
        self._waiting.extend((peer, each) for each in datagrams)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._past_drops[RelayDrop.QUEUE_FULL] += 1

    # The contest for home.

    def _begin_contest(self, now: float) -> None:
        """Look for a home among all servers."""
        self._contest_since = now
        self._prober.probe(now)
        self._contend(now)

    def _contend(self, now: float) -> None:
        """Try the next way, and plan for the one after it."""
        self._contend_at = None
        if self._home is not None:
            return
        trying = [c for c in self._clients.values() if c.state is RelayState.CONNECTING]
        since = self._contest_since
        former = {client.server.way: client for client in self._former_homes()}
        busy = {client.server.way for client in self._clients.values()} - set(former)
        server = self._ways.next(self._prober, busy, since, now)
        if server is not None and server.way in former:
            self._promote(former[server.way], now)
            return
        if server is not None and len(trying) < MAX_CONTENDERS:
            self._launch(server, now)
        if now < since + UDP_HEAD_START:
            self._contend_at = since + UDP_HEAD_START
        elif now < since + PATIENCE:
            self._contend_at = now + NEXT_CONTENDER
        else:
            self._contend_at = now + NEXT_LATE_CONTENDER

    def _former_homes(self) -> list[RelayClient]:
        """Return lingering clients, whose allocations need not be made anew."""
        lingering = (self._clients[link] for link in self._lingering)
        return [each for each in lingering if each.state is RelayState.ALLOCATED]

    def _launch(self, server: RelayServer, now: float) -> RelayClient:
        """Begin to use a way."""
        client = RelayClient(
            server,
            next(self._links),
            random=self._random,
            renew_after=self._renew_after,
            former=self._keepsake.former(str(server.url)),
        )
        self._clients[client.link] = client
        if client.is_stream:
            client.connecting()
            self._events.append(OpenStream(client.link, server))
        else:
            self._by_address[client.destination.host, client.destination.port] = client
            client.start(now)
        return client

    def _promote(self, client: RelayClient, now: float) -> None:
        """Make a client with an allocation home."""
        old, self._home = self._home, client
        self._ways.wake(client.server.way)
        self._challenger = self._contend_at = None
        self._rivalry.begin()
        self._lingering.pop(client.link, None)
        if client is self._standby:
            self._standby = None
        if old is not None:
            self._lingering[old.link] = now + LINGER
        for other in list(self._clients.values()):
            is_kept = other.link in self._lingering or other is self._standby
            if other is not client and not is_kept:
                self._close(other, now)
        for peer in self._peers:
            client.open(peer, now)
        for host in self._hosts:
            client.permit(host, now)
        waiting, self._waiting = self._waiting, deque()
        for peer, datagram in waiting:
            client.send(peer, [datagram], now)
        self._announce()
        self._watch.plan(client, now)

    def _announce(self) -> None:
        home, standby = self._home, self._standby
        spare = standby.relayed if standby is not None else None
        self._events.append(
            RelayChanged(home.relayed, home.link, spare)
            if home is not None
            else RelayChanged(None, None)
        )

    def _close(self, client: RelayClient, now: float) -> None:
        """End a client, with its allocation."""
        client.stop(now)
        self._farewells += client.datagrams_to_send()
        self._remove(client)
        if client is self._home:
            self._home = None
            self._announce()

    def _remove(self, client: RelayClient) -> None:
        """Forget a client."""
        del self._clients[client.link]
        self._events += client.take_channel_changes()
        self._lingering.pop(client.link, None)
        self._past_drops.update(client.drops)
        address = client.destination.host, client.destination.port
        if self._by_address.get(address) is client:
            del self._by_address[address]
        if client.is_stream:
            self._events.append(CloseStream(client.link))
        if client.link == self._challenger:
            self._challenger = None
        if client is self._standby:
            self._standby = None
            self._announce()

    # What clients say.

    def _settle(self, now: float) -> None:
        for client in list(self._clients.values()):
            while client.link in self._clients and (event := client.next_event()):
                if isinstance(event, Allocated):
                    self._on_allocated(client, now)
                elif isinstance(event, Redirected):
                    self._ways.redirect(client.server, event.alternate)
                elif client.state is RelayState.OFFLINE:
                    self._on_offline(client, event.reason, now)
            self._events += client.take_channel_changes()

    def _on_allocated(self, client: RelayClient, now: float) -> None:
        self._given_up.discard(client.server.address)
        self._note_credentials(client)
        if client is self._standby and self._home is not None:
            # Peers that have given up home use it at once.
            for host in self._hosts:
                client.permit(host, now)
            self._announce()
        elif client is self._home:
            self._announce()
        elif self._home is None or client.link == self._challenger:
            self._promote(client, now)
        elif client.link not in self._lingering:
            self._close(client, now)

    def _note_credentials(self, client: RelayClient) -> None:
        """Tell what another process would need to delete the allocation."""
        url = str(client.server.url)
        if not client.is_stream and self._keepsake.note(url, client.credentials):
            self._events.append(CredentialsUsed(self._keepsake.used))

    def _on_offline(self, client: RelayClient, reason: str, now: float) -> None:
        """Do without a client; over UDP it comes back by itself if it can."""
        self._error = reason
        was_home = client is self._home
        if was_home:
            self._home = None
            self._announce()
        is_extra = client.link in (self._challenger, *self._lingering)
        if client.is_stream or is_extra or client is self._standby:
            self._ways.rest(client.server.way, now)
            self._remove(client)
        if was_home:
            self._watch.plan(None, now)
            self._given_up.add(client.server.address)
            self._prober.silence(client.destination)
            standby = self._standby
            if standby is not None and standby.state is RelayState.ALLOCATED:
                self._promote(standby, now)
            else:
                self._begin_contest(now)

    # Whether there is a better home.

    def _on_measured(self, endpoint: Endpoint, now: float) -> None:
        """Take the round trip to a server into account."""
        self._given_up.discard(endpoint.host)
        if self._home is None:
            self._contend(now)
            self._settle(now)
            return
        mapped = self._prober.mapped(endpoint)
        if mapped is not None and endpoint == self._home.destination:
            self._home.seen_at(mapped, now)
            self._settle(now)
        if self._standby is not None and not self._need.lasts(now):
            self._close(self._standby, now)
        server = self._ways.at(endpoint)
        if server is not None and self._challenger is None:
            self._compare(server, self._home, now)

    def _compare(self, server: RelayServer, home: RelayClient, now: float) -> None:
        """Move to another server if that is better."""
        standby = self._standby
        if standby is not None and standby.server.way == server.way:
            is_ready = standby.state is RelayState.ALLOCATED
            if is_ready and self._rivalry.is_better(server, home, now):
                self._promote(standby, now)
            return
        if server.way == home.server.way or self._is_busy(server, now):
            return
        if self._rivalry.is_better(server, home, now):
            self._challenger = self._launch(server, now).link

    # In case home dies.

    def _note_need(self, now: float) -> None:
        """Keep an allocation at another server while data goes through home."""
        self._need.note(now)
        if self._standby is None and self._home is not None and self._need.begins():
            server = self._ways.spare(self._prober, self._home.server, now)
            if server is not None and not self._is_busy(server, now):
                self._standby = self._launch(server, now)

    def _is_busy(self, server: RelayServer, now: float) -> bool:
        """Tell whether a way is in use already, or has to rest."""
        ways = [client.server.way for client in self._clients.values()]
        return server.way in ways or self._ways.is_resting(server.way, now)
