"""STUN requests per second, and CPU per request, next to coturn in the same run.

Plain Binding requests, each a datagram of its own from one of many sockets, with a
fixed number under way: what a server is asked by nodes that look for their NAT.
"""

import os
import select
import socket
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from meshwg.wire import stun
from netlab.lab import Lab
from netlab.machine import Machine
from netlab.process import Process

PORT = 3478
CLIENTS = 64
UNDER_WAY = 4
"""Requests of each client that wait for an answer."""
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS = 5
"""Rounds of each server, in turn, because machines drift."""
UNLIMITED = 10**9
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did in one round."""

    requests_per_second: float
    cpu_microseconds: float
    """Of the server's process, for each request."""
    lost: int


def run() -> dict[str, Any]:
    """Measure, print a table, and return the figures."""
    with Lab(title="bench stun") as lab:
        cable = lab.add_switch("cable", "192.0.2.0/24")
        client = lab.add_host("client", cable)
        servers = {
            "coturn": _start_coturn(lab.add_host("coturn", cable)),
            "meshwg": _start_ours(lab.add_host("meshwg", cable)),
        }
        rounds: dict[str, list[Figures]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, (address, process) in servers.items():
                figures = client.call(partial(_load, address, process))
                rounds[name].append(figures)
    medians = {name: _median(each) for name, each in rounds.items()}
    _print(medians)
    ratio = medians["meshwg"].requests_per_second / (
        medians["coturn"].requests_per_second
    )
    return {
        "servers": {name: asdict(figures) for name, figures in medians.items()},
        "ratio": ratio,
        "seconds": SECONDS,
        "rounds": ROUNDS,
    }


def _start_coturn(host: Machine) -> tuple[str, Process]:
    address = host.address(4)
    options = (
        "-n -S --log-file=stdout --simple-log --verbose --no-cli --no-tls --no-dtls"
    )
    process = host.popen(
        [
            "turnserver",
            *options.split(),
            "--pidfile=/run/turnserver.pid",
            f"--listening-ip={address}",
        ]
    )
    process.wait_for_line(f"UDP listener opened on: {address}:{PORT}")
    return address, process


def _start_ours(host: Machine) -> tuple[str, Process]:
    address = host.address(4)
    module = [sys.executable, "-m", "tests.interop.stun_server", str(UNLIMITED)]
    process = host.popen([*module, f"{address}:{PORT}"], cwd=ROOT)
    process.wait_for_line("ready")
    return address, process


def _load(address: str, server: Process) -> Figures:
    """Ask for :data:`SECONDS` with a fixed number of requests under way."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CLIENTS)]
    poll = select.epoll()
    by_fd = {}
    for sock in sockets:
        sock.connect((address, PORT))
        sock.setblocking(False)
        poll.register(sock, select.EPOLLIN)
        by_fd[sock.fileno()] = sock
    request = stun.binding_request(os.urandom(12))
    before, start = _cpu(server.pid), time.monotonic()
    answered, lost = _ask(poll, by_fd, request, start + SECONDS)
    elapsed, spent = time.monotonic() - start, _cpu(server.pid) - before
    poll.close()
    for sock in sockets:
        sock.close()
    return Figures(answered / elapsed, spent / max(answered, 1) * 1e6, lost)


def _ask(
    poll: select.epoll,
    by_fd: dict[int, socket.socket],
    request: bytes,
    end: float,
) -> tuple[int, int]:
    """Keep requests under way until a moment; return answers and losses."""
    answered = lost = 0
    for sock in by_fd.values():
        for _ in range(UNDER_WAY):
            sock.send(request)
    while time.monotonic() < end:
        ready = poll.poll(0.2)
        if not ready:
            lost += CLIENTS * UNDER_WAY
            for sock in by_fd.values():
                for _ in range(UNDER_WAY):
                    sock.send(request)
        for descriptor, _ in ready:
            sock = by_fd[descriptor]
            while True:
                try:
                    sock.recv(256)
                except BlockingIOError:
                    break
                answered += 1
                sock.send(request)
    return answered, lost


def _cpu(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(rounds: list[Figures]) -> Figures:
    return Figures(
        statistics.median(each.requests_per_second for each in rounds),
        statistics.median(each.cpu_microseconds for each in rounds),
        sum(each.lost for each in rounds),
    )


def _print(medians: dict[str, Figures]) -> None:
    reference = medians["coturn"]
    print(f"{'server':10}{'requests/s':>12}{'ratio':>8}{'CPU/request':>14}{'lost':>7}")
    for name, one in medians.items():
        ratio = one.requests_per_second / reference.requests_per_second
        print(
            f"{name:10}{one.requests_per_second:12,.0f}{ratio:8.2f}"
            f"{one.cpu_microseconds:11.1f} µs{one.lost:7}"
        )
