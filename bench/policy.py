"""What a policy costs: 500 rules and 10,000 flows, next to none.

What it costs two nodes is :mod:`bench.nodepolicy`, and what it costs a data path is
here. Both ends of a tunnel are in this process, so this is the CPU time of the packets
alone: without system calls, which are the greater part of what a packet costs, ratios
are worse here than between machines.
"""

import gc
import os
import random
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from statistics import median
from typing import Any

from bench import nodepolicy
from meshwg.packet.ip import checksum, word_sum
from meshwg.policy.filter import Filter
from meshwg.policy.places import Places
from meshwg.policy.ports import TCP, UDP, Ports
from meshwg.policy.rules import AllowRule
from meshwg.runtime.core import find_core
from meshwg.transmit import Endpoint
from meshwg.wireguard.constants import DEFAULT_MTU
from meshwg.wireguard.core_datapath import CoreDatapath
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.python_datapath import PythonDatapath

Make = Callable[[], Datapath]

PAIRS = int(os.environ.get("BENCH_PAIRS", "15"))
RULES, FLOWS, CLASSES = 500, 10_000, 25
BATCH, ROUNDS = 64, 200
SIZE = 1420
KEYS = bytes([1]) * 32, bytes([2]) * 32
THERE = Endpoint("192.0.2.1", 1)
OURS, THEIRS = "100.64.0.1", "100.64.0.2"
NOW = 1000.0


def run() -> dict[str, Any]:
    """Measure each data path that there is, print tables, and return the figures."""
    figures = {name: measure(name, make) for name, make in _makers().items()}
    filter_ = _filter(OURS)
    first = median(first_packet(filter_) for _ in range(PAIRS))
    print(f"{'first packet':>14} {first:8.2f} us to judge it, of {RULES} rules")
    return {
        "figures": figures,
        "first_packet_us": first,
        "nodes": nodepolicy.run(),
    }


def measure(kind: str, make: Make) -> dict[str, dict[str, float]]:
    """Measure a kind of data path with a policy next to one without."""
    with_, without = Tunnel(make, policy=True), Tunnel(make, policy=False)
    print(f"{kind}:")
    figures = {}
    for name, carry in (("throughput", bulk), ("ping", ping), ("flows", mixed)):
        ratios, plain = [], []
        for _ in range(PAIRS):
            one, other = carry(without), carry(with_)
            plain.append(one)
            ratios.append(other / one)
        figures[name] = {"microseconds": median(plain), "ratio": median(ratios)}
        print(
            f"{name:>14} {median(plain):8.2f} us a packet without a policy, "
            f"{median(ratios):.3f} times that with one"
        )
    return figures


class Tunnel:
    """Two data paths with a session, perhaps each with a filter."""

    def __init__(self, make: Make, *, policy: bool) -> None:
        self.near = _datapath(make, THEIRS, is_initiator=True)
        self.far = _datapath(make, OURS, is_initiator=False)
        if policy:
            self.near.set_filter(_filter(OURS))
            self.far.set_filter(_filter(THEIRS))
        self.known = [udp(20_000 + number, 53) for number in range(FLOWS)]
        self.carry(self.known)

    def carry(self, packets: list[bytes]) -> int:
        """Send packets through; return how many arrived."""
        self.near.receive_packets(packets, NOW)
        for transmit in self.near.datagrams_to_send():
            self.far.receive_datagrams(transmit.datagrams, THERE, NOW)
        self.near.take_notes()
        self.far.take_notes()
        return len(self.far.packets_to_write())


def bulk(tunnel: Tunnel) -> float:
    """Return the microseconds of a packet of one flow among many, in batches."""
    batch = [udp(20_000, 53, SIZE)] * BATCH
    return _timed(lambda: tunnel.carry(batch), ROUNDS) / BATCH


def mixed(tunnel: Tunnel) -> float:
    """Return the same where each packet is of another flow."""
    rng = random.Random(1)
    batch = [rng.choice(tunnel.known) for _ in range(BATCH)]
    return _timed(lambda: tunnel.carry(batch), ROUNDS) / BATCH


def ping(tunnel: Tunnel) -> float:
    """Return the microseconds of a packet that comes alone."""
    packet = tunnel.known[0]
    if tunnel.near.kind == "core":
        return _timed(lambda: tunnel.carry([packet]), 2000)
    near, far = tunnel.near, tunnel.far

    def carry() -> None:
        sealed = near.seal_one(packet, NOW)
        assert sealed is not None
        assert far.open_one(sealed[1], THERE, NOW) == packet

    elapsed = _timed(carry, 2000)
    near.take_notes()
    far.take_notes()
    return elapsed


def first_packet(filter_: Filter) -> float:
    """Return the microseconds that a new flow costs, which the last rule allows."""
    ports = iter(range(1024, 20_000))
    return _timed(
        lambda: filter_.judge(udp(next(ports), 60_000), NOW, inbound=False), 200
    )


def _timed(carry: Callable[[], object], rounds: int) -> float:
    """Return the microseconds of CPU time of one call."""
    gc.collect()
    begun = time.process_time()
    for _ in range(rounds):
        carry()
    return (time.process_time() - begun) / rounds * 1e6


def _makers() -> dict[str, Make]:
    """Return what makes a data path, by its kind: the core, too, if it is installed."""
    makers: dict[str, Make] = {"python": lambda: PythonDatapath(roaming=False)}
    module = find_core()
    if module is not None:
        new = module.Core
        makers["core"] = lambda: CoreDatapath(new(DEFAULT_MTU, False), roaming=False)
    return makers


def _datapath(make: Make, other: str, *, is_initiator: bool) -> Datapath:
    path = make()
    path.is_up = True
    lane: Lane = path.add_lane()
    path.allowed_ips.insert(ip_network(other), lane)
    path.steer(lane, THERE)
    keys = KEYS if is_initiator else KEYS[::-1]
    session = path.make_session(
        (keys[0], keys[1]),
        local_index=1 if is_initiator else 2,
        remote_index=2 if is_initiator else 1,
        is_initiator=is_initiator,
        now=NOW,
    )
    session.confirm()
    path.add_session(lane, session)
    path.seal_with(lane, session)
    return path


def _filter(own: str) -> Filter:
    """Return a filter of many rules, of which the last one is for the flows."""
    places = Places()
    places.put("near", 1, [OURS], [])
    places.put("far", 2, [THEIRS], [])
    rules = [
        AllowRule((1 + number % CLASSES,), (2,), (Ports(TCP, number, number),))
        for number in range(1, RULES)
    ]
    rules.append(AllowRule((1,), (2,), (Ports(UDP),)))
    made = Filter(places, NOW)
    made.set_own([own], forwards=False)
    made.set_policy(rules, NOW)
    return made


def udp(source: int, port: int, size: int = 84) -> bytes:
    """Return a datagram from near to far, as an IPv4 packet of a size."""
    ends = ip_address(OURS).packed + ip_address(THEIRS).packed
    head = b"\x45\0" + size.to_bytes(2) + bytes(4) + b"\x40\x11"
    field = checksum(word_sum(head + ends)).to_bytes(2)
    ports = source.to_bytes(2) + port.to_bytes(2) + (size - 20).to_bytes(2)
    return (head + field + ends + ports).ljust(size, b"\0")
