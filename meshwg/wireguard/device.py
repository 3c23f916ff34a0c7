"""A whole WireGuard interface: all peers, their keys, handshakes and timers.

Packets of established sessions are carried by a :mod:`~meshwg.wireguard.datapath`. The
device tells it what there is, takes note of what it carried, and deals with what it has
no rule for.

Packets from the interface go in through :meth:`Device.receive_packets`, datagrams from
the network through :meth:`Device.receive_datagrams`, and lone ones of either through
the fast path, :attr:`Device.seal_one` and :attr:`Device.open_one`. After every call in,
drain :meth:`Device.datagrams_to_send` and :meth:`Device.packets_to_write`, and call
:meth:`Device.handle_timer` when :meth:`Device.get_timer` says so.

Nothing that arrives from the network raises: it is counted in :attr:`Device.drops`.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from meshwg.agenda import Agenda
from meshwg.errors import ConfigError, RemoteProtocolError
from meshwg.keys import PrivateKey
from meshwg.packet.ip import MAX_PACKET
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wireguard.admission import Admission
from meshwg.wireguard.allowedips import AllowedIPs
from meshwg.wireguard.constants import (
    COOKIE_LENGTH,
    DATA_OVERHEAD,
    INITIATION_LENGTH,
    MAX_PEERS,
    MESSAGE_COOKIE,
    MESSAGE_DATA,
    MESSAGE_INITIATION,
    MESSAGE_RESPONSE,
    PADDING_MULTIPLE,
    RESPONSE_LENGTH,
)
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.handshake import ReceivedInitiation
from meshwg.wireguard.indices import IndexTable
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.news import News, SessionUnknown
from meshwg.wireguard.peer import Peer, Surroundings
from meshwg.wireguard.python_datapath import PythonDatapath
from meshwg.wireguard.session import Buffer

_TYPE_AND_RECEIVER = struct.Struct("<II")
_RECEIVER_OF_RESPONSE = struct.Struct("<8xI")
_HANDSHAKE_LENGTHS = {
    MESSAGE_INITIATION: INITIATION_LENGTH,
    MESSAGE_RESPONSE: RESPONSE_LENGTH,
    MESSAGE_COOKIE: COOKIE_LENGTH,
}


class Device:
    """A WireGuard interface without its sockets.

    :param unix_time: maps ``now`` to wall time in seconds, for TAI64N timestamps.
    :param roaming: whether each peer is wherever it was last heard from. Otherwise the
        owner says where peers are, and drains :meth:`next_news` to know.
    :param datapath: what carries packets, made for the same ``roaming``.
    """

    def __init__(
        self,
        *,
        random: Random,
        unix_time: Callable[[float], float],
        roaming: bool = True,
        datapath: Datapath | None = None,
    ) -> None:
        self.datapath = datapath or PythonDatapath(roaming=roaming)
        self.seal_one = self.datapath.seal_one
        self.open_one = self.datapath.open_one
        self.peers: dict[bytes, Peer] = {}
        self._by_lane: dict[Lane, Peer] = {}
        self._around = Surroundings(
            random=random,
            unix_time=unix_time,
            indices=IndexTable(random),
            datapath=self.datapath,
            news=None if roaming else deque(),
        )
        self._admission: Admission | None = None
        self._agenda: Agenda[Peer] = Agenda()
        # Peers whose deadlines may have moved; looked at after the packets have left.
        self._touched: list[Peer] = []

    # Packets and datagrams.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take IP packets from the interface; allowed IPs decide where they go."""
        self.datapath.receive_packets(packets, now)
        self.settle()

    def receive_datagrams(
        self, datagrams: Iterable[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that arrived together from one endpoint, in their order."""
        batch = datagrams if isinstance(datagrams, list) else list(datagrams)
        self.datapath.receive_datagrams(batch, endpoint, now)
        self.collect(now)

    def collect(self, now: float) -> None:
        """Deal with what the data path carried, and with what it could not."""
        self.settle()
        for run, source in self.datapath.take_exceptions():
            self.receive_exceptions(run, source, now)

    def settle(self) -> None:
        """Note what the data path carried, and deal with what it could not send."""
        datapath = self.datapath
        for lane, session, endpoint, length, is_data, at in datapath.take_notes():
            peer = self._by_lane[lane]
            if session is None or endpoint is None:
                peer.note_sent(length, is_data, at)
            else:
                peer.note_received(session, endpoint, length, is_data, at)
            self._touched.append(peer)
        for lane, packets, at in datapath.take_unsent():
            peer = self._by_lane[lane]
            # Where threads carry, a session may have come since then.
            peer.send(packets, at)
            self._touched.append(peer)

    def receive_exceptions(
        self, datagrams: Iterable[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that the data path has no session for."""
        unknown = self._around.drops[Drop.UNKNOWN_SESSION]
        for datagram in datagrams:
            if len(datagram) < DATA_OVERHEAD:
                self._around.drops[Drop.INVALID_MESSAGE] += 1
                continue
            kind, _ = _TYPE_AND_RECEIVER.unpack_from(datagram)
            if kind == MESSAGE_DATA:
                self._around.drops[Drop.UNKNOWN_SESSION] += 1
            elif len(datagram) == _HANDSHAKE_LENGTHS.get(kind, 0):
                self._receive_handshake(kind, bytes(datagram), endpoint, now)
            else:
                self._around.drops[Drop.INVALID_MESSAGE] += 1
        news = self._around.news
        if news is not None and unknown < self._around.drops[Drop.UNKNOWN_SESSION]:
            news.append(SessionUnknown(endpoint, now))

    # Handshakes.

    def _receive_handshake(
        self, kind: int, message: bytes, endpoint: Endpoint, now: float
    ) -> None:
        private_key, admission = self._around.private_key, self._admission
        if private_key is None or admission is None or not self.is_up:
            self._around.drops[Drop.NO_PRIVATE_KEY] += 1
        elif kind == MESSAGE_COOKIE:
            self._receive_cookie(message, now)
        elif (refusal := admission.refusal(message, endpoint, now)) is not None:
            self._around.drops[refusal] += 1
        elif kind == MESSAGE_INITIATION:
            self._receive_initiation(private_key, message, endpoint, now)
        else:
            self._receive_response(message, endpoint, now)

    def _receive_initiation(
        self, private_key: PrivateKey, message: bytes, endpoint: Endpoint, now: float
    ) -> None:
        try:
            initiation = ReceivedInitiation.read(private_key, message)
        except RemoteProtocolError:
            self._around.drops[Drop.HANDSHAKE_REFUSED] += 1
            return
        peer = self.peers.get(initiation.remote_key)
        if peer is None:
            self._around.drops[Drop.HANDSHAKE_REFUSED] += 1
            return
        peer.receive_initiation(initiation, endpoint, now)
        self._schedule(peer)

    def _receive_response(self, message: bytes, endpoint: Endpoint, now: float) -> None:
        peer = self._around.indices.owner(_RECEIVER_OF_RESPONSE.unpack_from(message)[0])
        if peer is None or not peer.receive_response(message, endpoint, now):
            self._around.drops[Drop.RESPONSE_REFUSED] += 1
            return
        self._schedule(peer)

    def _receive_cookie(self, message: bytes, now: float) -> None:
        peer = self._around.indices.owner(_TYPE_AND_RECEIVER.unpack_from(message)[1])
        if peer is None or not peer.receive_cookie(message, now):
            self._around.drops[Drop.COOKIE_REFUSED] += 1
            return
        self._schedule(peer)

    # Output and time.

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go to the network, and forget it."""
        transmits = self.datapath.datagrams_to_send()
        if self._admission is not None:
            transmits += self._admission.take_replies()
        return transmits

    def packets_to_write(self) -> list[bytes]:
        """Return what has to go to the interface, and forget it."""
        return self.datapath.packets_to_write()

    def next_news(self) -> News | None:
        """Return what the owner has to know to say where peers are."""
        return self._around.news.popleft() if self._around.news else None

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted, perhaps too early."""
        self.settle()
        if self._touched:
            for peer in dict.fromkeys(self._touched):
                self._schedule(peer)
            self._touched.clear()
        return self._agenda.get_timer()

    def handle_timer(self, now: float) -> None:
        """Let every peer do what is due."""
        self.settle()
        for peer in self._agenda.take_due(now):
            if peer.timers.next() <= now:
                peer.handle_timer(now)
            self._schedule(peer)

    def _schedule(self, peer: Peer) -> None:
        self._agenda.schedule(peer, peer.timers.next())

    # Configuration.

    @property
    def is_up(self) -> bool:
        """Whether the interface works."""
        return self.datapath.is_up

    @property
    def allowed_ips(self) -> AllowedIPs[Lane]:
        """Which peer's lane each network belongs to."""
        return self.datapath.allowed_ips

    @property
    def drops(self) -> dict[Drop, int]:
        """How many packets and datagrams went no further, by reason."""
        carried, own = self.datapath.drops, self._around.drops
        return {drop: carried[drop] + own[drop] for drop in Drop}

    @property
    def private_key(self) -> PrivateKey | None:
        """The key of the interface; without one it says nothing and hears nothing."""
        return self._around.private_key

    @property
    def mtu(self) -> int:
        """The MTU of the interface in bytes, which padding does not exceed."""
        return self.datapath.mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        self.datapath.mtu = mtu

    def set_private_key(self, key: PrivateKey | None) -> None:
        """Change the key: all peers start again, and one with this key is removed."""
        current = self._around.private_key
        if (key and key.private_bytes) == (current and current.private_bytes):
            return
        if key is not None:
            self.remove_peer(key.public_bytes)
        self._around.private_key = key
        random = self._around.random
        self._admission = Admission(key.public_bytes, random) if key else None
        for peer in self.peers.values():
            peer.private_key_changed()

    def add_peer(self, public_key: bytes) -> Peer:
        """Return the peer of that key, which is new if there was none.

        :raises ConfigError: if the device has as many peers as it can.
        """
        peer = self.peers.get(public_key)
        if peer is None:
            if len(self.peers) >= MAX_PEERS:
                raise ConfigError(f"An interface has at most {MAX_PEERS} peers")
            peer = self.peers[public_key] = Peer(public_key, self._around)
            self._by_lane[peer.lane] = peer
        return peer

    def remove_peer(self, public_key: bytes) -> None:
        """Forget a peer if it is known, with its networks, sessions and keys."""
        self.settle()
        peer = self.peers.pop(public_key, None)
        if peer is not None:
            peer.stop()
            self._agenda.discard(peer)
            self.datapath.remove_lane(peer.lane)
            del self._by_lane[peer.lane]

    def set_preshared_key(self, peer: Peer, key: bytes) -> None:
        """Change the preshared key from the next handshake on; zeros are none."""
        peer.preshared_key = key

    def set_endpoint(
        self, peer: Peer, endpoint: Endpoint | None, second: Endpoint | None = None
    ) -> None:
        """Send to a peer there, and a copy of everything to a second endpoint."""
        self.datapath.steer(peer.lane, endpoint, second)

    def set_limit(self, peer: Peer, longest: int | None) -> None:
        """Say how long a peer's data messages may be on their way, in bytes.

        :param longest: ``None`` for as long as they are.
        """
        packet = MAX_PACKET
        if longest is not None:
            packet = (longest - DATA_OVERHEAD) // PADDING_MULTIPLE * PADDING_MULTIPLE
        self.datapath.limit(peer.lane, packet)

    def set_persistent_keepalive(self, peer: Peer, seconds: int, now: float) -> None:
        """Keep a peer's NAT mapping open; turned on, it begins at once."""
        turned_on = seconds and not peer.timers.persistent_interval
        peer.timers.persistent_interval = seconds
        if not seconds:
            peer.timers.persistent = float("inf")
        elif turned_on and self.is_up:
            peer.send_keepalive(now)
        self._schedule(peer)

    def keep_warm(self, peer: Peer, now: float) -> None:
        """Have a session with a peer, and let it hear of this node."""
        if self.is_up:
            peer.send_keepalive(now)
            self._schedule(peer)

    def start_peer(self, peer: Peer, now: float) -> None:
        """Send what waited for the peer's configuration."""
        if self.is_up:
            peer.flush(now)
            self._schedule(peer)

    def start_peers(self, now: float) -> None:
        """Send what waited for the interface to come up, or to get its key."""
        if not self.is_up:
            return
        for peer in self.peers.values():
            if peer.timers.persistent_interval:
                peer.send_keepalive(now)
            else:
                peer.flush(now)
            self._schedule(peer)

    def renew_session(self, peer: Peer, now: float) -> None:
        """Begin a new session with a peer that has lost its half of this one."""
        if self.is_up:
            peer.renew(now)
            self._schedule(peer)

    def repeat_handshake(self, peer: Peer, now: float) -> None:
        """Begin a handshake that is under way anew: its last message was in vain."""
        if self.is_up:
            peer.repeat_initiation(now)
            self._schedule(peer)

    def probe(
        self, peer: Peer, endpoint: Endpoint, now: float, *, handshake: bool
    ) -> int:
        """Send one message elsewhere than a peer is; return its length in bytes.

        :param handshake: whether to send an initiation, and not a keepalive.
        """
        length = peer.probe(endpoint, now, handshake=handshake) if self.is_up else 0
        self._schedule(peer)
        return length

    def up(self, now: float) -> None:
        """Begin to work, with a keepalive to the peers that want to be kept open."""
        if self.is_up:
            return
        self.datapath.is_up = True
        self.start_peers(now)

    def down(self) -> None:
        """Stop all timers and forget all sessions; the configuration stays."""
        self.settle()
        self.datapath.is_up = False
        self._agenda.clear()
        for peer in self.peers.values():
            peer.stop()

    def unpin_endpoints(self, only: Endpoint | None = None) -> None:
        """Forget sticky source addresses, as after a change of the port.

        :param only: the endpoint, without its source, whose source address is gone.
        """
        for peer in self.peers.values():
            endpoint = peer.endpoint
            if endpoint is not None and only in (None, endpoint.unpinned()):
                peer.unpin()
