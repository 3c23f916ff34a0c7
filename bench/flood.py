"""An established session while somebody else sends what belongs to no session.

A stranger at the same cable sends noise, STUN requests, data messages of sessions that
never were, and handshakes with a wrong MAC; all of that goes up from the data path to
the engine. Before, it sends as much to a socket that nobody reads: so the difference is
what the program itself loses by it.
"""

import os
import socket
import struct
import sys
import time
from statistics import median
from typing import Any

from bench import traffic
from bench.programs import Program, ours
from bench.ratios import Ratio, table
from bench.twohosts import PORT, tunnel
from netlab.machine import Host

ROUNDS = int(os.environ.get("BENCH_PAIRS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
RATE = int(os.environ.get("BENCH_FLOOD", "10000"))
"""Datagrams of the stranger's in a second."""
TICK = 0.002
"""Seconds between two handfuls."""
UNREAD_PORT = 9
FLOOR = 0.9
"""The part of the throughput that is left."""

KINDS = (
    os.urandom(100),
    struct.pack("!HHI", 1, 0, 0x2112A442) + os.urandom(12),
    struct.pack("<II", 4, 0x01020304) + os.urandom(1000),
    struct.pack("<I", 1) + os.urandom(144),
)
"""Noise, a STUN request, a data message and an initiation."""


def run() -> dict[str, Any]:
    """Measure all rounds, print the ratios, and return the figures."""
    runs: dict[str, dict[str, list[float]]] = {}
    for number in range(1, ROUNDS + 1):
        for program in ours():
            measured = runs.setdefault(program.name, {"spared": [], "flooded": []})
            measured["spared"].append(_measure(program, UNREAD_PORT))
            measured["flooded"].append(_measure(program, PORT))
            shown = ", ".join(f"{key} {v[-1]:,.0f}" for key, v in measured.items())
            print(f"  {number}/{ROUNDS} {program}: {shown} Mbit/s", flush=True)
    ratios = [
        Ratio(name, median(r["flooded"]), median(r["spared"]), FLOOR, is_floor=True)
        for name, r in runs.items()
    ]
    print(table(ratios))
    return {
        "rate": RATE,
        "rounds": ROUNDS,
        "ratios": [ratio.to_json() for ratio in ratios],
        "runs": runs,
    }


def _measure(program: Program, port: int) -> float:
    """Return the Mbit/s of one stream while that port of its receiver is flooded."""
    with tunnel(program) as pair:
        stranger = pair.lab.add_host("stranger", pair.cable)
        right = pair.right.host
        right.udp_socket(port=UNREAD_PORT)
        _flood(stranger, right, port)
        load = traffic.streams(
            pair.left.host, right, pair.right.address, seconds=SECONDS
        )
    return load.megabits


def _flood(stranger: Host, target: Host, port: int) -> None:
    """Send until the lab ends, or the time is over in any case."""
    limit = str(SECONDS + 10)
    command = [sys.executable, "-m", "bench.flood", target.address(4), str(port), limit]
    stranger.popen(command)


def _send(host: str, port: int, seconds: float) -> None:
    """Send all kinds in turn at the rate."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        began = time.monotonic()
        sent = 0
        while (elapsed := time.monotonic() - began) < seconds:
            while sent < elapsed * RATE:
                sock.send(KINDS[sent % len(KINDS)])
                sent += 1
            time.sleep(TICK)


if __name__ == "__main__":
    _send(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
