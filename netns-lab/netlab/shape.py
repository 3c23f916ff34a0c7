"""Slow links: the only module that runs ``tc``. A delay would need netem."""

from netlab.machine import Machine

BURST_KIB = 32
LATENCY_MS = 50
"""The longest time that a packet waits in the queue before it is dropped."""


def limit_rate(machine: Machine, interface: str, mbit: float | None) -> None:
    """Limit what an interface sends, in Mbit/s; ``None`` removes the limit."""
    if mbit is None:
        machine.run(["tc", "qdisc", "del", "dev", interface, "root"], check=False)
        return
    limits = f"rate {mbit}mbit burst {BURST_KIB}kb latency {LATENCY_MS}ms"
    machine.run(
        ["tc", "qdisc", "replace", "dev", interface, "root", "tbf", *limits.split()]
    )
