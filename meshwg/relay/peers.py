"""The peers of one allocation: their channels and permissions, and when to renew them.

A peer that is *open*, or was used lately, keeps its channel: it is bound again long
before it runs out, also if this side only receives and would not notice. Every bind
renews the permission for the peer's address too. A peer without a channel has just the
permission, and each packet to it is an indication.

A channel number outlives its channel: for five minutes after it ran out, neither the
number nor the peer may be paired otherwise (RFC 8656 section 12). So the record of a
peer stays until then, and its number returns with it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from meshwg.transmit import Endpoint
from meshwg.wire.channeldata import FIRST_CHANNEL, LAST_CHANNEL

CHANNEL_LIFETIME = 600.0
PERMISSION_LIFETIME = 300.0
CHANNEL_REST = 300.0
IDLE_AFTER = 180.0
"""Seconds after which a peer that is not open counts as unused."""
RETRY_AFTER = 30.0
"""Seconds until a request for a peer that was refused is tried again."""
MAX_REBINDS = 3
"""How many other channel numbers are tried for a peer before waiting."""
EXPIRY_MARGIN = 10.0
"""Seconds by which a channel is trusted for less than its lifetime."""


@dataclass(slots=True, eq=False)
class RelayPeer:
    """A peer behind the relay."""

    address: Endpoint
    tagged: Endpoint
    """The same as the rest of the node sees it: reached over the relay's link."""
    channel: int | None
    is_open: bool = False
    bound_until: float = 0.0
    """Until when packets may go over the channel."""
    permitted_until: float = 0.0
    due_at: float = 0.0
    """When to renew the peer's channel, or to see whether it is still used."""
    used_at: float = 0.0
    is_asking: bool = False
    """Whether a request for it waits for its answer."""
    rebinds: int = 0
    refusal: str | None = None
    """Why the relay does not relay to this peer."""

    def is_used(self, now: float) -> bool:
        """Tell whether channel and permission have to be kept."""
        return self.is_open or now - self.used_at < IDLE_AFTER

    def is_ready(self, now: float) -> bool:
        """Tell whether the relay has what the peer needs."""
        until = self.permitted_until if self.channel is None else self.bound_until
        return until > now

    @property
    def gone_at(self) -> float:
        """When the relay has certainly forgotten the peer."""
        return self.bound_until + CHANNEL_REST + EXPIRY_MARGIN


