"""What 1,000 idle peers cost: resident memory, and CPU while nothing happens."""

import os
import secrets
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

from bench.programs import Program, ours
from bench.targets import Target, table
from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import is_served

PEERS = 1000
SECONDS = int(os.environ.get("BENCH_SECONDS", "20"))
"""Long enough for the clock of CPU time, whose ticks are 10 ms, to show 0.1 %."""
MEGABYTE = 1 << 20
RESIDENT = 60
"""Megabytes that must do."""
CPU = 0.1
"""Per cent of one core that must do."""


def run() -> dict[str, Any]:
    """Measure on each data path, print the table, and return the figures."""
    targets = [target for program in ours() for target in _measure(program)]
    print(table(targets))
    return {
        "peers": PEERS,
        "seconds": SECONDS,
        "targets": [target.to_json() for target in targets],
    }


def _measure(program: Program) -> list[Target]:
    with Lab(title="bench idle") as lab:
        host = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))
        environment = {**os.environ, **program.environment}
        process = host.popen([*program.command, "wg0"], env=environment)
        _configure(host)
        time.sleep(2)
        resident, before = resident_bytes(process.pid), cpu_seconds(process.pid)
        time.sleep(SECONDS)
        share = (cpu_seconds(process.pid) - before) / SECONDS
    return [
        Target(f"{program}: resident", RESIDENT, "MB", [resident / MEGABYTE]),
        Target(f"{program}: idle CPU", CPU, "%", [share * 100]),
    ]


def _configure(host: Host) -> None:
    lines = ["[Interface]", "ListenPort = 51820"]
    lines.append(f"PrivateKey = {host.run(['wg', 'genkey']).stdout.strip()}")
    for number in range(PEERS):
        key = b64encode(secrets.token_bytes(32)).decode()
        address = f"10.{number >> 8}.{number & 255}.2"
        lines += ["[Peer]", f"PublicKey = {key}", f"AllowedIPs = {address}/32"]
        lines.append(f"Endpoint = 192.0.2.200:{1024 + number}")
    path = host.write_file("wg0.conf", "\n".join(lines) + "\n")
    host.wait_until(lambda: is_served(host, "wg0"), "wg0 can be configured")
    host.run(["wg", "setconf", "wg0", str(path)])
    host.run(["ip", "link", "set", "wg0", "up"])


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
