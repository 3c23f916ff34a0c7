"""A plain WireGuard peer that no coordinator tells of, as one value."""

from dataclasses import dataclass

from meshwg.transmit import Endpoint


@dataclass(frozen=True, slots=True)
class StaticPeer:
    """A key, where it is, and what is behind it."""

    name: str
    public_key: str
    """Base64."""
    endpoint: Endpoint
    """Where it is until it is heard from elsewhere."""
    networks: tuple[str, ...]
