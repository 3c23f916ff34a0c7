"""What a coordinator carries: connections, memory, and how fast one change is known.

The coordinator is the program users run, with its default database. The nodes are as
light as the protocol allows: they shake hands, register and send heartbeats, and they
time the frames that arrive without reading them.
"""

import asyncio
import itertools
import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshwg.keys import PrivateKey
from meshwg.wire import channel, control
from meshwg.wire.token import JoinToken

NODES = int(os.environ.get("BENCH_NODES", "5000"))
"""Connections to hold."""
WATCHERS = min(1000, NODES)
"""Connections while changes are timed."""
CHANGES = int(os.environ.get("BENCH_CHANGES", "30"))
JOINING = 60
"""Nodes that join at a time."""
PER_ADDRESS = 500
HEARTBEAT = 3.0
IDLE_SECONDS = 10.0
HOST = "127.53.0.1"
SMALL = 100
"""Nodes in the small mesh whose bytes per change are compared with the large one's."""


def run() -> dict[str, Any]:
    """Measure, print, and return the figures."""
    _raise_limit()
    with tempfile.TemporaryDirectory(prefix="meshwg-bench-") as directory:
        server = Server(Path(directory))
        try:
            return asyncio.run(_measure(server))
        finally:
            server.stop()


async def _measure(server: "Server") -> dict[str, Any]:
    base = server.resident
    mesh = Mesh(JoinToken.parse(server.make_token()))
    beating = asyncio.create_task(mesh.beat())
    await mesh.grow(min(SMALL, WATCHERS))
    small = await mesh.time_changes(3)
    await mesh.grow(WATCHERS)
    large = await mesh.time_changes(CHANGES)
    print(
        f"one change to {WATCHERS} nodes: median {large.median * 1000:.0f} ms, "
        f"p99 {large.p99 * 1000:.0f} ms (target: under 1 s)"
    )
    print(
        f"bytes of one change: {large.size} with {WATCHERS} nodes, "
        f"{small.size} with {min(SMALL, WATCHERS)}"
    )
    began = time.perf_counter()
    joined = await mesh.grow(NODES)
    rate = joined / (time.perf_counter() - began) if joined else 0.0
    await asyncio.sleep(2.0)
    share = await server.idle_share(IDLE_SECONDS)
    memory = (server.resident - base) / NODES
    held = server.metric("meshwg_connections")
    print(
        f"{held:.0f} of {NODES} nodes connected, {memory / 1000:.1f} kB each "
        f"(target: 5,000 under 40 kB), {share:.0%} of one core while idle, "
        f"{rate:.0f} joins/s"
    )
    beating.cancel()
    mesh.close()
    return {
        "nodes": NODES,
        "connected": held,
        "bytes_per_node": memory,
        "idle_cpu_share": share,
        "joins_per_second": rate,
        "watchers": WATCHERS,
        "change_median_s": large.median,
        "change_p99_s": large.p99,
        "change_bytes": large.size,
        "change_bytes_small_mesh": small.size,
    }


class Server:
    """The coordinator as a program of its own."""

    def __init__(self, directory: Path) -> None:
        self._where = ["--data-dir", str(directory / "data")]
        options = ["--listen", f"{HOST}:8443", "--log-level", "warning"]
        self._process = subprocess.Popen(
            self._command("serve", *options), stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise SystemExit("The coordinator did not start")

    @property
    def resident(self) -> int:
        """Bytes of resident memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def make_token(self) -> str:
        command = self._command("token", "create", "--reusable", "--json")
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        token: str = json.loads(done.stdout)["token"]
        return token

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://{HOST}:8443/metrics") as page:
            for line in page.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise KeyError(name)

    async def idle_share(self, seconds: float) -> float:
        """Return the share of a core that the process takes in that time."""
        before = self._cpu()
        await asyncio.sleep(seconds)
        return (self._cpu() - before) / seconds

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(") ")[1]
        ticks = fields.split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "coordinator", *arguments, *self._where]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long changes took to be known, over all nodes and changes."""

    median: float
    p99: float
    size: int
    """Bytes of the frame that told of one change."""


class Mesh:
    """Many nodes in this process."""

    def __init__(self, token: JoinToken) -> None:
        self._token = token
        self._nodes: list[Node] = []
        self._arrivals: list[tuple[float, int]] = []
        self._all_know = asyncio.Event()

    async def grow(self, size: int) -> int:
        """Let nodes join up to a number; return how many joined."""
        missing = range(len(self._nodes), size)
        gate = asyncio.Semaphore(JOINING)

        async def join(number: int) -> None:
            async with gate:
                self._nodes.append(await self._join(number))

        await asyncio.gather(*(join(number) for number in missing))
        return len(missing)

    async def _join(self, number: int) -> "Node":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        source = f"127.53.1.{1 + number // PER_ADDRESS}"
        _, node = await loop.create_connection(
            lambda: Node(self._token, f"n{number}", done, self._arrived),
            HOST,
            8443,
            local_addr=(source, 0),
        )
        await done
        return node

    def _arrived(self, size: int) -> None:
        self._arrivals.append((time.perf_counter(), size))
        if len(self._arrivals) == len(self._nodes):
            self._all_know.set()

    async def time_changes(self, count: int) -> Timing:
        """Let one node change where it is, again and again."""
        await self._quiet()
        times: list[float] = []
        sizes: list[int] = []
        for number in range(count):
            self._arrivals.clear()
            self._all_know.clear()
            candidate = control.ReportedCandidate(
                kind="host", host="192.0.2.7", port=1 + secrets.randbelow(60000)
            )
            began = time.perf_counter()
            self._nodes[number % len(self._nodes)].say(
                control.Report(candidates=(candidate,))
            )
            await self._all_know.wait()
            times += [at - began for at, _ in self._arrivals]
            sizes += [size for _, size in self._arrivals]
            await asyncio.sleep(0.2)
        times.sort()
        p99 = times[int(len(times) * 0.99)]
        return Timing(statistics.median(times), p99, int(statistics.median(sizes)))

    async def _quiet(self) -> None:
        """Wait until no more messages are sent."""
        while True:
            known = len(self._arrivals)
            await asyncio.sleep(1.0)
            if len(self._arrivals) == known:
                return

    async def beat(self) -> None:
        """Send the heartbeats of all nodes, spread evenly over their interval."""
        slices = 30
        due = time.perf_counter()
        for number in itertools.count():
            for node in self._nodes[number % slices :: slices]:
                node.beat()
            due += HEARTBEAT / slices
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def close(self) -> None:
        for node in self._nodes:
            node.close()


class Node(asyncio.Protocol):
    """A WebSocket and a secure channel, and nothing else."""

    def __init__(
        self,
        token: JoinToken,
        name: str,
        done: "asyncio.Future[None]",
        arrived: Callable[[int], None],
    ) -> None:
        self._token = token
        self._name = name
        self._done = done
        self._arrived = arrived
        self._buffer = bytearray()
        self._upgraded = False
        self._handshake = channel.ClientHandshake(
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
        if self._channel is None:
            self._channel = self._handshake.read_response(frame)
            register = control.Register(
                name=self._name, auth_key=str(self._token.auth_key)
            )
            self.say(register)
        elif not self._done.done():
            payload = self._channel.open(frame)
            message = control.decode_from_coordinator(payload)
            assert isinstance(message, control.Registered), message
            self._done.set_result(None)
        elif len(frame) > 16:
            self._arrived(len(frame))

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


def _raise_limit() -> None:
    """Allow as many open sockets as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
