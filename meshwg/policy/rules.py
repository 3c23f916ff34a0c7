"""The rules that a node enforces, found by the places of a packet's ends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import product

from meshwg.policy.places import ANY_CLASS, OUTSIDE
from meshwg.policy.ports import ANY, ICMP, ICMPV6, Ports, parse_ports
from meshwg.prefixes import IPNetwork
from meshwg.wire.control import PolicyRule


@dataclass(frozen=True, slots=True)
class AllowRule:
    """What may pass: to these ports, between these ends."""

    sources: tuple[int, ...]
    """Classes, or :data:`~meshwg.policy.places.ANY_CLASS`."""
    destinations: tuple[int, ...]
    ports: tuple[Ports, ...]
    source_networks: tuple[IPNetwork, ...] = ()
    destination_networks: tuple[IPNetwork, ...] = ()
    internet: bool = False
    """Whether destinations may be outside."""
    line: int = 0
    """Where it stands in its file."""
    note: str = field(default="", compare=False)

    @classmethod
    def from_wire(cls, rule: PolicyRule) -> "AllowRule":
        """Return a coordinator's rule, without ports that are not understood."""
        ports = []
        for text in rule.ports:
            try:
                ports.append(parse_ports(text))
            except ValueError:
                # A newer coordinator knows more words. What they allow is denied here.
                continue
        return cls(
            rule.sources,
            rule.destinations,
            tuple(ports),
            tuple(map(ip_network, rule.source_prefixes)),
            tuple(map(ip_network, rule.destination_prefixes)),
            rule.internet,
            rule.line,
            rule.note,
        )


class RuleTable:
    """Rules, indexed by the pairs of classes that they are about."""

    def __init__(self, rules: Iterable[AllowRule]) -> None:
        self.rules = tuple(rules)
        self._pairs: dict[tuple[int, int], dict[int, list[tuple[Ports, AllowRule]]]]
        self._pairs = {}
        self._networks: list[tuple[AllowRule, _End, _End]] = []
        for rule in self.rules:
            self._add(rule)

    def find(
        self,
        source: tuple[int, bytes],
        destination: tuple[int, bytes],
        protocol: int,
        port: int,
    ) -> AllowRule | None:
        """Return a rule that lets packets pass, ``None`` if there is none.

        :param source: place and address of the sender.
        :param destination: the same of the receiver.
        """
        if protocol == ICMPV6:
            protocol = ICMP
        for pair in product(_matching(source[0]), _matching(destination[0])):
            found = self._pairs.get(pair)
            if found is not None:
                for kind in (protocol, ANY):
                    for ports, rule in found.get(kind, ()):
                        if ports.covers(protocol, port):
                            return rule
        for rule, one, other in self._networks:
            if (
                one.has(*source)
                and other.has(*destination)
                and any(each.covers(protocol, port) for each in rule.ports)
            ):
                return rule
        return None

    def _add(self, rule: AllowRule) -> None:
        destinations = rule.destinations
        if rule.internet:
            destinations = (*destinations, OUTSIDE)
        for one in rule.sources:
            for other in destinations:
                by_protocol = self._pairs.setdefault((one, other), {})
                for ports in rule.ports:
                    by_protocol.setdefault(ports.protocol, []).append((ports, rule))
        if rule.source_networks or rule.destination_networks:
            self._networks.append(
                (
                    rule,
                    _End(rule.sources, rule.source_networks),
                    _End(destinations, rule.destination_networks),
                )
            )


class _End:
    """One end of a rule that names networks."""

    def __init__(
        self, numbers: tuple[int, ...], networks: tuple[IPNetwork, ...]
    ) -> None:
        self._numbers = frozenset(numbers)
        self._networks = tuple(
            (network.max_prefixlen // 8, shift, int(network.network_address) >> shift)
            for network in networks
            for shift in (network.max_prefixlen - network.prefixlen,)
        )

    def has(self, place: int, address: bytes) -> bool:
        """Tell whether an address is meant."""
        if place in self._numbers or (ANY_CLASS in self._numbers and place != OUTSIDE):
            return True
        number, length = int.from_bytes(address), len(address)
        return any(
            length == of and number >> shift == prefix
            for of, shift, prefix in self._networks
        )


def _matching(place: int) -> tuple[int, ...]:
    """Return the numbers in rules that a place matches.

    All classes are not the internet, which is named where it is meant.
    """
    return (place,) if place == OUTSIDE else (place, ANY_CLASS)
