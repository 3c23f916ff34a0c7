"""Two hosts, one cable, one tunnel between them, and any program that carries it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from bench.idle import cpu_seconds, resident_bytes
from bench.programs import Program
from netlab.lab import Lab
from netlab.lan import Switch
from netlab.machine import Host
from netlab.process import Process
from netlab.wireguard import KeyPair, is_served, make_keys

MTU = 1420
PORT = 51820
NETWORK = "192.0.2.0/24"


@dataclass(frozen=True, slots=True)
class End:
    """A host, the process that carries the tunnel, and its address inside."""

    host: Host
    process: Process
    address: str


@dataclass(frozen=True, slots=True)
class TunnelEnds:
    """Both ends of a tunnel that is up."""

    lab: Lab
    cable: Switch
    left: End
    right: End

    def cpu_seconds(self) -> float:
        """Return what both processes have used."""
        return sum(cpu_seconds(end.process.pid) for end in (self.left, self.right))

    def resident_bytes(self) -> int:
        """Return the resident memory of the larger process."""
        ends = (self.left, self.right)
        return max(resident_bytes(end.process.pid) for end in ends)


@contextmanager
def tunnel(program: Program) -> Iterator[TunnelEnds]:
    """Bring up a tunnel: 10.99.0.1 on the left and 10.99.0.2 on the right."""
    with Lab(title="bench tunnel") as lab:
        switch = lab.add_switch("cable", NETWORK)
        hosts = [lab.add_host(name, switch) for name in ("left", "right")]
        keys = [make_keys(host) for host in hosts]
        ends = [_start(program, host, n) for n, host in enumerate(hosts, 1)]
        for number in (0, 1):
            _configure(ends[number], keys[number], ends[1 - number], keys[1 - number])
        left, right = ends
        left.host.ping(right.address)
        yield TunnelEnds(lab, switch, left, right)


def start(program: Program, host: Host, interface: str = "wg0") -> Process:
    """Run a program on a host until the lab ends; return once it can be configured."""
    environment = {**os.environ, **program.environment}
    process = host.popen([*program.command, interface], env=environment)
    served = partial(is_served, host, interface)
    host.wait_until(served, f"{interface} of {program} can be configured")
    return process


def _start(program: Program, host: Host, number: int) -> End:
    return End(host, start(program, host), f"10.99.0.{number}")


def _configure(end: End, keys: KeyPair, other: End, others: KeyPair) -> None:
    host = end.host
    key = host.write_file("key", keys.private)
    endpoint = f"{other.host.address(4)}:{PORT}"
    settings = f"listen-port {PORT} private-key {key} peer {others.public}"
    allowed = f"allowed-ips {other.address}/32 endpoint {endpoint}"
    host.run(["wg", "set", "wg0", *settings.split(), *allowed.split()])
    host.run(["ip", "address", "add", f"{end.address}/24", "dev", "wg0"])
    host.run(["ip", "link", "set", "wg0", "mtu", str(MTU), "up"])
