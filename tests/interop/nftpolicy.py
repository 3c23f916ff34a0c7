"""A policy in the kernel: the same rules as nftables has them, between two interfaces.

Run in a network namespace of its own, as a program: it carries random packets between
this node and others through both, and prints how many verdicts there were of each kind,
and the packets about which the two do not agree.
"""

import fcntl
import json
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from coordinator.policy.compile import ANY_CLASS, ClassRule, ClassTable, Policy
from coordinator.policy.load import load_policy
from coordinator.policy.names import Inventory
from coordinator.policy.selectors import Subject
from meshwg.policy.filter import PICK_UP, Filter
from meshwg.policy.places import Places
from meshwg.policy.ports import ANY, ICMP, TCP, parse_ports
from meshwg.policy.rules import AllowRule
from meshwg.wire.control import PolicyRule
from tests.policy.packets import ACK, FIN, PSH, RST, SYN, echo, error, tcp, udp

NOW = 1_000_000.0
NODES = (
    Subject("here", owner="alice"),
    Subject("phone", owner="alice"),
    Subject("bobs", owner="bob"),
    Subject("db", tags=("db",)),
    Subject("web", tags=("web",)),
    Subject("router", tags=("router",), routes=(ip_network("10.0.5.0/24"),)),
    Subject("guest"),
)
POLICY = """
[groups]
sre = ["alice"]
[hosts]
printer = "10.0.5.10"
[[allow]]
from = ["group:sre"]
to = ["tag:db", "printer"]
ports = ["tcp/5432", "tcp/9100-9103", "icmp"]
[[allow]]
from = ["role:member"]
to = ["self", "tag:web"]
ports = ["tcp/22", "tcp/443", "udp/*"]
[[allow]]
from = ["bob", "10.0.5.0/28"]
to = ["alice"]
ports = ["tcp/80", "icmp"]
[[allow]]
from = ["any"]
to = ["alice"]
ports = ["udp/53"]
[[allow]]
from = ["tag:web"]
to = ["alice"]
"""
PORTS = (22, 53, 80, 443, 5432, 9099, 9100, 9103, 9104)
BEHIND = ("10.0.5.10", "10.0.5.3", "10.0.5.77")
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_PI = 0x1001


def addresses(number: int) -> tuple[str, str]:
    """Return the addresses of a node, by its place in the list."""
    return f"100.64.0.{number + 1}", f"fd00::{number + 1}"


def load() -> tuple[Policy, ClassTable]:
    inventory = Inventory(
        users=frozenset(("alice", "bob")), tags=frozenset(("db", "web", "router"))
    )
    policy = load_policy(POLICY, inventory, NODES)
    return policy, ClassTable(policy, map(policy.class_of, NODES))


def make_filter(policy: Policy, table: ClassTable) -> Filter:
    """Return the filter of the first node."""
    places = Places()
    for number, node in enumerate(NODES):
        routes = map(str, node.routes)
        places.put(node.name, policy.class_of(node).number, addresses(number), routes)
    made = Filter(places, NOW - PICK_UP)
    made.set_own(addresses(0), forwards=False)
    rules = table.rules_of(policy.class_of(NODES[0]).number)
    sent = [
        PolicyRule(
            sources=each.sources,
            source_prefixes=each.source_prefixes,
            destinations=each.destinations,
            destination_prefixes=each.destination_prefixes,
            ports=each.ports,
        )
        for each in rules
    ]
    made.set_policy(map(AllowRule.from_wire, sent), NOW - PICK_UP)
    return made


def nftables(policy: Policy, table: ClassTable) -> str:
    """Return the ruleset of nftables that does the same."""
    lines = [
        "table inet oracle { chain forward {",
        "type filter hook forward priority filter; policy drop;",
        "ct state invalid drop",
        "ct state established,related accept",
        "meta l4proto tcp tcp flags & (fin|syn|rst|ack) != syn drop",
    ]
    for rule in table.rules:
        lines += _lines(rule, policy)
    return "\n".join([*lines, "}", "}"])


