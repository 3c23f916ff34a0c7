"""The offers that the coordinator may not have got, because its connection died."""

from meshwg.wire.control import OfferMessage

LIFETIME = 10.0
"""Seconds after which an offer is too old to be sent again."""
MOST_PEERS = 64
"""Peers whose last offers are remembered."""


class OfferMemory:
    """The last offer to each peer, until it is known to have arrived."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[float, OfferMessage]] = {}

    def note(self, offer: OfferMessage, now: float) -> None:
        """Remember an offer in place of the one before to the same peer."""
        self._sent.pop(offer.to, None)
        self._sent[offer.to] = now, offer
        while len(self._sent) > MOST_PEERS:
            del self._sent[next(iter(self._sent))]

    def arrived(self, until: float) -> None:
        """Forget what was sent until then: the coordinator has it."""
        self._sent = {
            to: (at, offer) for to, (at, offer) in self._sent.items() if at > until
        }

    def take(self, before: float, now: float) -> list[OfferMessage]:
        """Return what was sent before a moment, unless it is too old; forget all."""
        sent, self._sent = self._sent, {}
        return [
            offer for at, offer in sent.values() if now - LIFETIME < at and at < before
        ]
