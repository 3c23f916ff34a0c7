"""What the control client tells its node."""

from dataclasses import dataclass

from meshwg.wire.control import (
    Error,
    LeaseAnswer,
    OfferMessage,
    PeerEntry,
    Registered,
    Relay,
)


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """Base class of the events."""


@dataclass(frozen=True, slots=True)
class Accepted(ControlEvent):
    """The coordinator has accepted this node, for the first time or again."""

    registered: Registered
    """Name, addresses, networks, STUN servers and relays as they are now."""


@dataclass(frozen=True, slots=True)
class PeersChanged(ControlEvent):
    """Peers came, changed or went. The node itself is never among them."""

    changed: tuple[PeerEntry, ...]
    """New peers, and known ones that differ from before."""
    removed: tuple[str, ...]
    """Public keys of peers that are no longer members: drop their sessions."""
    is_ahead: bool = False
    """The classes of these peers are of a policy that is in force after
    :class:`PolicyChanged`."""


@dataclass(frozen=True, slots=True)
class SelfChanged(ControlEvent):
    """The node's own name or addresses changed, for example by ``node rename``."""

    itself: PeerEntry


@dataclass(frozen=True, slots=True)
class PolicyChanged(ControlEvent):
    """Who may reach what has changed: see the client's policy."""


@dataclass(frozen=True, slots=True)
class ApprovalsChanged(ControlEvent):
    """Something became of what this node offers: see the client's approvals."""


@dataclass(frozen=True, slots=True)
class RecordsChanged(ControlEvent):
    """Records of the mesh's zone came, or went."""


@dataclass(frozen=True, slots=True)
class LeaseAnswered(ControlEvent):
    """It is known what came of the use of a lease."""

    answer: LeaseAnswer


@dataclass(frozen=True, slots=True)
class OfferReceived(ControlEvent):
    """A peer wants to look for a path; :attr:`OfferMessage.sender` says which."""

    offer: OfferMessage


@dataclass(frozen=True, slots=True)
class RelaysChanged(ControlEvent):
    """Relays or their credentials changed while connected."""

    relays: tuple[Relay, ...]


@dataclass(frozen=True, slots=True)
class AuthorityChanged(ControlEvent):
    """The coordinator is known by other keys: remember them."""

    key: bytes
    former: bytes | None
    """Also good until the other has been proved; ``None`` if that is so."""


@dataclass(frozen=True, slots=True)
class CoordinatorsChanged(ControlEvent):
    """The coordinators of the mesh are at other URLs: remember them."""

    urls: tuple[str, ...]
    """The one that this node is connected to in front."""


@dataclass(frozen=True, slots=True)
class OfferRefused(ControlEvent):
    """The coordinator did not pass an offer on."""

    peer: str
    error: Error


@dataclass(frozen=True, slots=True)
class Refused(ControlEvent):
    """The coordinator refused this node for good; trying again would not help."""

    error: Error


@dataclass(frozen=True, slots=True)
class MembershipRevoked(ControlEvent):
    """This node is no longer a member: drop all peers and forget the netmap."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnected(ControlEvent):
    """The coordinator cannot be reached; sessions and paths go on without it."""

    reason: str