def _lines(rule: ClassRule, policy: Policy) -> Iterator[str]:
    for version, word in ((4, "ip"), (6, "ip6")):
        ends = [
            _listed(numbers, prefixes, version, policy)
            for numbers, prefixes in (
                (rule.sources, rule.source_prefixes),
                (rule.destinations, rule.destination_prefixes),
            )
        ]
        if not all(ends):
            continue
        ends_text = f"{word} saddr {{ {ends[0]} }} {word} daddr {{ {ends[1]} }}"
        for text in rule.ports:
            ports = parse_ports(text)
            match ports.protocol:
                case protocol if protocol == ANY:
                    what = ""
                case protocol if protocol == ICMP:
                    what = "meta l4proto { icmp, ipv6-icmp }"
                case protocol:
                    name = "tcp" if protocol == TCP else "udp"
                    what = f"{name} dport {ports.first}-{ports.last}"
            yield f"{ends_text} {what} accept"


def _listed(
    numbers: tuple[int, ...], prefixes: tuple[str, ...], version: int, policy: Policy
) -> str:
    found = [
        addresses(number)[version == 6]
        for number, node in enumerate(NODES)
        if ANY_CLASS in numbers or policy.class_of(node).number in numbers
    ]
    found += [each for each in prefixes if ip_network(each).version == version]
    if ANY_CLASS in numbers and version == 4:
        found.append("10.0.5.0/24")
    return ", ".join(found)


class Kernel:
    """Two TUN devices and the kernel between them."""

    def __init__(self, ruleset: str) -> None:
        self._near, self._far = _open_tun("near"), _open_tun("far")
        for command in (
            *(f"ip link set {name} up" for name in ("near", "far")),
            *(f"ip route add {each} dev near" for each in addresses(0)),
            "ip route add 100.64.0.0/10 dev far",
            "ip route add 10.0.5.0/24 dev far",
            "ip route add fd00::/64 dev far",
        ):
            subprocess.run(command.split(), check=True)
        subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True)
        for name, value in (
            ("ipv4/ip_forward", 1),
            ("ipv6/conf/all/forwarding", 1),
            ("ipv4/conf/all/rp_filter", 0),
            ("ipv4/conf/near/rp_filter", 0),
            ("ipv4/conf/far/rp_filter", 0),
            ("netfilter/nf_conntrack_tcp_loose", 0),
            ("netfilter/nf_conntrack_tcp_be_liberal", 1),
            ("netfilter/nf_conntrack_udp_timeout", 3600),
            ("netfilter/nf_conntrack_icmp_timeout", 3600),
            ("netfilter/nf_conntrack_icmpv6_timeout", 3600),
        ):
            Path("/proc/sys/net", name).write_text(str(value))
        self._drain(self._near)
        self._drain(self._far)

    def passes(self, packet: bytes, *, inbound: bool) -> bool:
        """Tell whether a packet comes out at the other side, which is at once."""
        into, out = self._near, self._far
        if inbound:
            into, out = out, into
        os.write(into, packet)
        self._drain(into)
        ends = slice(12, 20) if packet[0] >> 4 == 4 else slice(8, 40)
        return any(each[ends] == packet[ends] for each in self._drain(out))

    def _drain(self, descriptor: int) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(os.read(descriptor, 65535))
            except BlockingIOError:
                return found


def _open_tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


