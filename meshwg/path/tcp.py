"""Where a node accepts streams, and when two nodes can have one between them.

A stream is opened in one of two ways. Where one side is *reachable* over TCP, the other
connects to it. Else both connect to each other at the same moment, each to where the
other's NAT maps its port (simultaneous open, RFC 5128 section 3.4, RFC 6544): that
needs mappings of TCP that do not depend on the destination.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from meshwg.nattypes import Mapping as NatMapping
from meshwg.path.candidate import (
    Candidate,
    CandidateKind,
    admit_candidates,
    is_private,
)
from meshwg.path.overlay import IPAddress

TARGETS = 6
"""Addresses of a peer that are dialled in one attempt."""

_HARD = (NatMapping.ADDRESS_DEPENDENT, NatMapping.ADDRESS_AND_PORT_DEPENDENT)
_ORDER = (CandidateKind.PORT_MAPPED, CandidateKind.REFLEXIVE, CandidateKind.HOST)


@dataclass(frozen=True, slots=True)
class TcpTraits:
    """What a node says of itself over TCP."""

    candidates: tuple[Candidate, ...] = ()
    mapping: NatMapping = NatMapping.UNKNOWN
    """Of TCP by the NAT, for IPv4; unknown until a server was asked."""

    @property
    def is_hard(self) -> bool:
        """Whether each destination sees another public endpoint."""
        return self.mapping in _HARD

    @property
    def is_open(self) -> bool:
        """Whether others may get through without this node's doing."""
        return self.mapping is NatMapping.NONE or any(
            candidate.kind is CandidateKind.PORT_MAPPED
            or (candidate.kind is CandidateKind.HOST and not is_private(candidate.host))
            for candidate in self.candidates
        )

    def to_extension(self) -> dict[str, object]:
        """Return what the extension of an offer says of this."""
        return {
            "candidates": [
                {"kind": each.kind.value, "host": each.host, "port": each.port}
                for each in self.candidates
            ],
            "mapping": self.mapping.value,
        }


@dataclass(frozen=True, slots=True)
class _Claimed:
    kind: object
    host: object
    port: object


@dataclass(frozen=True, slots=True)
class TcpOffer:
    """What an offer says about TCP: the sender, and perhaps a step of an attempt."""

    traits: TcpTraits = field(default_factory=TcpTraits)
    step: Mapping[str, object] | None = None
    """See :mod:`meshwg.path.dialer`."""


@dataclass(frozen=True, slots=True)
class TcpState:
    """Where the attempts to open a stream stand."""

    is_dialling: bool = False
    is_untried: bool = False
    """Whether an attempt may help, and there was none yet."""
    hindrance: str | None = None
    """Why there is no stream, as part of a sentence."""


NOTHING_TRIED = TcpState()


def from_extension(raw: object, overlay: Container[IPAddress] = ()) -> TcpOffer | None:
    """Return what an extension says; ``None`` of a sender that knows no such paths."""
    if not isinstance(raw, Mapping):
        return None
    listed, word, step = raw.get("candidates"), raw.get("mapping"), raw.get("step")
    claims = [
        _Claimed(each.get("kind"), each.get("host"), each.get("port"))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping)
    ]
    admitted, _ = admit_candidates(claims, overlay)
    usable = tuple(each for each in admitted if each.kind in _ORDER)
    known = isinstance(word, str) and word in _MAPPINGS
    mapping = NatMapping(word) if known else NatMapping.UNKNOWN
    return TcpOffer(
        TcpTraits(usable, mapping), step if isinstance(step, Mapping) else None
    )


_MAPPINGS = frozenset(each.value for each in NatMapping)


def is_hopeless(own: TcpTraits, peer: TcpTraits) -> bool:
    """Tell whether no stream can be opened; what is unknown may help."""
    if not (own.is_hard or peer.is_hard):
        return False
    return not (own.is_open or peer.is_open)


def targets(own: TcpTraits, peer: TcpTraits) -> list[Candidate]:
    """Return where to dial: addresses that this node has the IP version for.

    The likeliest come first, those of private networks last.
    """
    own_addresses = {(each.host, each.port) for each in own.candidates}
    versions = {":" in each.host for each in own.candidates} or {False, True}
    usable = [
        each
        for each in peer.candidates
        if (":" in each.host) in versions
        and (each.host, each.port) not in own_addresses
    ]
    usable.sort(key=lambda each: (is_private(each.host), _ORDER.index(each.kind)))
    return usable[:TARGETS]
