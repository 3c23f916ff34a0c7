"""Rendezvous: where an offer goes, between nodes that may see each other.

An offer is never stored. It reaches a connection of this coordinator, or the process
that holds the peer's connection, or it is refused at once.
"""

from dataclasses import dataclass, replace

from coordinator.mesh.registry import Registry
from meshwg.errors import InvalidMessage
from meshwg.wire.control import (
    MAX_OFFER,
    Error,
    ErrorCode,
    OfferMessage,
    decode_from_coordinator,
    pack,
    to_json,
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where an offer goes."""

    to: str
    """Public key."""
    home: str
    """The coordinator process that is connected to it."""
    text: bytes
    """The offer as JSON, with its sender set by the coordinator."""

    @property
    def payload(self) -> bytes:
        return pack(self.text)


def route(
    registry: Registry, sender: str, offer: OfferMessage, observed: str | None = None
) -> Delivery | Error:
    """Decide where a node's offer goes, or why it goes nowhere.

    :param observed: the address that the sender's connection comes from.
    """
    encoded = to_json(replace(offer, sender=sender, observed=observed))
    if len(encoded) > MAX_OFFER:
        return _refuse(
            offer, ErrorCode.TOO_LARGE, f"An offer has at most {MAX_OFFER} bytes"
        )
    source, target = registry.nodes.get(sender), registry.nodes.get(offer.to)
    if source is None or target is None or not registry.may_see(source, target):
        return _refuse(offer, ErrorCode.UNKNOWN_PEER, "There is no such peer")
    if not target.online:
        return _refuse(offer, ErrorCode.PEER_OFFLINE, f"{target.name} is offline")
    return Delivery(offer.to, target.home, encoded)


def read_forwarded(text: bytes) -> Delivery | None:
    """Return the offer that another coordinator process has passed on."""
    try:
        offer = decode_from_coordinator(b"\x00" + text)
    except InvalidMessage:
        return None
    if not isinstance(offer, OfferMessage) or offer.sender is None:
        return None
    return Delivery(offer.to, "", text)


def _refuse(offer: OfferMessage, code: ErrorCode, message: str) -> Error:
    return Error(code=code, message=message, to=offer.to)
