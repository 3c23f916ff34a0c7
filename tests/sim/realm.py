"""Realms of the simulated internet: addresses that reach each other directly."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.sim.nat import Address

if TYPE_CHECKING:
    from tests.sim.router import Router
    from tests.sim.tcp import Segment

DEFAULT_TTL = 64


@dataclass(slots=True)
class Packet:
    """A UDP datagram, or a segment of TCP, on its way."""

    source: Address
    destination: Address
    payload: bytes
    ttl: int = DEFAULT_TTL
    tcp: "Segment | None" = None


@dataclass(slots=True)
class Wire:
    """The way between a node and its realm, the same in both directions."""

    delay: float = 0.001
    """Seconds that a datagram takes."""
    jitter: float = 0.0
    """Seconds of random delay on top, by which datagrams overtake each other."""
    loss: float = 0.0
    """The share of datagrams, 0 to 1, that get lost."""


class Node(Protocol):
    """What has an address in a realm: a host's interface, or a router."""

    def wire(self, realm: "Realm") -> Wire:
        """Return the way between the node and this realm."""

    def receive(self, packet: Packet, realm: "Realm") -> None:
        """Take a datagram that comes out of the realm."""


class Realm:
    """Addresses that reach each other, and the router to all others, if any."""

    def __init__(self, gateway: "Router | None" = None) -> None:
        self.gateway = gateway
        self.members: dict[str, Node] = {}

    def attach(self, address: str, node: Node) -> None:
        """Give an address to a node; outer realms learn of it if it is routed there."""
        assert address not in self.members, f"two nodes have the address {address}"
        self.members[address] = node
        if self.gateway is not None and self.gateway.routes(address):
            self.gateway.outside.attach(address, self.gateway)

    def detach(self, address: str) -> None:
        """Take an address away again."""
        self.members.pop(address, None)
        if self.gateway is not None and self.gateway.routes(address):
            self.gateway.outside.detach(address)
