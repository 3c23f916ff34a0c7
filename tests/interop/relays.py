"""Relays and their clients on the loopback: coturn, our server, a node's pool."""

import asyncio
import logging
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from coordinator.addresses import RELAY_PATH
from coordinator.credentials import password
from coordinator.runtime.admission import Admission
from coordinator.runtime.listener import bind, listen
from coordinator.runtime.proxied import TrustedProxies
from coordinator.runtime.relay import Relay
from coordinator.runtime.turnwebsocket import RelayEndpoint
from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from coordinator.turn import Limits, PeerRules, TurnServer
from meshwg.relay.allocation import RelayState
from meshwg.relay.pool import CloseStream, CredentialsUsed, OpenStream, RelayPool
from meshwg.relay.server import WEBSOCKETS, RelayServer, RelayUrl, Transport
from meshwg.relay.transactions import TurnCredentials
from meshwg.runtime.relaywebsocket import RelayWebSocket
from meshwg.runtime.stream import RelayStream
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint
from meshwg.wire.demux import DatagramKind, kind_of

HOST, PEER_HOST = "127.0.0.1", "127.0.0.2"
SURPRISES = Surprises(logging.getLogger(__name__))
REALM = "mesh.test"
SECRET = "top secret"

needs_coturn = pytest.mark.skipif(
    shutil.which("turnserver") is None, reason="coturn is not installed"
)


def credentials(node: str, lifetime: float = 3600) -> tuple[str, str]:
    """Return a time-limited user name and its password."""
    username = f"{int(time.time() + lifetime)}:{node}"
    return username, password(username, SECRET.encode())


def free_port() -> int:
    """Return a port that is free for UDP and TCP, with the next one."""
    while True:
        with (
            socket.socket() as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        ):
            stream.bind((HOST, 0))
            port = int(stream.getsockname()[1])
            try:
                first.bind((HOST, port))
                second.bind((HOST, port + 1))
            except OSError:
                continue
            return port


