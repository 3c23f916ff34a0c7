"""The channels of relays, by whom they lead to and by their numbers."""

from meshwg.transmit import Endpoint


class ChannelTable:
    """The channels through which endpoints are reached, both ways.

    A relay has each number once, so it is that of the peer that got it last.

    :ivar ways: the relay and the number of an endpoint's channel.
    :ivar relays: the endpoints of a relay's numbers, by its host and port.
    """

    __slots__ = ("relays", "ways")

    def __init__(self) -> None:
        self.ways: dict[Endpoint, tuple[Endpoint, int]] = {}
        self.relays: dict[tuple[str, int], dict[int, Endpoint]] = {}

    def put(self, peer: Endpoint, server: Endpoint, number: int) -> None:
        """Reach an endpoint by this channel, and by no other one."""
        self.remove(peer)
        numbers = self.relays.setdefault(server[:2], {})
        former = numbers.get(number)
        if former is not None:
            del self.ways[former]
        numbers[number] = peer
        self.ways[peer] = server, number

    def remove(self, peer: Endpoint) -> None:
        """Reach an endpoint by no channel."""
        known = self.ways.pop(peer, None)
        if known is None:
            return
        server, number = known
        numbers = self.relays[server[:2]]
        del numbers[number]
        if not numbers:
            del self.relays[server[:2]]
