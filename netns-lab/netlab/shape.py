"""Slow links: the only module that runs ``tc``. Delay would need netem."""

from netlab.machine import Machine

BURST_KIB = 32
LATENCY_MS = 50
"""How long a packet may wait in the queue until it is dropped."""


def limit_rate(machine: Machine, interface: str, mbit: float | None) -> None:
    """Limit what leaves by an interface to so many Mbit/s; ``None`` lifts that."""
    if mbit is None:
        machine.run(["tc", "qdisc", "del", "dev", interface, "root"], check=False)
        return
    limits = f"rate {mbit}mbit burst {BURST_KIB}kb latency {LATENCY_MS}ms"
    machine.run(
        ["tc", "qdisc", "replace", "dev", interface, "root", "tbf", *limits.split()]
    )
