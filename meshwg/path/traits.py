"""What matters of a NAT for punching, one's own or a peer's.

A word that is not understood reads as unknown: traits only ever decide what is tried
next, never whether anything is tried at all.
"""

from dataclasses import dataclass
from typing import TypeVar

from meshwg.nattypes import Filtering, Mapping, NatType, PortAllocation
from meshwg.wire import control

DELTA_LIMIT = 16
"""A larger step between ports is not a sequence that anyone could follow."""


@dataclass(frozen=True, slots=True)
class NatTraits:
    """The NAT in front of a node, for one address family."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    allocation: PortAllocation = PortAllocation.UNKNOWN
    delta: int | None = None
    """The step between ports of a sequential allocation; it may be negative."""
    blocked: bool = False
    """UDP does not get through at all."""

    @property
    def is_hard(self) -> bool:
        """Whether each destination sees another public endpoint (symmetric NAT)."""
        return self.mapping in (
            Mapping.ADDRESS_DEPENDENT,
            Mapping.ADDRESS_AND_PORT_DEPENDENT,
        )

    @property
    def is_sequential(self) -> bool:
        """Whether the next public port can be predicted from the last ones."""
        return self.allocation is PortAllocation.SEQUENTIAL and bool(self.delta)

    def to_message(self) -> control.ReportedNat:
        """Return the part of an offer that carries this."""
        kind = NatType.UDP_BLOCKED if self.blocked else NatType.UNKNOWN
        return control.ReportedNat(
            mapping=self.mapping.value,
            filtering=self.filtering.value,
            type=kind.value,
            port_allocation=self.allocation.value,
            port_delta=self.delta,
        )

    @classmethod
    def from_message(cls, nat: control.ReportedNat | None) -> "NatTraits":
        """Return what matters of a reported NAT; ``None`` says nothing."""
        if nat is None:
            return cls()
        return cls(
            _member(Mapping.UNKNOWN, nat.mapping),
            _member(Filtering.UNKNOWN, nat.filtering),
            _member(PortAllocation.UNKNOWN, nat.port_allocation),
            followable(nat.port_delta),
            nat.type == NatType.UDP_BLOCKED.value,
        )


def followable(delta: int | None) -> int | None:
    """Return the step between ports if it is one that can be followed."""
    return delta if delta is not None and 0 < abs(delta) <= DELTA_LIMIT else None


_E = TypeVar("_E", Mapping, Filtering, PortAllocation)


def _member(unknown: _E, word: str) -> _E:
    try:
        return type(unknown)(word)
    except ValueError:
        return unknown