class Conversation:
    """What two ends say to each other, each in its turn."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self._rng = rng
        version = rng.random() < 0.3
        others = [addresses(each)[version] for each in range(1, len(NODES))]
        if not version:
            others += BEHIND
        self.ends = addresses(0)[version], rng.choice(others)
        self.begins_inbound = rng.random() < 0.5
        if self.begins_inbound:
            self.ends = self.ends[::-1]
        # The numbers of ports return only after everybody has long forgotten them.
        self.ports = (10_000 + number % 50_000, rng.choice(PORTS))
        self.kind = rng.choice(("tcp", "tcp", "udp", "echo", "stray"))
        self._sent = 0
        self._last = b""

    def next_packet(self) -> tuple[bytes, bool] | None:
        """Return the next packet, and whether it is inbound."""
        step, self._sent = self._sent, self._sent + 1
        said = getattr(self, f"_{self.kind}")(step)
        if said is None:
            return None
        packet, backwards = said
        self._last = packet
        return packet, self.begins_inbound != backwards

    def complaint(self) -> tuple[bytes, bool] | None:
        """Return an error about the last packet, from who got it."""
        if not self._last:
            return None
        version = 6 if self._last[0] >> 4 == 6 else 4
        at = (8, 24, 40) if version == 6 else (12, 16, 20)
        source, destination = self._last[at[0] : at[1]], self._last[at[1] : at[2]]
        names = _text(destination), _text(source)
        was_backwards = names[0] != self.ends[1]
        backwards = not was_backwards
        return error(*names, self._last[:200]), self.begins_inbound != backwards

    def _tcp(self, step: int) -> tuple[bytes, bool] | None:
        script = (
            (SYN, False),
            (SYN | ACK, True),
            (ACK, False),
            (PSH | ACK, False),
            (PSH | ACK, True),
            (self._rng.choice((FIN | ACK, RST | ACK)), self._rng.random() < 0.5),
        )
        if step >= len(script):
            return None
        flags, backwards = script[step]
        # Each side has said one thing before the data, and heard one.
        sequence = 1000 + (step > 0 and flags != SYN | ACK)
        acknowledged = 1001 * (step > 0)
        ends, ports = self._turned(backwards)
        segment = tcp(
            *ends, ports, flags, b"", sequence=sequence, acknowledged=acknowledged
        )
        return segment, backwards

    def _udp(self, step: int) -> tuple[bytes, bool] | None:
        if step > 4:
            return None
        backwards = step % 2 == 1
        ends, ports = self._turned(backwards)
        return udp(*ends, ports, bytes(step)), backwards

    def _echo(self, step: int) -> tuple[bytes, bool] | None:
        if step > 3:
            return None
        backwards = step % 2 == 1
        ends, _ = self._turned(backwards)
        return echo(*ends, self.ports[0], reply=backwards), backwards

    def _stray(self, step: int) -> tuple[bytes, bool] | None:
        if step > 1:
            return None
        backwards = self._rng.random() < 0.5
        ends, ports = self._turned(backwards)
        if self._rng.random() < 0.2:
            return echo(*ends, self.ports[0], reply=True), backwards
        flags = self._rng.choice((ACK, FIN, FIN | ACK, RST, SYN | ACK, PSH | ACK, 0))
        return tcp(*ends, ports, flags, acknowledged=5), backwards

    def _turned(self, backwards: bool) -> tuple[tuple[str, str], tuple[int, int]]:
        if backwards:
            return self.ends[::-1], self.ports[::-1]
        return self.ends, self.ports


def _text(address: bytes) -> str:
    family = {4: "%d.%d.%d.%d"}.get(len(address))
    if family is not None:
        return family % tuple(address)
    return f"fd00::{address[-1]:x}"


def compare(count: int, seed: int) -> dict[str, object]:
    """Carry packets through both, and return what they said."""
    policy, table = load()
    ours = make_filter(policy, table)
    kernel = Kernel(nftables(policy, table))
    rng = random.Random(seed)
    verdicts: Counter[str] = Counter()
    differing: list[str] = []
    open_: list[Conversation] = []
    begun = 0
    for _ in range(count):
        if len(open_) < 40 or rng.random() < 0.2:
            open_.append(Conversation(rng, begun))
            begun += 1
        index = rng.randrange(len(open_))
        talk = open_[index]
        said = talk.complaint() if rng.random() < 0.1 else None
        said = said or talk.next_packet()
        if said is None:
            open_.pop(index)
            continue
        packet, inbound = said
        expected = kernel.passes(packet, inbound=inbound)
        found = ours.judge(packet, NOW, inbound=inbound) >= 0
        ours.take_answers()
        verdicts[f"{talk.kind} {'passes' if expected else 'is dropped'}"] += 1
        if found != expected:
            differing.append(
                f"{talk.kind} {inbound=} kernel={expected}: {packet.hex()}"
            )
    return {"verdicts": verdicts, "differing": differing[:20], "count": len(differing)}


if __name__ == "__main__":
    found = compare(int(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(json.dumps(found) + "\n")
