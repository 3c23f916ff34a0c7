"""Candidates: the addresses at which a peer may be reached (RFC 8445 section 5.1).

What a peer offers is a claim, not a fact. :func:`admit_candidates` lets through only
addresses that could belong to another machine, and only a few of them; whether one is
the peer's own shows when a check to it is answered.

A machine may have hundreds of addresses of its own, on bridges for containers mostly,
but hardly more than one of any other kind, and that one may be the only one that leads
to it. So wherever there is a limit, host candidates are what is left out.
"""

import ipaddress
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from meshwg.path.overlay import IPAddress
from meshwg.transmit import Endpoint
from meshwg.wire import control

CANDIDATE_LIMIT = 16
"""Candidates of one offer that are used; the rest are counted and ignored."""

OFFER_LIMIT = 64
"""Candidates of one offer that are looked at."""


class CandidateKind(StrEnum):
    """How an address became known; the values are those of ``meshwg status``."""

    HOST = "host"
    """An address of one of the node's own interfaces."""
    PORT_MAPPED = "port-mapped"
    """Opened in the router by PCP, NAT-PMP or UPnP."""
    REFLEXIVE = "reflexive"
    """As a STUN server saw it."""
    PEER_REFLEXIVE = "peer-reflexive"
    """As the peer saw it: the source of an authentic packet."""
    PREDICTED = "predicted"
    """A port guessed from those that a sequential NAT gave out before."""
    BIRTHDAY = "birthday"
    """A port found by many sockets on one side and many probes from the other."""
    TCP = "tcp"
    """A stream between the two nodes, where datagrams do not get through."""
    RELAYED = "relay"
    """An address on a relay, which passes on what arrives there."""

    @property
    def preference(self) -> int:
        """How much the kind is preferred; more is better (RFC 8445 section 5.1.2.2)."""
        return _PREFERENCE[self]


_PREFERENCE = {
    CandidateKind.HOST: 5,
    CandidateKind.PORT_MAPPED: 4,
    CandidateKind.REFLEXIVE: 3,
    CandidateKind.PEER_REFLEXIVE: 3,
    CandidateKind.PREDICTED: 2,
    CandidateKind.BIRTHDAY: 2,
    CandidateKind.TCP: 1,
    CandidateKind.RELAYED: 0,
}

OFFERED_KINDS = (
    CandidateKind.HOST,
    CandidateKind.PORT_MAPPED,
    CandidateKind.REFLEXIVE,
    CandidateKind.RELAYED,
)
"""What a node can know about itself; the other kinds arise between two nodes."""


class Rejection(StrEnum):
    """Why an offered candidate is not used."""

    MALFORMED = "candidate-malformed"
    """Not an address and a port, or of a kind that nobody can know of itself."""
    PORT_ZERO = "candidate-port-zero"
    LOOPBACK = "candidate-loopback"
    UNSPECIFIED = "candidate-unspecified"
    """``0.0.0.0`` or ``::``."""
    MULTICAST = "candidate-multicast"
    """A multicast address, or the limited broadcast address."""
    LINK_LOCAL = "candidate-link-local"
    """A link-local address: which link it is on, only its owner knows."""
    MESH = "candidate-inside-mesh"
    """An address that is reached through the mesh."""
    RESERVED = "candidate-reserved"
    """An address from a reserved range."""
    EXCESS = "candidate-excess"
    """One of more candidates than are used."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address of a node, with how it became known."""

    kind: CandidateKind
    host: str
    port: int

    @property
    def endpoint(self) -> Endpoint:
        """Where a check for this candidate goes."""
        return Endpoint(self.host, self.port)

    def to_message(self) -> control.ReportedCandidate:
        """Return the part of a control message that carries this."""
        return control.ReportedCandidate(
            kind=self.kind.value, host=self.host, port=self.port
        )


