"""One allocation: a client, its relayed address, and the peers it may talk to."""

from dataclasses import dataclass, field
from enum import Enum

from coordinator.turn.limits import Limits
from meshwg.transmit import Endpoint
from meshwg.wire.channeldata import FIRST_CHANNEL, LAST_OLD_CHANNEL
from meshwg.wire.stun import Message


class Socket(Enum):
    """Whether the relayed address has a socket of the operating system.

    It needs none while all peers are allocations of the same server, so it gets one
    with the first permission for another peer.
    """

    NONE = "none"
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"


class Refusal(Exception):
    """A request that is answered with an error; never leaves this package."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Channel:
    """A number that stands for a peer's address in both directions."""

    number: int
    peer: Endpoint
    expires: float


@dataclass(slots=True, eq=False)
class Allocation:
    """The state that RFC 8656 section 3.2 lists.

    Expired permissions and channels are ignored, and removed only when room is needed.
    """

    client: Endpoint
    """Where the client's messages come from and go to, with the local end."""
    stream: bool
    """Whether the client is reached over TCP or TLS, where ChannelData is padded."""
    relayed: Endpoint
    node: str
    """Whose quota this is."""
    transaction_id: bytes
    """Of the request that made this, which may come again."""
    expires: float
    limits: Limits
    heard_at: float
    """When the client last sent anything."""
    socket: Socket = Socket.NONE
    waiting: list[tuple[Message, bytes]] = field(default_factory=list)
    """Requests with their keys, and Send indications, that wait for the socket."""
    _permissions: dict[str, float] = field(default_factory=dict)
    _channels: dict[int, Channel] = field(default_factory=dict)
    _channels_by_peer: dict[Endpoint, Channel] = field(default_factory=dict)

    def peer_of(self, number: int, now: float) -> Endpoint | None:
        """Return the peer that a channel is bound to."""
        channel = self._channels.get(number)
        return channel.peer if channel is not None and channel.expires > now else None

    def channel_of(self, peer: Endpoint, now: float) -> int | None:
        """Return the channel that is bound to a peer."""
        channel = self._channels_by_peer.get(peer)
        return channel.number if channel is not None and channel.expires > now else None

    def permits(self, host: str, now: float) -> bool:
        """Return whether the client has permitted peers at this address."""
        return self._permissions.get(host, now) > now

    def permit(self, hosts: list[str], now: float) -> None:
        """Install or refresh the permissions for some addresses, all or none.

        :raises Refusal: if there are too many.
        """
        new = [host for host in dict.fromkeys(hosts) if host not in self._permissions]
        if len(self._permissions) + len(new) > self.limits.permissions:
            self._sweep_permissions(now)
        if len(self._permissions) + len(new) > self.limits.permissions:
            raise Refusal(508, "Too Many Permissions")
        for host in hosts:
            self._permissions[host] = now + self.limits.permission_lifetime

    def bind(self, number: int, peer: Endpoint, now: float) -> None:
        """Bind a channel to a peer, or refresh it, with the peer's permission.

        :raises Refusal: if the number or the peer is taken (RFC 8656 section 12.2).
        """
        if not FIRST_CHANNEL <= number <= LAST_OLD_CHANNEL:
            raise Refusal(400, "Bad Channel Number")
        self._free(number, peer, now)
        channel = self._channels.get(number)
        if channel is None and len(self._channels) >= self.limits.channels:
            self._sweep_channels(now)
            if len(self._channels) >= self.limits.channels:
                raise Refusal(508, "Too Many Channels")
        self.permit([peer.host], now)
        if channel is None:
            channel = Channel(number, peer, 0.0)
            self._channels[number] = channel
            self._channels_by_peer[peer] = channel
        channel.expires = now + self.limits.channel_lifetime

    def _free(self, number: int, peer: Endpoint, now: float) -> None:
        """Remove channels that have rested long enough; refuse if others conflict."""
        for channel in (self._channels.get(number), self._channels_by_peer.get(peer)):
            if channel is None or (channel.number, channel.peer) == (number, peer):
                continue
            if channel.expires + self.limits.channel_rest > now:
                raise Refusal(400, "Channel Or Peer In Use")
            self._remove(channel)

    def _sweep_permissions(self, now: float) -> None:
        for host in [h for h, expires in self._permissions.items() if expires <= now]:
            del self._permissions[host]

    def _sweep_channels(self, now: float) -> None:
        for channel in list(self._channels.values()):
            if channel.expires + self.limits.channel_rest <= now:
                self._remove(channel)

    def _remove(self, channel: Channel) -> None:
        del self._channels[channel.number]
        del self._channels_by_peer[channel.peer]
