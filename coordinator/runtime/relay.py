"""The relay on the event loop: sockets, streams and a timer around a TurnServer.

The UDP socket that clients send to is shared with STUN and belongs to the caller, who
passes on what is not a Binding request and sends what comes back. Streams come from the
coordinator's TCP port. Relayed addresses get sockets of their own, when a client first
permits a peer outside this server.
"""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from coordinator.config import HostPort
from coordinator.control.limits import FairSlots
from coordinator.runtime.metrics import Metric, counter, counters, gauge
from coordinator.runtime.sockets import BatchSocket
from coordinator.runtime.tcp import TurnStream
from coordinator.turn import CloseSocket, OpenSocket, TurnServer
from meshwg.limits import site_of
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire.stun import Buffer

FIRST_STREAM = 1 << 16
"""The link of the first stream; links below are UDP sockets'."""
STREAMS_PER_SITE = 256
"""Connections from one address, or one IPv6 /64: an office behind one NAT."""
MAX_STREAMS = 10_000
NEW_STREAMS_PER_SITE = 64
"""Connections of one address without an allocation."""
NEW_STREAMS_PER_NETWORK = 256
"""The same for one IPv6 /48."""
MAX_NEW_STREAMS = 1024
"""The same for all together."""


class Relay:
    """A service of the coordinator: its TURN server."""

    def __init__(
        self, server: TurnServer, send_datagrams: Callable[[Transmit], None]
    ) -> None:
        """Serve with a pure server.

        :param send_datagrams: sends to a client over the UDP socket of the link.
        """
        self._server = server
        self._send_datagrams = send_datagrams
        self._batches: dict[Endpoint, list[bytes]] = {}
        """What arrived in this turn of the event loop."""
        self._links = count(FIRST_STREAM)
        self._streams: dict[int, TurnStream] = {}
        self._sites: Counter[str] = Counter()
        self._newcomers: FairSlots[int] = FairSlots(
            MAX_NEW_STREAMS,
            per_site=NEW_STREAMS_PER_SITE,
            per_network=NEW_STREAMS_PER_NETWORK,
        )
        """Links of the streams without an allocation."""
        self._sockets: dict[Endpoint, BatchSocket] = {}
        self._refused_streams = 0
        self._dropped = 0
        self._alarm = Alarm(self._on_alarm)

    async def start(self) -> None:
        """Open nothing yet: relayed addresses get their sockets when they need them."""

    async def close(self) -> None:
        """Close all streams and relayed addresses."""
        for stream in list(self._streams.values()):
            stream.abort()
        for relayed in list(self._sockets):
            self._close_socket(relayed)
        self._alarm.clear()

    # From clients over UDP.

    def receive(self, datagrams: Sequence[bytes], client: Endpoint) -> None:
        """Take datagrams that arrived at a shared UDP socket.

        They are handled when the socket has been read as far as it goes, so that what
        a client has sent one by one becomes one batch.
        """
        if not self._batches:
            asyncio.get_running_loop().call_soon(self._take_batches)
        if client in self._batches:
            self._batches[client] += datagrams
        else:
            self._batches[client] = list(datagrams)

    def _take_batches(self) -> None:
        now = asyncio.get_running_loop().time()
        batches, self._batches = self._batches, {}
        for client, datagrams in batches.items():
            self._server.receive(datagrams, client, now)
        self.drain()

    def drop_strangers(self) -> None:
        """End what nodes have that are no longer members."""
        self._server.drop_strangers()
        self.drain()

    def drain(self) -> None:
        """Send what the server has to send, and carry out its events."""
        while event := self._server.next_event():
            if isinstance(event, OpenSocket):
                self._open_socket(event.relayed)
            elif isinstance(event, CloseSocket):
                self._close_socket(event.relayed)
        for transmit in self._server.datagrams_to_send():
            link = transmit.destination.link
            if link < FIRST_STREAM:
                self._send_datagrams(transmit)
            elif link in self._streams:
                self._streams[link].send(transmit.datagrams)
        for relayed, transmit in self._server.relayed_to_send():
            if relayed in self._sockets:
                self._sockets[relayed].send(transmit)
        now = asyncio.get_running_loop().time()
        self._alarm.set(self._server.get_timer(), now)

    # From clients over streams: what a TurnStream calls.

    def stream_protocol(self, client_address: HostPort | None = None) -> TurnStream:
        """Return the protocol for a new connection.

        :param client_address: whose it is, if a proxy has said that.
        """
        return TurnStream(self, client_address)

    def stream_opened(self, stream: TurnStream, host: str, port: int) -> Endpoint:
        """Return the endpoint of a new client, with a link of its own."""
        if "." in host:
            host = host.removeprefix("::ffff:")
        client = Endpoint(host, port, next(self._links))
        site = site_of(host)
        self._streams[client.link] = stream
        self._sites[site] += 1
        full = self._sites[site] > STREAMS_PER_SITE or len(self._streams) > MAX_STREAMS
        if full or not self._newcomers.enter(client.link, host):
            self._refused_streams += 1
            stream.abort()
        for link in self._newcomers.evicted():
            self._refused_streams += 1
            self._streams[link].abort()
        return client

    def receive_stream(self, messages: Sequence[Buffer], client: Endpoint) -> None:
        """Take the messages of a client."""
        now = asyncio.get_running_loop().time()
        self._server.receive(messages, client, now, stream=True)
        if client.link in self._newcomers:
            self._newcomers.heard(client.link)
            if self._server.has_allocation(client):
                self._newcomers.leave(client.link)
        self.drain()

    def stream_closed(self, client: Endpoint, dropped: int) -> None:
        """Note that a client is gone, and how many of its batches were dropped."""
        self._dropped += dropped
        del self._streams[client.link]
        self._newcomers.leave(client.link)
        site = site_of(client.host)
        self._sites[site] -= 1
        if not self._sites[site]:
            del self._sites[site]
        self._server.forget(client)
        self.drain()

    def has_allocation(self, client: Endpoint) -> bool:
        """Return whether a client has an allocation."""
        return self._server.has_allocation(client)

    # Relayed addresses.

    def _open_socket(self, relayed: Endpoint) -> None:
        now = asyncio.get_running_loop().time()
        try:
            udp = _bind(relayed)
        except OSError:
            self._server.socket_failed(relayed, now)
            return

        def on_datagrams(datagrams: list[bytes], peer: Endpoint) -> None:
            now = asyncio.get_running_loop().time()
            self._server.receive_from_peer(relayed, datagrams, peer, now)
            self.drain()

        self._sockets[relayed] = BatchSocket(udp, on_datagrams)
        self._server.socket_opened(relayed, now)

    def _close_socket(self, relayed: Endpoint) -> None:
        batches = self._sockets.pop(relayed, None)
        if batches is not None:
            self._dropped += batches.dropped
            batches.close()

    # Time and numbers.

    def _on_alarm(self) -> None:
        self._server.handle_timer(asyncio.get_running_loop().time())
        self.drain()

    def metrics(self) -> Iterator[Metric]:
        """Yield what ``/metrics`` shows."""
        numbers = self._server.counters
        yield gauge("relay_allocations", "Allocations", self._server.allocations)
        yield gauge(
            "relay_sockets", "Relayed addresses with a socket", len(self._sockets)
        )
        yield gauge("relay_streams", "Clients over TCP", len(self._streams))
        yield counter("relay_allocated", "Allocations ever made", numbers.allocated)
        yield counter("relay_expired", "Allocations that expired", numbers.expired)
        yield counters("relay_requests", "Requests", "method", numbers.requests)
        errors = {str(code): value for code, value in numbers.errors.items()}
        yield counters("relay_errors", "Error responses", "code", errors)
        yield counters("relay_drops", "What was dropped", "reason", self._drops())
        traffic = {
            "internal": numbers.internal,
            "to_peers": numbers.to_peers,
            "from_peers": numbers.from_peers,
        }
        packets = {way: each.packets for way, each in traffic.items()}
        sizes = {way: each.size for way, each in traffic.items()}
        yield counters("relay_packets", "Packets relayed", "way", packets)
        yield counters("relay_bytes", "Bytes of payload relayed", "way", sizes)

    def _drops(self) -> dict[str, int]:
        drops = {drop.value: n for drop, n in self._server.counters.drops.items()}
        open_now = sum(batches.dropped for batches in self._sockets.values())
        drops["queue-full"] = self._dropped + open_now
        drops["stream-refused"] = self._refused_streams
        return drops


def _bind(relayed: Endpoint) -> UdpSocket:
    """Return a socket at a relayed address.

    Where a NAT is in front of this machine, the address is the NAT's; then the socket
    is bound to the port at all addresses.

    :raises OSError: if the port is taken.
    """
    is_ipv4 = ":" not in relayed.host
    family = socket.AF_INET if is_ipv4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if not is_ipv4:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((relayed.host, relayed.port))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            sock.bind(("", relayed.port))
        return UdpSocket(sock)
    except BaseException:
        sock.close()
        raise
