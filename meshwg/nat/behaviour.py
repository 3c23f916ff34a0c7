"""How a NAT behaves (RFC 4787, RFC 5780), and what that allows two peers to do.

Two properties say it all. *Mapping*: does one socket keep one public endpoint for all
destinations? *Filtering*: who may send to that endpoint? The classic names of RFC 3489
follow from them; people know those better.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshwg.transmit import Endpoint


class Mapping(StrEnum):
    """When a socket's public endpoint changes (RFC 4787 section 4.1)."""

    NONE = "none"
    """There is no NAT: the public endpoint is the local one."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNKNOWN = "unknown"


class Filtering(StrEnum):
    """Whose datagrams pass to a socket (RFC 4787 section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """Everyone's."""
    ADDRESS_DEPENDENT = "address-dependent"
    """Those of addresses that the socket has sent to."""
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    """Those of endpoints that the socket has sent to."""
    UNKNOWN = "unknown"


class PortAllocation(StrEnum):
    """How a NAT chooses the public port of a new mapping (RFC 4787 section 4.2)."""

    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    UNKNOWN = "unknown"


class NatType(StrEnum):
    """The classic names (RFC 3489 section 5)."""

    OPEN_INTERNET = "open-internet"
    FULL_CONE = "full-cone"
    RESTRICTED_CONE = "restricted-cone"
    PORT_RESTRICTED_CONE = "port-restricted-cone"
    SYMMETRIC = "symmetric"
    SYMMETRIC_UDP_FIREWALL = "symmetric-udp-firewall"
    UDP_BLOCKED = "udp-blocked"
    UNKNOWN = "unknown"


class Punch(StrEnum):
    """The least effort that opens a direct path between two peers."""

    PLAIN = "plain"
    """Both send to the endpoints that they know."""
    PREDICTION = "prediction"
    """One also tries the ports that the other's NAT gives out next."""
    BIRTHDAY = "birthday"
    """One opens many sockets, the other probes many random ports."""
    IMPOSSIBLE = "impossible"
    """No method has a fair chance: the pair stays on the relay."""


@dataclass(frozen=True, slots=True)
class NatBehavior:
    """What is known of the NATs between a host and the internet, for one family.

    ``None`` and ``UNKNOWN`` mean that it could not be measured, never a guess.
    """

    reachable: bool = False
    """Whether any server answered over UDP."""
    public: Endpoint | None = None
    """The node's socket as the internet sees it; with an address- or port-dependent
    mapping only the server that was asked sees it so."""
    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    port_preserving: bool | None = None
    port_allocation: PortAllocation = PortAllocation.UNKNOWN
    port_delta: int | None = None
    """The step of a sequential allocation."""
    hairpinning: bool | None = None
    """Whether hosts behind the NAT reach each other by their public endpoints."""
    lifetime: float | None = None
    """Seconds after which an idle mapping is certainly still there."""
    blocked: bool = False
    """Whether servers were asked and none answered."""
    varies: bool = False
    """Whether the public endpoint was seen to differ by destination. It may be known
    that it does and not on what it depends: then ``mapping`` is unknown."""

    @property
    def type(self) -> NatType:
        """The classic name."""
        if self.blocked:
            return NatType.UDP_BLOCKED
        if self.mapping is Mapping.NONE:
            return _WITHOUT_NAT[self.filtering]
        if self.mapping is Mapping.ENDPOINT_INDEPENDENT:
            return _CONES[self.filtering]
        if self.mapping is Mapping.UNKNOWN and not self.varies:
            return NatType.UNKNOWN
        return NatType.SYMMETRIC

    @property
    def is_endpoint_known(self) -> bool:
        """Whether every peer sees the socket at the endpoint a server told."""
        return self.mapping in (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT)

    def to_json(self) -> dict[str, Any]:
        """Return the NAT object of ``meshwg netcheck --json``."""
        return {
            "reachable": self.reachable,
            "public": None if self.public is None else str(self.public),
            "mapping": self.mapping.value,
            "filtering": self.filtering.value,
            "type": self.type.value,
            "port_preserving": self.port_preserving,
            "port_allocation": self.port_allocation.value,
            "port_delta": self.port_delta,
            "hairpinning": self.hairpinning,
            "lifetime_s": self.lifetime,
        }


def easiest_punch(one: NatBehavior, other: NatBehavior) -> Punch:
    """Return the least effort that should connect two peers directly.

    What is unknown counts as plain: a NAT report orders attempts, it never forbids
    them (RFC 5780 section 4.1: results may change at any time).
    """
    if one.blocked or other.blocked:
        return Punch.IMPOSSIBLE
    if Mapping.UNKNOWN in (one.mapping, other.mapping):
        return Punch.PLAIN
    known = one.is_endpoint_known, other.is_endpoint_known
    if _either_accepts(one, other, known):
        return Punch.PLAIN
    sequential = tuple(
        is_known or nat.port_allocation is PortAllocation.SEQUENTIAL
        for nat, is_known in zip((one, other), known, strict=True)
    )
    if all(sequential):
        return Punch.PREDICTION
    if any(known) or _filters_by_address_only(one, other, known):
        return Punch.BIRTHDAY
    return Punch.IMPOSSIBLE


def _either_accepts(
    one: NatBehavior, other: NatBehavior, known: tuple[bool, bool]
) -> bool:
    """Tell whether one side lets the other in; that one learns the rest from it."""
    return all(known) or any(
        nat.filtering in (Filtering.ENDPOINT_INDEPENDENT, Filtering.UNKNOWN)
        or (nat.filtering is Filtering.ADDRESS_DEPENDENT and is_known)
        for nat, is_known in zip((one, other), known, strict=True)
    )


def _filters_by_address_only(
    one: NatBehavior, other: NatBehavior, known: tuple[bool, bool]
) -> bool:
    return any(
        nat.filtering is Filtering.ADDRESS_DEPENDENT and not is_known
        for nat, is_known in zip((one, other), known, strict=True)
    )


_WITHOUT_NAT = {
    Filtering.ENDPOINT_INDEPENDENT: NatType.OPEN_INTERNET,
    Filtering.ADDRESS_DEPENDENT: NatType.SYMMETRIC_UDP_FIREWALL,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: NatType.SYMMETRIC_UDP_FIREWALL,
    Filtering.UNKNOWN: NatType.UNKNOWN,
}
_CONES = {
    Filtering.ENDPOINT_INDEPENDENT: NatType.FULL_CONE,
    Filtering.ADDRESS_DEPENDENT: NatType.RESTRICTED_CONE,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: NatType.PORT_RESTRICTED_CONE,
    Filtering.UNKNOWN: NatType.UNKNOWN,
}
