"""How a NAT behaves, in the words of RFC 4787 and RFC 5780, and what people call it.

Two properties say it all. *Mapping*: does one socket keep one public endpoint for all
destinations? *Filtering*: who may send to that endpoint? The classic names of RFC 3489
follow from them; people know those better.
"""

from dataclasses import dataclass, field
from typing import Any

from meshwg.nattypes import Difficulty, Filtering, Mapping, NatType, PortAllocation
from meshwg.transmit import Endpoint


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
    agrees: bool = field(default=False, compare=False)
    """Whether two destinations saw the same public endpoint. They may be two ports of
    one server: then ``mapping`` is unknown, and most likely independent of both."""

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
    def difficulty(self) -> Difficulty:
        """What people want to know first; one server with two ports suffices."""
        if self.mapping is Mapping.NONE:
            return Difficulty.NONE
        if self.type is NatType.SYMMETRIC:
            return Difficulty.HARD
        if self.mapping is Mapping.ENDPOINT_INDEPENDENT or self.agrees:
            return Difficulty.EASY
        return Difficulty.UNKNOWN

    @property
    def is_endpoint_known(self) -> bool:
        """Whether every peer sees the socket at the endpoint that a server saw."""
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
