"""Two hosts, one cable, one tunnel between them, and any program that carries it."""

import os
from collections.abc import Iterator, Sequence
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
        left, right = _join(program, hosts, 0)
        yield TunnelEnds(lab, switch, left, right)


def beside(program: Program, pair: TunnelEnds) -> TunnelEnds:
    """Bring up another tunnel between the same hosts: 10.100.0.1 and 10.100.0.2."""
    left, right = _join(program, [pair.left.host, pair.right.host], 1)
    return TunnelEnds(pair.lab, pair.cable, left, right)


def start(program: Program, host: Host, interface: str = "wg0") -> Process:
    """Run a program on a host until the lab ends; return once it can be configured."""
    environment = {**os.environ, **program.environment}
    process = host.popen([*program.command, interface], env=environment)
    served = partial(is_served, host, interface)
    host.wait_until(served, f"{interface} of {program} can be configured")
    return process


def _join(program: Program, hosts: Sequence[Host], number: int) -> list[End]:
    """Return both ends of the tunnel of that number, which is up."""
    interface = f"wg{number}"
    ends = [
        End(host, start(program, host, interface), f"10.{99 + number}.0.{which}")
        for which, host in enumerate(hosts, 1)
    ]
    keys = [make_keys(host) for host in hosts]
    for which in (0, 1):
        other = 1 - which
        _configure(ends[which], keys[which], ends[other], keys[other], number)
    ends[0].host.ping(ends[1].address)
    return ends


def _configure(
    end: End, keys: KeyPair, other: End, others: KeyPair, number: int
) -> None:
    host, interface, port = end.host, f"wg{number}", str(PORT + number)
    key = host.write_file(f"{interface}.key", keys.private)
    settings = f"listen-port {port} private-key {key} peer {others.public}"
    endpoint = f"{other.host.address(4)}:{port}"
    allowed = f"allowed-ips {other.address}/32 endpoint {endpoint}"
    host.run(["wg", "set", interface, *settings.split(), *allowed.split()])
    host.run(["ip", "address", "add", f"{end.address}/24", "dev", interface])
    host.run(["ip", "link", "set", interface, "mtu", str(MTU), "up"])
