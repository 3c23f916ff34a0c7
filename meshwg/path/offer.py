"""What one node tells another through the coordinator: here I am, let us meet.

:class:`Offer` is what path agents speak of; :func:`to_message` and :func:`from_message`
are the only places that know how the control message carries it. Number, candidates
and NAT are fields of that message; the rest travels in its ``extension``, which the
coordinator does not read.

Everything that a peer says is a claim. What is missing or malformed in its offer reads
as empty, and a candidate that leads nowhere is left out and counted.
"""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwg.path.candidate import Candidate, Rejection, admit_candidates
from meshwg.path.overlay import IPAddress
from meshwg.path.tcp import TcpOffer, from_extension
from meshwg.path.traits import NatTraits
from meshwg.path.tunnels import LIMIT as TUNNEL_LIMIT
from meshwg.path.veil import TAGS, is_tag
from meshwg.wire import control

SESSION_LIMIT = 64
"""Characters of a session's name that are compared."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer, made or received."""

    sequence: int
    """Grows with each offer of a session."""
    candidates: tuple[Candidate, ...] = ()
    nat: NatTraits = field(default_factory=NatTraits)
    """The NAT for IPv4; there is hardly any for IPv6."""
    session: str = ""
    """Chosen when the sender started; sequence numbers begin again with it."""
    answer: bool = False
    """Whether this answers an offer, so that it needs no answer itself."""
    trouble: bool = False
    """Whether the sender's network changed, or the direct path fails it: until checks
    are answered again, the receiver should not rely on that path either."""
    punch: Mapping[str, object] | None = None
    """A step of prediction or birthday: see :mod:`meshwg.path.puncher`."""
    tcp: TcpOffer | None = None
    """Where the sender accepts streams, ``None`` if nowhere."""
    tunnels: tuple[str, ...] = ()
    """Those of the addresses that the sender has in other tunnels."""
    tags: tuple[str, ...] = ()
    """Which the receiver's checks are to have, one after the other."""


def to_message(offer: Offer, peer: str) -> control.OfferMessage:
    """Return the control message that carries an offer.

    :param peer: the public key of the addressee.
    """
    extension: dict[str, Any] = {"session": offer.session}
    if offer.answer:
        extension["answer"] = True
    if offer.trouble:
        extension["trouble"] = True
    if offer.punch is not None:
        extension["punch"] = dict(offer.punch)
    if offer.tcp is not None:
        extension["tcp"] = offer.tcp.traits.to_extension()
        if offer.tcp.step is not None:
            extension["tcp"]["step"] = dict(offer.tcp.step)
    if offer.tags:
        extension["tags"] = list(offer.tags)
    if offer.tunnels:
        extension["tunnels"] = list(offer.tunnels)
    return control.OfferMessage(
        to=peer,
        sequence=offer.sequence,
        candidates=tuple(candidate.to_message() for candidate in offer.candidates),
        nat=control.NatReport(ipv4=offer.nat.to_message()),
        extension=extension,
    )


def from_message(
    message: control.OfferMessage, overlay: Container[IPAddress] = ()
) -> tuple[Offer, Counter[Rejection]]:
    """Return the offer in a control message, and why candidates are left out.

    :param overlay: what is reached through the mesh, and leads to no candidate.
    """
    candidates, rejections = admit_candidates(message.candidates, overlay)
    extension = message.extension
    session, punch = extension.get("session"), extension.get("punch")
    offer = Offer(
        message.sequence,
        tuple(candidates),
        NatTraits.from_message(message.nat.ipv4 if message.nat else None),
        session[:SESSION_LIMIT] if isinstance(session, str) else "",
        answer=extension.get("answer") is True,
        trouble=extension.get("trouble") is True,
        punch=punch if isinstance(punch, Mapping) else None,
        tcp=from_extension(extension.get("tcp"), overlay),
        tunnels=_hosts(extension.get("tunnels")),
        tags=_tags(extension.get("tags")),
    )
    return offer, rejections


def _tags(raw: object) -> tuple[str, ...]:
    listed = raw[:TAGS] if isinstance(raw, list) else []
    return tuple(each for each in listed if is_tag(each))


def _hosts(raw: object) -> tuple[str, ...]:
    listed = raw[:TUNNEL_LIMIT] if isinstance(raw, list) else []
    return tuple(host for host in listed if isinstance(host, str))
