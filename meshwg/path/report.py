"""What a node says about the NAT in front of it, and how nodes offer themselves.

:class:`NatReport` mirrors the JSON object *NAT* of ``meshwg netcheck``, as far as it
matters for punching. A value that is not understood reads as unknown: a report only
ever decides what is tried next, never whether anything is tried at all.
"""

from collections import Counter
from collections.abc import Container
from collections.abc import Mapping as JsonObject
from dataclasses import dataclass
from typing import TypeVar

from meshwg.errors import InvalidMessage
from meshwg.nattypes import Filtering, Mapping, NatType, PortAllocation
from meshwg.path.candidate import (
    Candidate,
    Rejection,
    parse_candidates,
)
from meshwg.path.overlay import IPAddress

_E = TypeVar("_E", Mapping, Filtering, PortAllocation)
_BLOCKED = NatType.UDP_BLOCKED.value

SESSION_LIMIT = 64
"""Characters of a session's name that are compared."""

DELTA_LIMIT = 16
"""A larger step between ports is not a sequence that anyone could follow."""


@dataclass(frozen=True, slots=True)
class NatReport:
    """The NAT in front of a node, for one address family."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    allocation: PortAllocation = PortAllocation.UNKNOWN
    delta: int | None = None
    """The step between ports of a sequential allocation; it may be negative."""
    blocked: bool = False
    """UDP does not get through at all."""

    @classmethod
    def from_json(cls, raw: object) -> "NatReport":
        """Return the report in a JSON object; anything else says nothing."""
        if not isinstance(raw, JsonObject):
            return cls()
        return cls(
            _member(Mapping.UNKNOWN, raw.get("mapping")),
            _member(Filtering.UNKNOWN, raw.get("filtering")),
            _member(PortAllocation.UNKNOWN, raw.get("port_allocation")),
            _delta(raw.get("port_delta")),
            raw.get("type") == _BLOCKED,
        )

    def to_json(self) -> dict[str, object]:
        """Return the report as the JSON object that it mirrors, as far as it does."""
        report: dict[str, object] = {
            "mapping": self.mapping.value,
            "filtering": self.filtering.value,
            "port_allocation": self.allocation.value,
            "port_delta": self.delta,
        }
        return {**report, "type": _BLOCKED} if self.blocked else report

    @property
    def is_hard(self) -> bool:
        """Whether each destination sees another public endpoint (symmetric NAT)."""
        return self.mapping in (
            Mapping.ADDRESS_DEPENDENT,
            Mapping.ADDRESS_AND_PORT_DEPENDENT,
        )

    @property
    def is_sequential(self) -> bool:
        """Whether the next public port can be told from the last ones."""
        return self.allocation is PortAllocation.SEQUENTIAL and bool(self.delta)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one node tells another through the coordinator: here I am, let us meet.

    Sequence, candidates and NAT are fields of the control message; the rest travels in
    its ``extension``, which the coordinator does not read.
    """

    sequence: int
    candidates: tuple[Candidate, ...] = ()
    nat: NatReport = NatReport()
    """The NAT for IPv4; there is hardly any for IPv6."""
    session: str = ""
    """Chosen when the sender started; sequence numbers begin again with it."""
    answer: bool = False
    """Whether this answers an offer, so that it needs no answer itself."""
    trouble: bool = False
    """Whether the sender's network changed, or the direct path fails it: until checks
    are answered again, the receiver should not rely on that path either."""
    punch: JsonObject[str, object] | None = None
    """A step of prediction or birthday: see :mod:`meshwg.path.puncher`."""

    def to_json(self) -> dict[str, object]:
        """Return the fields of the control message, but for the addressee."""
        extension: dict[str, object] = {"session": self.session}
        if self.answer:
            extension["answer"] = True
        if self.trouble:
            extension["trouble"] = True
        if self.punch is not None:
            extension["punch"] = dict(self.punch)
        return {
            "sequence": self.sequence,
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "nat": {"ipv4": self.nat.to_json()},
            "extension": extension,
        }

    @classmethod
    def from_json(
        cls, raw: JsonObject[str, object], overlay: Container[IPAddress] = ()
    ) -> "tuple[Offer, Counter[Rejection]]":
        """Return a received offer, and why some of its candidates are left out.

        What is missing or malformed reads as empty.

        :raises InvalidMessage: if there is no sequence number.
        """
        sequence = raw.get("sequence")
        if not isinstance(sequence, int) or isinstance(sequence, bool):
            raise InvalidMessage("An offer has no sequence number")
        candidates, rejections = parse_candidates(raw.get("candidates"), overlay)
        nat, extension = raw.get("nat"), raw.get("extension")
        ipv4 = nat.get("ipv4") if isinstance(nat, JsonObject) else None
        if not isinstance(extension, JsonObject):
            extension = {}
        session, punch = extension.get("session"), extension.get("punch")
        offer = cls(
            sequence,
            tuple(candidates),
            NatReport.from_json(ipv4),
            session[:SESSION_LIMIT] if isinstance(session, str) else "",
            extension.get("answer") is True,
            extension.get("trouble") is True,
            punch if isinstance(punch, JsonObject) else None,
        )
        return offer, rejections


def _member(unknown: _E, value: object) -> _E:
    try:
        return type(unknown)(value)
    except ValueError:
        return unknown


def _delta(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 < abs(value) <= DELTA_LIMIT else None