class Claim(Protocol):
    """What somebody says is a candidate; its values may be of any type."""

    @property
    def kind(self) -> object: ...

    @property
    def host(self) -> object: ...

    @property
    def port(self) -> object: ...


def admit_candidates(
    claims: Sequence[Claim], overlay: Container[IPAddress] = ()
) -> tuple[list[Candidate], Counter[Rejection]]:
    """Return the usable candidates of an offer, each once, and why others are not.

    :param overlay: what is reached through the mesh, and leads to no candidate.
    """
    rejections: Counter[Rejection] = Counter()
    usable: dict[Candidate, None] = {}
    for claim in _without_excess(claims, OFFER_LIMIT):
        outcome = _judge(claim, overlay)
        if isinstance(outcome, Rejection):
            rejections[outcome] += 1
        else:
            usable[outcome] = None
    admitted = _without_excess(list(usable), CANDIDATE_LIMIT)
    excess = max(0, len(claims) - OFFER_LIMIT) + len(usable) - len(admitted)
    if excess:
        rejections[Rejection.EXCESS] += excess
    return admitted, rejections


def offerable(
    candidates: Iterable[Candidate], overlay: Container[IPAddress] = ()
) -> tuple[Candidate, ...]:
    """Return those of the node's own candidates that a peer would accept, in order."""
    likely = sorted(candidates, key=lambda c: -c.kind.preference)
    return tuple(admit_candidates(likely, overlay)[0])


def is_usable_host(host: str) -> bool:
    """Tell whether a text is an address of another machine."""
    try:
        return _unusable(_plain(ipaddress.ip_address(host)), ()) is None
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Tell whether an address means something only inside the user's own network."""
    address = ipaddress.ip_address(host)
    return any(
        address.version == network.version and address in network
        for network in _PRIVATE
    )


_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)


_C = TypeVar("_C", bound=Claim)


def _without_excess(claims: Sequence[_C], limit: int) -> list[_C]:
    """Return at most so many, in their order: the last host candidates go first."""
    if len(claims) <= limit:
        return list(claims)
    is_host = [claim.kind == CandidateKind.HOST for claim in claims]
    others = [n for n, host in enumerate(is_host) if not host][:limit]
    hosts = [n for n, host in enumerate(is_host) if host][: limit - len(others)]
    return [claims[n] for n in sorted(others + hosts)]


def _judge(claim: Claim, overlay: Container[IPAddress]) -> Candidate | Rejection:
    kind, host, port = claim.kind, claim.host, claim.port
    if not isinstance(kind, str) or kind not in OFFERED_KINDS:
        return Rejection.MALFORMED
    if not isinstance(host, str) or len(host) > 64:
        return Rejection.MALFORMED
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 65536:
        return Rejection.MALFORMED
    try:
        address = _plain(ipaddress.ip_address(host))
    except ValueError:
        return Rejection.MALFORMED
    reason = Rejection.PORT_ZERO if port == 0 else _unusable(address, overlay)
    return reason or Candidate(CandidateKind(kind), str(address), port)


def _plain(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside an IPv4-mapped one: filters must see it."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _unusable(address: IPAddress, overlay: Container[IPAddress]) -> Rejection | None:
    """Return why no other machine can be reached at an address.

    A zone is a name of the sender's own interfaces, so a link-local address means
    nothing to the receiver, with or without one.
    """
    if address.is_unspecified:
        return Rejection.UNSPECIFIED
    if address.is_loopback:
        return Rejection.LOOPBACK
    if address.is_multicast or address == _BROADCAST:
        return Rejection.MULTICAST
    if address.is_link_local:
        return Rejection.LINK_LOCAL
    if address in overlay:
        return Rejection.MESH
    if any(address.version == net.version and address in net for net in _RESERVED):
        return Rejection.RESERVED
    return None


_BROADCAST = ipaddress.ip_address("255.255.255.255")
_RESERVED = tuple(
    ipaddress.ip_network(text) for text in ("0.0.0.0/8", "240.0.0.0/4", "::/96")
)
