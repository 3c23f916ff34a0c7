"""Two hosts, one cable, one tunnel: meshwg-wg next to Debian's wireguard-go.

Each pair of runs measures both programs one after the other. A run is a TCP stream of
iperf3 through the tunnel at MTU 1420, and pings through the idle tunnel: one after the
other, which shows what a packet costs, and with pauses. After a pause most of the time
goes into waking processors whose caches have forgotten the programs, so there the
larger program pays more, however little it does.
"""

import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import is_served

PAIRS = int(os.environ.get("BENCH_PAIRS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
PINGS = {
    "back to back": ["-c", "500", "-A"],
    "every 10 ms": ["-c", "300", "-i", "0.01"],
    "every 200 ms": ["-c", "50", "-i", "0.2"],
}
"""How the tunnel is pinged; ``-A`` sends when the answer to the one before is there."""
MTU = 1420
PORT = 51820

PROGRAMS = {
    "meshwg-wg": [sys.executable, "-m", "meshwg.cli.wg"],
    "wireguard-go": ["wireguard-go"],
}


@dataclass
class Run:
    """What one run measured: megabits and CPU seconds a second, milliseconds."""

    throughput: float
    cpu: float
    round_trips: dict[str, float]
    """By the cadence of the pings, the mean of each."""


def run() -> dict[str, Any]:
    """Measure all pairs, print a table, and return the figures."""
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    columns = "".join(f"{name:>17}" for name in ("TCP Mbit/s", *PINGS))
    print(f"{'':>6}  {'':12}{columns}", flush=True)
    for number in range(1, PAIRS + 1):
        for name, command in PROGRAMS.items():
            runs[name].append(_measure(command))
            print(f"{number:>6}  {name:12}{_row(runs[name][-1])}", flush=True)
    figures = {name: _median(measured) for name, measured in runs.items()}
    for name, figure in figures.items():
        print(f"{'median':>6}  {name:12}{_row(figure)}")
    ours, theirs = figures["meshwg-wg"], figures["wireguard-go"]
    ratio = Run(
        ours.throughput / theirs.throughput,
        ours.cpu / theirs.cpu,
        {each: ours.round_trips[each] / theirs.round_trips[each] for each in PINGS},
    )
    cells = (ratio.throughput, *ratio.round_trips.values())
    print(f"{'':>6}  {'ratio':12}" + "".join(f"{cell:>16.2f}x" for cell in cells))
    return {
        "mtu": MTU,
        "pairs": PAIRS,
        "python": platform.python_version(),
        "median": {name: asdict(figure) for name, figure in figures.items()},
        "ratio": asdict(ratio),
        "runs": {
            name: [asdict(r) for r in measured] for name, measured in runs.items()
        },
    }


def _measure(command: list[str]) -> Run:
    with Lab(title="bench tunnel") as lab:
        switch = lab.add_switch("cable", "192.0.2.0/24")
        left, right = (lab.add_host(name, switch) for name in ("left", "right"))
        _tunnel(left, right, command)
        left.run(["ping", "-q", "-c", "20", "-i", "0.01", "10.99.0.2"])
        round_trips = {name: _ping(left, PINGS[name]) for name in PINGS}
        server = right.popen(["iperf3", "-s", "-1", "--forceflush"])
        server.wait_for_line("Server listening")
        result = left.run(
            ["iperf3", "-J", "-c", "10.99.0.2", "-t", str(SECONDS), "-O", "1"],
            timeout=SECONDS + 30,
        )
        end = json.loads(result.stdout)["end"]
    return Run(
        throughput=end["sum_received"]["bits_per_second"] / 1e6,
        cpu=end["cpu_utilization_percent"]["host_total"] / 100,
        round_trips=round_trips,
    )


def _ping(host: Host, options: list[str]) -> float:
    """Return the mean round trip in milliseconds."""
    pings = host.run(["ping", "-q", *options, "10.99.0.2"])
    (average,) = re.findall(r"= [\d.]+/([\d.]+)/", pings.stdout)
    return float(average)


def _tunnel(left: Host, right: Host, command: list[str]) -> None:
    """Bring up a tunnel between two hosts: 10.99.0.1 and 10.99.0.2."""
    keys = {host: left.run(["wg", "genkey"]).stdout for host in (left, right)}
    public = {
        host: left.run(["wg", "pubkey"], stdin=key).stdout.strip()
        for host, key in keys.items()
    }
    ends = ((left, right, 1, 2), (right, left, 2, 1))
    for host, _, _, _ in ends:
        environment = {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
        host.popen([*command, "-f", "wg0"], env={**os.environ, **environment})
    for host, other, own, others in ends:
        host.wait_until(partial(is_served, host, "wg0"), "wg0 can be configured")
        key = host.write_file("key", keys[host])
        settings = f"listen-port {PORT} private-key {key} peer {public[other]}"
        allowed = f"allowed-ips 10.99.0.{others}/32 endpoint {other.address(4)}:{PORT}"
        host.run(["wg", "set", "wg0", *settings.split(), *allowed.split()])
        host.run(["ip", "address", "add", f"10.99.0.{own}/24", "dev", "wg0"])
        host.run(["ip", "link", "set", "wg0", "mtu", str(MTU), "up"])


def _median(runs: list[Run]) -> Run:
    return Run(
        throughput=median(r.throughput for r in runs),
        cpu=median(r.cpu for r in runs),
        round_trips={name: median(r.round_trips[name] for r in runs) for name in PINGS},
    )


def _row(run: Run) -> str:
    pings = "".join(f"{run.round_trips[name]:>14.3f} ms" for name in PINGS)
    return f"{run.throughput:>17.0f}{pings}"