def make_certificate(directory: Path) -> tuple[str, str]:
    """Return the files of a self-signed certificate and of its key."""
    certificate, key = str(directory / "certificate.pem"), str(directory / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-days", "1", "-subj", "/CN=relay.test", "-keyout", key),
            *("-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


class Coturn:
    """Debian's coturn, with time-limited credentials."""

    def __init__(self, directory: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.tls_port = free_port()
        certificate, key = make_certificate(directory)
        self._command = [
            *("turnserver", "-n", "--log-file", "stdout", "--no-cli", "-v"),
            *("-L", HOST, "-E", HOST, "-p", str(self.port)),
            *("--tls-listening-port", str(self.tls_port)),
            *("--cert", certificate, "--pkey", key),
            *("--use-auth-secret", "--static-auth-secret", SECRET, "-r", REALM),
            *("--allow-loopback-peers", "--pidfile", str(directory / "pid")),
            *("-b", str(directory / "db"), *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._spawn()
        async with asyncio.timeout(20):
            while not self._listens():  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)

    def _spawn(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """End it at once, as if its machine had lost power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


@asynccontextmanager
async def coturn(directory: Path, *options: str) -> AsyncIterator[Coturn]:
    """Run coturn for a while."""
    server = Coturn(directory, *options)
    await server.start()
    try:
        yield server
    finally:
        server.stop()


class OwnRelay:
    """The coordinator's relay: UDP with STUN, TCP with HTTP, and nothing else."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.port = free_port()
        self.turn = TurnServer(
            realm=REALM,
            secrets=[SECRET.encode()],
            hosts={4: HOST},
            random=os.urandom,
            unix_time=lambda _: time.time(),
            rules=PeerRules(allowed=["127.0.0.0/8"]),
            limits=limits or Limits(allocations_per_node=100),
        )
        self.udp = UdpService(StunServer([Endpoint(HOST, self.port)]))
        self.relay = Relay(self.turn, self.udp.send)
        self.udp.on_relay = self.relay.receive


@asynccontextmanager
async def own_relay(
    *, limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[OwnRelay]:
    """Serve for a while."""
    own = OwnRelay(limits)
    application = web.Application()
    websockets = RelayEndpoint(own.relay.stream_protocol, TrustedProxies(loopback=True))
    application.router.add_get(RELAY_PATH, websockets.handle)
    application.on_shutdown.append(websockets.close)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await own.udp.start()
    assert runner.server is not None
    listener = await listen(
        bind(HOST, own.port),
        runner.server,
        admission=Admission(),
        stream=own.relay.stream_protocol,
        tls=tls,
    )
    try:
        yield own
    finally:
        listener.close()
        await own.relay.close()
        await own.udp.close()
        await runner.cleanup()


class LiveNode:
    """The relays of a node with real sockets, and a real clock."""

    def __init__(self, renew_after: float = 120.0, port: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self.pool = RelayPool(random=os.urandom, renew_after=renew_after)
        self.received: list[tuple[Endpoint, bytes]] = []
        self.used: tuple[tuple[str, TurnCredentials], ...] = ()
        """What it would have on its disk, for another process."""
        self.socket = UdpSocket.open(socket.AF_INET, port=port)
        self._streams: dict[int, RelayStream | RelayWebSocket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self.socket.fileno(), self._readable)

    def use(self, *servers: RelayServer) -> None:
        self.pool.set_servers(servers, self._loop.time())
        self.drain()

    def open(self, peer: Endpoint) -> None:
        self.pool.open(peer, self._loop.time())
        self.drain()

    def send(self, peer: Endpoint, *packets: bytes) -> None:
        self.pool.send(peer, packets, self._loop.time())
        self.drain()

    @property
    def relayed(self) -> Endpoint:
        assert self.pool.relayed is not None
        return self.pool.relayed

    async def until(self, condition: Callable[[], bool], limit: float = 15) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(limit):
            while not condition():  # noqa: ASYNC110 (whatever changes it)
                await asyncio.sleep(0.01)

    async def allocated(self) -> None:
        """Wait for an allocation."""
        await self.until(lambda: self.pool.status.state is RelayState.ALLOCATED)

    async def hears(self, packet: bytes, sender: "LiveNode") -> None:
        """Wait for a packet that the sender repeats until it arrives."""
        async with asyncio.timeout(15):
            while packet not in [data for _, data in self.received]:
                sender.send(self.relayed, packet)
                await asyncio.sleep(0.05)

    def drain(self) -> None:
        """Carry out what the pool asks for."""
        for transmit in self.pool.datagrams_to_send():
            stream = self._streams.get(transmit.destination.link)
            if stream is not None:
                stream.send(transmit)
            else:
                self.socket.send(transmit)
        while event := self.pool.next_event():
            if isinstance(event, OpenStream):
                self._open_stream(event)
            elif isinstance(event, CloseStream):
                self._streams.pop(event.link).close()
            elif isinstance(event, CredentialsUsed):
                self.used = event.credentials
        self._set_timer()

    def close(self) -> None:
        """Give everything back."""
        self.pool.stop(self._loop.time())
        self.drain()
        self.die()

    def die(self) -> None:
        """End as a killed process does."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self.socket.fileno())
        self.socket.close()

    def _readable(self) -> None:
        while (received := self.socket.receive()) is not None:
            datagrams, source = received
            now = self._loop.time()
            for data in datagrams:
                if kind_of(data) is DatagramKind.CHANNEL_DATA:
                    runs = self.pool.receive_channel_data([data], source, now)
                else:
                    runs = self.pool.receive_stun(data, source, now) or []
                self._take(runs)
        self.drain()

    def _take(
        self, runs: list[tuple[Endpoint, list[bytes | bytearray | memoryview]]]
    ) -> None:
        for peer, packets in runs:
            self.received += [(peer, bytes(packet)) for packet in packets]

    def _open_stream(self, event: OpenStream) -> None:
        link, pool, now = event.link, self.pool, self._loop.time

        def on_open() -> None:
            pool.stream_opened(link, now())
            self.drain()

        def on_data(data: bytes) -> None:
            self._take(pool.receive_stream(link, data, now()))
            self.drain()

        def on_close(reason: str) -> None:
            pool.stream_closed(link, reason, now())
            self.drain()

        open_way: Callable[..., RelayStream | RelayWebSocket] = RelayStream
        if event.server.transport in WEBSOCKETS:
            open_way = partial(RelayWebSocket, surprises=SURPRISES)
        self._streams[link] = open_way(
            event.server, on_open=on_open, on_data=on_data, on_close=on_close
        )

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.pool.get_timer()
        self._timer = None if due is None else self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self.pool.handle_timer(self._loop.time())
        self.drain()


def server_at(
    port: int,
    node: str = "node",
    transport: Transport = Transport.UDP,
    lifetime: float = 3600,
) -> RelayServer:
    """Return a way to a relay on the loopback."""
    path = RELAY_PATH if transport in WEBSOCKETS else ""
    url = RelayUrl(HOST, port, transport, path)
    return RelayServer(url, HOST, *credentials(node, lifetime))