class Peers:
    """The peers of one allocation, by address and by channel."""

    def __init__(self, link: int, renew_after: float) -> None:
        """Begin without peers.

        :param renew_after: seconds between two binds of one channel.
        """
        self._link = link
        self._renew_after = renew_after
        self._by_address: dict[Endpoint, RelayPeer] = {}
        self._by_channel: dict[int, RelayPeer] = {}
        self._numbers = deque(range(FIRST_CHANNEL, LAST_CHANNEL + 1))
        self._retired: deque[tuple[float, int]] = deque()
        self.has_changed = False
        """Whether channels may have been bound or lost since this was reset."""

    def __iter__(self) -> Iterator[RelayPeer]:
        return iter(self._by_address.values())

    def find(self, address: Endpoint) -> RelayPeer | None:
        """Return the peer with an address."""
        return self._by_address.get(address)

    def on_channel(self, number: int) -> RelayPeer | None:
        """Return the peer behind a channel."""
        return self._by_channel.get(number)

    def get(
        self, address: Endpoint, now: float, with_channel: bool = True
    ) -> RelayPeer:
        """Return the peer with an address, made if there is none yet.

        :param with_channel: ``False`` for a permission alone, which ends with
            ``is_open``: packets that it lets in belong to others.
        """
        peer = self._by_address.get(address)
        if peer is None:
            tagged = address._replace(link=self._link)
            used_at = now if with_channel else float("-inf")
            peer = RelayPeer(address, tagged, None, due_at=now, used_at=used_at)
            self._by_address[address] = peer
            if with_channel:
                self._number(peer, now)
        return peer

    def due(self, now: float) -> list[RelayPeer]:
        """Return the peers that have to be renewed now; forget those that are gone."""
        due: list[RelayPeer] = []
        for peer in list(self._by_address.values()):
            if peer.due_at > now or peer.is_asking:
                continue
            self.has_changed = True
            if peer.is_used(now):
                due.append(peer)
            elif peer.gone_at <= now:
                self._forget(peer, now)
            else:
                # Once more while its channel lives, then when it is gone.
                last_chance = peer.bound_until - self._renew_after / 2
                peer.due_at = last_chance if last_chance > now else peer.gone_at
        return due

    def channels(self, now: float) -> dict[Endpoint, int]:
        """Return the channels that packets may go over, by the tagged peer."""
        return {
            peer.tagged: peer.channel
            for peer in self
            if peer.channel is not None and peer.bound_until > now
        }

    def next_due(self) -> float | None:
        """Return when :meth:`due` has something to do."""
        waiting = (p.due_at for p in self._by_address.values() if not p.is_asking)
        return min(waiting, default=None)

    def renewed(self, peer: RelayPeer, asked_at: float) -> None:
        """Learn that the relay granted what was asked for."""
        peer.is_asking = False
        peer.refusal = None
        peer.rebinds = 0
        peer.permitted_until = asked_at + PERMISSION_LIFETIME - EXPIRY_MARGIN
        if peer.channel is not None:
            self.has_changed = True
            peer.bound_until = asked_at + CHANNEL_LIFETIME - EXPIRY_MARGIN
        peer.due_at = asked_at + self._renew_after

    def refused(self, peer: RelayPeer, reason: str, now: float) -> None:
        """Learn that the relay refused; it is asked again after a while."""
        peer.is_asking = False
        peer.refusal = reason
        peer.due_at = now + RETRY_AFTER
        if now < peer.bound_until:
            # The channel is lost at that moment, and not when it is asked for again.
            peer.due_at = min(peer.due_at, peer.bound_until)

    def unanswered(self, peer: RelayPeer, now: float) -> None:
        """Learn that there was no answer; it is asked again at once."""
        peer.is_asking = False
        peer.due_at = now

    def renumber(self, peer: RelayPeer, now: float) -> bool:
        """Give a peer another channel because the relay knows this one otherwise.

        Returns ``False`` after some attempts: the number cannot be the reason.
        """
        if peer.channel is None or peer.rebinds >= MAX_REBINDS:
            return False
        peer.rebinds += 1
        peer.is_asking = False
        peer.due_at = now
        self._retire(peer, now + CHANNEL_LIFETIME + CHANNEL_REST)
        self._number(peer, now)
        return True

    def forget_requests(self, now: float) -> None:
        """Learn that nothing that was asked for will be answered."""
        for peer in self:
            if peer.is_asking:
                self.unanswered(peer, now)

    def survivors(self, now: float) -> "Peers":
        """Return the peers in use, for a new allocation that knows none of them."""
        peers = Peers(self._link, self._renew_after)
        for old in self:
            if old.is_used(now):
                peer = peers.get(old.address, now, old.address.port != 0)
                peer.is_open, peer.used_at = old.is_open, old.used_at
        return peers

    def _number(self, peer: RelayPeer, now: float) -> None:
        """Give a peer a channel number, if there is one left."""
        while self._retired and self._retired[0][0] <= now:
            self._numbers.append(self._retired.popleft()[1])
        if self._numbers:
            peer.channel = self._numbers.popleft()
            self._by_channel[peer.channel] = peer

    def _retire(self, peer: RelayPeer, until: float) -> None:
        """Take a peer's channel number out of use for a while."""
        if peer.channel is not None:
            self.has_changed = True
            del self._by_channel[peer.channel]
            self._retired.append((until, peer.channel))
            peer.channel = None
            peer.bound_until = 0.0

    def _forget(self, peer: RelayPeer, now: float) -> None:
        del self._by_address[peer.address]
        self._retire(peer, now)
