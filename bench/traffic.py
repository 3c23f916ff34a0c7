"""What goes through a path that is measured: streams of iperf3, and pings.

Nothing here depends on what the path is: hosts, and an address that one of them has.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from netlab.errors import CommandFailed
from netlab.machine import Host
from netlab.process import Process

ATTEMPTS = 3
"""A program that drowns in datagrams may lose iperf3's own connection, too."""
IPERF3_PORT = 5201
"""Its own."""
GRACE = 20
"""Seconds that iperf3 may take longer than it is told to run."""
LARGE, SMALL = 1372, 64
"""Bytes of a datagram: what fills a packet of MTU 1420 nearly, and a voice packet."""

_MEAN = re.compile(r"= [\d.]+/([\d.]+)/")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of iperf3 carried."""

    megabits: float
    """Received in a second, in both directions together."""
    packets: float
    """Datagrams received in a second; 0 for streams."""
    received: float
    """Bytes in all."""


def iperf3(
    client: Host,
    server: Host,
    address: str,
    *options: str,
    seconds: int,
    port: int = IPERF3_PORT,
) -> Load:
    """Run iperf3 from one host to another, and return what arrived.

    :param port: that nothing else uses meanwhile.
    :raises CommandFailed: if it fails several times.
    """
    at = ["-p", str(port)]
    command = ["iperf3", "-J", "-c", address, *at, "-t", str(seconds), *options]
    for attempt in range(1, ATTEMPTS + 1):
        listener = server.popen(["iperf3", "-s", "-1", "--forceflush", *at])
        listener.wait_for_line("Server listening")
        try:
            done = client.run(command, timeout=seconds + GRACE)
            return read(json.loads(done.stdout)["end"])
        except CommandFailed:
            if attempt == ATTEMPTS:
                raise
        finally:
            listener.kill()
    raise AssertionError("The last attempt returns or raises")


def streams(
    client: Host,
    server: Host,
    address: str,
    *,
    count: int = 1,
    seconds: int,
    port: int = IPERF3_PORT,
) -> Load:
    """Send TCP streams from one host to another."""
    options = ("-P", str(count), "-O", "1")
    return iperf3(client, server, address, *options, seconds=seconds, port=port)


def both_ways(client: Host, server: Host, address: str, *, seconds: int) -> Load:
    """Send one TCP stream each way at once."""
    return iperf3(client, server, address, "--bidir", "-O", "1", seconds=seconds)


def datagrams(
    client: Host, server: Host, address: str, *, size: int, seconds: int
) -> Load:
    """Send as many datagrams as can be sent."""
    options = ("-u", "-b", "0", "-l", str(size))
    return iperf3(client, server, address, *options, seconds=seconds)


def ping(host: Host, address: str, *options: str) -> float:
    """Return the mean round trip in milliseconds."""
    done = host.run(["ping", "-n", "-q", *options, address])
    return _mean(done.stdout)


class RoundTrips:
    """Pings beside something else."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def mean(self) -> float:
        """Return the mean round trip in milliseconds, once they have ended."""
        return _mean(self._process.output())


@contextmanager
def pinging(host: Host, address: str, interval: float) -> Iterator[RoundTrips]:
    """Ping while the block runs."""
    command = ["ping", "-n", "-q", "-i", str(interval), address]
    process = host.popen(command)
    time.sleep(interval)
    try:
        yield RoundTrips(process)
    finally:
        process.send_signal(2)
        with suppress(CommandFailed):
            process.wait(5)


@contextmanager
def busy_loops(host: Host, count: int) -> Iterator[None]:
    """Keep processors busy while the block runs."""
    command = ["sh", "-c", "while :; do :; done"]
    loops = [host.popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()


def _mean(output: str) -> float:
    """Return the mean of what ping says when it ends."""
    found = _MEAN.findall(output)
    return float(found[-1]) if found else float("inf")


def read(end: dict[str, Any]) -> Load:
    """Return what arrived, from the end of iperf3's report."""
    sums: Sequence[dict[str, Any]] = [
        end[key] for key in ("sum_received", "sum_received_bidir_reverse") if key in end
    ]
    return Load(
        megabits=sum(each["bits_per_second"] for each in sums) / 1e6,
        packets=sum(_datagrams_per_second(each) for each in sums),
        received=sum(each["bytes"] for each in sums),
    )


def _datagrams_per_second(total: dict[str, Any]) -> float:
    """Return how many arrived, of datagrams."""
    if "packets" not in total:
        return 0.0
    arrived = int(total["packets"]) - int(total["lost_packets"])
    return arrived / float(total["seconds"])
