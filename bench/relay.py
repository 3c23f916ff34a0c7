"""Our relay next to Debian's coturn: packets a second, and CPU for each packet.

One client and one peer on the loopback send WireGuard-sized packets through a server,
with a fixed number of bytes under way. Four loads, each on both servers in turn:

* *peer*: client to a plain UDP peer; *pair*: client to another client of the server;
* in *bursts*, as nodes of meshwg send (UDP_SEGMENT), or packet by packet.

``python -m bench.relay serve PORT`` is the server that is measured.
"""

import asyncio
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from coordinator.credentials import password
from coordinator.runtime.relay import Relay
from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from coordinator.turn import Limits, PeerRules, TurnServer
from meshwg.relay.allocation import RelayState
from meshwg.relay.client import RelayClient
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint, Transmit

ROUNDS = int(os.environ.get("BENCH_PAIRS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
HOST, PEER_HOST = "127.0.0.1", "127.0.0.2"
REALM = "bench.test"
SECRET = "bench secret"
SIZE = 1452
"""Bytes of a packet: WireGuard's data message at MTU 1420."""
BURST = 44
"""Packets of one superpacket."""
WINDOW = 4 * BURST
"""Packets under way: deep enough to keep a server busy, and no queue overflows."""
STALL = 0.25
"""Seconds after which what is under way counts as lost."""

LOADS = {
    "peer, bursts": (False, True),
    "peer, packets": (False, False),
    "pair, bursts": (True, True),
    "pair, packets": (True, False),
}
SERVERS = ("meshwg", "coturn")

_ports = count(random.randrange(20000, 26000, 10), 10)


@dataclass
class Run:
    """What one run measured."""

    packets: float
    """Delivered in a second."""
    cpu: float
    """Microseconds of the server's CPU for each packet delivered."""
    loss: float
    """The part that was not delivered."""


def run() -> dict[str, Any]:
    """Measure all loads, print a table, and return the figures."""
    print(f"{'':>14}  {'meshwg':>22}  {'coturn':>22}  packets   CPU")
    figures: dict[str, Any] = {}
    for load, (is_pair, in_bursts) in LOADS.items():
        runs: dict[str, list[Run]] = {name: [] for name in SERVERS}
        for _ in range(ROUNDS):
            for name in SERVERS:
                runs[name].append(_measure(name, is_pair, in_bursts))
        medians = {name: _median(measured) for name, measured in runs.items()}
        ours, theirs = medians["meshwg"], medians["coturn"]
        print(
            f"{load:>14}  {_row(ours)}  {_row(theirs)}"
            f"  {ours.packets / theirs.packets:6.2f}x {ours.cpu / theirs.cpu:5.2f}x",
            flush=True,
        )
        figures[load] = {
            "median": {name: vars(each) for name, each in medians.items()},
            "throughput_ratio": ours.packets / theirs.packets,
            "cpu_ratio": ours.cpu / theirs.cpu,
        }
    return {"packet_size": SIZE, "window": WINDOW, "rounds": ROUNDS, "loads": figures}


def _measure(name: str, is_pair: bool, in_bursts: bool) -> Run:
    port = next(_ports)
    start = _meshwg if name == "meshwg" else _coturn
    with start(port) as process, _clients(port, is_pair) as (sender, receiver):
        load = _Load(sender, receiver, in_bursts)
        load.run(0.3)
        cpu = _cpu_seconds(process)
        delivered, lost, seconds = load.run(SECONDS)
        cpu = _cpu_seconds(process) - cpu
    return Run(delivered / seconds, cpu / delivered * 1e6, lost / (delivered + lost))


class _End:
    """A socket, and the relay client behind it if it is not a plain peer."""

    def __init__(self, port: int | None) -> None:
        self.socket = UdpSocket.open(socket.AF_INET)
        self.client: RelayClient | None = None
        self.target = Endpoint(PEER_HOST, self.socket.port)
        if port is not None:
            username = f"{int(time.time()) + 3600}:{self.socket.port}"
            url = RelayUrl(HOST, port, Transport.UDP)
            user = username, password(username, SECRET.encode())
            server = RelayServer(url, HOST, *user)
            self.client = RelayClient(server, 7, random=os.urandom)
            self._allocate(self.client)

    @property
    def address(self) -> Endpoint:
        """Where the other end sends to."""
        relayed = self.client.relayed if self.client is not None else None
        return relayed or self.target

    def connect(self, other: "_End") -> None:
        """Get a channel to the other end."""
        if self.client is not None:
            self.client.open(other.address, time.monotonic())
            self.exchange(0.3)

    def exchange(self, seconds: float) -> None:
        """Let the client talk with its server for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.receive()
            assert self.client is not None
            self.client.handle_timer(time.monotonic())
            self._flush()
            select.select([self.socket], [], [], 0.01)

    def send(self, peer: Endpoint, batch: list[bytes]) -> None:
        if self.client is None:
            self.socket.send(Transmit(peer, batch))
            return
        self.client.send(peer, batch, time.monotonic())
        self._flush()

    def receive(self) -> int:
        """Return how many packets have arrived."""
        packets = 0
        while (received := self.socket.receive()) is not None:
            datagrams, _ = received
            if self.client is None:
                packets += len(datagrams)
                continue
            for _, run in self.client.receive(datagrams, time.monotonic()):
                packets += len(run)
        return packets

    def _allocate(self, client: RelayClient) -> None:
        client.start(time.monotonic())
        deadline = time.monotonic() + 10
        while client.state is not RelayState.ALLOCATED:
            if time.monotonic() > deadline:
                raise RuntimeError(f"No allocation: {client.error}")
            self.exchange(0.05)

    def _flush(self) -> None:
        assert self.client is not None
        for transmit in self.client.datagrams_to_send():
            self.socket.send(transmit)


class _Load:
    """Keeps a fixed number of packets under way."""

    def __init__(self, sender: _End, receiver: _End, in_bursts: bool) -> None:
        self._sender, self._receiver = sender, receiver
        burst = BURST if in_bursts else 1
        self._batch = [os.urandom(SIZE) for _ in range(burst)]
        self._peer = receiver.address

    def run(self, seconds: float) -> tuple[int, int, float]:
        """Return how many packets were delivered and lost, in how many seconds."""
        delivered = lost = under_way = 0
        began = heard = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            while under_way < WINDOW:
                self._sender.send(self._peer, self._batch)
                under_way += len(self._batch)
            select.select([self._receiver.socket], [], [], STALL)
            arrived = self._receiver.receive()
            delivered += arrived
            under_way = max(under_way - arrived, 0)
            if arrived:
                heard = now
            elif now - heard >= STALL:
                lost, under_way, heard = lost + under_way, 0, now
        return delivered, lost, time.monotonic() - began


@contextmanager
def _clients(port: int, is_pair: bool) -> Iterator[tuple[_End, _End]]:
    sender, receiver = _End(port), _End(port if is_pair else None)
    sender.connect(receiver)
    receiver.connect(sender)
    sender.connect(receiver)
    try:
        yield sender, receiver
    finally:
        sender.socket.close()
        receiver.socket.close()


@contextmanager
def _meshwg(port: int) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.relay", "serve", str(port)]
    with _process(command, Path.cwd()) as process:
        yield process


@contextmanager
def _coturn(port: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *("turnserver", "-n", "--log-file", "stdout", "--no-cli"),
            *("-L", HOST, "-E", HOST, "-p", str(port), "--no-tls", "--no-dtls"),
            *("--use-auth-secret", "--static-auth-secret", SECRET, "-r", REALM),
            *("--allow-loopback-peers", "--pidfile", f"{directory}/pid"),
            *("-b", f"{directory}/db", "--min-port", "40000", "--max-port", "48000"),
        ]
        with _process(command, Path(directory)) as process:
            yield process


@contextmanager
def _process(command: list[str], directory: Path) -> Iterator[int]:
    """Run a server, and give it the time to open its sockets."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory
    )
    try:
        time.sleep(1.5)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, of all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(runs: list[Run]) -> Run:
    return Run(
        packets=median(each.packets for each in runs),
        cpu=median(each.cpu for each in runs),
        loss=median(each.loss for each in runs),
    )


def _row(run: Run) -> str:
    loss = f" -{run.loss:.0%}" if run.loss >= 0.005 else ""
    return f"{run.packets / 1000:6.1f} k/s {run.cpu:5.1f} us{loss:>5}"


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = TurnServer(
        realm=REALM,
        secrets=[SECRET.encode()],
        hosts={4: HOST},
        random=os.urandom,
        unix_time=lambda _: time.time(),
        ports=range(48001, 56000),
        rules=PeerRules(allowed=["127.0.0.0/8"]),
        limits=Limits(),
    )
    udp = UdpService(StunServer([Endpoint(HOST, port)]))
    relay = Relay(server, udp.send)
    udp.on_relay = relay.receive
    await udp.start()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    await relay.close()
    await udp.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[2])))
