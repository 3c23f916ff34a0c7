"""Nodes that are as light as the protocol allows, for benchmarks of coordinators.

They shake hands, register and send heartbeats, and they note when frames arrive without
reading them. Many thousands fit into one process.
"""

import asyncio
import contextlib
import itertools
import resource
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from meshwg.keys import PrivateKey
from meshwg.wire import channel, control
from meshwg.wire.token import JoinToken

JOINING = 40
"""Nodes that join at a time: each has 15 s, and their addresses 64 places for those
that are not members yet."""
PER_ADDRESS = 500
HEARTBEAT = 3.0
ATTEMPTS = 10
PATIENCE = 120.0
"""Seconds for a node to join, or a change to arrive, until the benchmark gives up."""


@dataclass(slots=True)
class Timing:
    """How long changes took to be known, over all spectators and changes."""

    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Bytes of the frames that told of one change."""

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def size(self) -> int:
        """The median of the sizes."""
        return sorted(self.sizes)[len(self.sizes) // 2]

    def quantile(self, share: float) -> float:
        """Return the time in which a share of the spectators knew."""
        return sorted(self.times)[int(len(self.times) * share)]


class LightMesh:
    """Many nodes in this process, which all join by tokens of the same mesh.

    :param urls: of the coordinators that take turns; those of the tokens, if none are
        given.
    """

    def __init__(self, *tokens: JoinToken, urls: Sequence[str] = ()) -> None:
        self._tokens = tokens
        self._urls = urls
        self.nodes: list[LightNode] = []
        self._awaited: set[LightNode] = set()
        self._arrivals: list[tuple[float, int]] = []
        self._all_know = asyncio.Event()
        self._heard_at = 0.0

    async def grow(self, size: int) -> int:
        """Let nodes join up to a number; return how many joined."""
        missing = range(len(self.nodes), size)
        gate = asyncio.Semaphore(JOINING)

        async def join(number: int) -> None:
            async with gate:
                self.nodes.append(await self._join(number))

        await asyncio.gather(*(join(number) for number in missing))
        return len(missing)

    async def _join(self, number: int) -> "LightNode":
        """Let a node join; one that is put off tries again, as nodes do."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(ConnectionError):
                return await self._try_to_join(number)
            await asyncio.sleep(1.0)
        raise SystemExit("The coordinator lets nobody in any more")

    async def _try_to_join(self, number: int) -> "LightNode":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        token = self._tokens[number % len(self._tokens)]
        url = self._urls[number % len(self._urls)] if self._urls else token.url
        where = urlsplit(url)
        host, port = where.hostname or "", where.port or 80
        network = host.rpartition(".")[0].rpartition(".")[0]
        source = f"{network}.{1 + number % PER_ADDRESS % 8}.{1 + number // PER_ADDRESS}"
        _, node = await loop.create_connection(
            lambda: LightNode(token, f"n{secrets.token_hex(4)}", done, self._arrived),
            host,
            port,
            local_addr=(source, 0),
        )
        async with asyncio.timeout(PATIENCE):
            await done
        return node

    def _arrived(self, node: "LightNode", size: int) -> None:
        self._heard_at = time.perf_counter()
        if node in self._awaited:
            self._awaited.discard(node)
            self._arrivals.append((self._heard_at, size))
            if not self._awaited:
                self._all_know.set()

    async def time_changes(self, count: int, changing: Sequence["LightNode"]) -> Timing:
        """Let nodes change where they are, one after the other, as these watch.

        :param changing: of this mesh or another one.
        """
        await self.quiet()
        timing = Timing()
        for number in range(count):
            self._arrivals.clear()
            self._all_know.clear()
            self._awaited = set(self.nodes)
            candidate = control.ReportedCandidate(
                kind="host", host="192.0.2.7", port=1 + secrets.randbelow(60000)
            )
            began = time.perf_counter()
            changing[number % len(changing)].say(
                control.Report(candidates=(candidate,))
            )
            async with asyncio.timeout(PATIENCE):
                await self._all_know.wait()
            timing.times += [at - began for at, _ in self._arrivals]
            timing.sizes += [size for _, size in self._arrivals]
            await asyncio.sleep(0.2)
        return timing

    async def quiet(self) -> None:
        """Wait until no more messages are sent."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(1.0)
            if self._heard_at < began:
                return

    async def beat(self) -> None:
        """Send the heartbeats of all nodes, spread evenly over their interval."""
        slices = 30
        due = time.perf_counter()
        for number in itertools.count():
            for node in self.nodes[number % slices :: slices]:
                node.beat()
            due += HEARTBEAT / slices
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class LightNode(asyncio.Protocol):
    """A WebSocket and a secure channel, and nothing else."""

    def __init__(
        self,
        token: JoinToken,
        name: str,
        done: "asyncio.Future[None]",
        arrived: Callable[["LightNode", int], None],
    ) -> None:
        self._token = token
        self._name = name
        self._done = done
        self._arrived = arrived
        self._buffer = bytearray()
        self._upgraded = False
        self._handshake: channel.ClientHandshake | None = channel.ClientHandshake(
            PrivateKey.generate(secrets.token_bytes),
            token.coordinator_key,
            random=secrets.token_bytes,
        )
        self._channel: channel.Channel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            b"GET /v1/control HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("The coordinator hung up"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._upgraded, self._buffer = True, rest
            assert self._handshake is not None
            self._send(self._handshake.initiation)
        while (frame := self._take_frame()) is not None:
            self._receive(frame)

    def say(self, message: control.FromNode) -> None:
        assert self._channel is not None
        self._send(self._channel.seal(control.encode(message)))

    def beat(self) -> None:
        assert self._channel is not None
        self._send(self._channel.seal(channel.HEARTBEAT))

    def close(self) -> None:
        self._transport.abort()

    def _receive(self, frame: bytes) -> None:
        if self._handshake is not None:
            self._channel = self._handshake.read_response(frame)
            self._handshake = None
            register = control.Register(
                name=self._name, auth_key=str(self._token.auth_key), slices=True
            )
            self.say(register)
        elif not self._done.done():
            assert self._channel is not None
            payload = self._channel.open(frame)
            message = control.decode_from_coordinator(payload)
            if isinstance(message, control.Registered):
                self._done.set_result(None)
            else:
                self._done.set_exception(ConnectionError(str(message)))
        elif len(frame) > 16:
            self._arrived(self, len(frame))

    def _take_frame(self) -> bytes | None:
        """Return the next binary message, if all of it is here."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start])
        if len(buffer) < start + length:
            return None
        frame = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return frame

    def _send(self, payload: bytes) -> None:
        # The mask of zeros is as good as any: it only guards against old proxies.
        length = len(payload)
        head = bytes([0x82, 0x80 | length]) if length < 126 else b""
        if not head:
            head = b"\x82\xfe" + length.to_bytes(2)
        if not self._transport.is_closing():
            self._transport.write(head + bytes(4) + payload)


def raise_limit(wanted: int) -> None:
    """Allow as many open sockets as the system lets us have."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
