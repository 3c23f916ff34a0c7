"""A whole WireGuard interface: all peers, their addresses and their timers.

Packets from the interface go in through :meth:`Device.receive_packets`, datagrams from
the network through :meth:`Device.receive_datagrams`. After every call in, drain
:meth:`Device.datagrams_to_send` and :meth:`Device.packets_to_write`, and call
:meth:`Device.handle_timer` when :meth:`Device.get_timer` says so.

Nothing that arrives from the network raises: it is counted in :attr:`Device.drops`.
"""

import heapq
import struct
from collections.abc import Callable, Iterable, Sequence

from cryptography.exceptions import InvalidTag

from meshwg.errors import ConfigError, RemoteProtocolError
from meshwg.keys import PrivateKey
from meshwg.limits import site_of
from meshwg.transmit import UDP, Endpoint, Random, Transmit
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
    REJECT_AFTER_MESSAGES,
    REKEY_AFTER_MESSAGES,
    RESPONSE_LENGTH,
)
from meshwg.wireguard.cookie import CookieChecker
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.handshake import ReceivedInitiation
from meshwg.wireguard.indices import IndexTable
from meshwg.wireguard.load import LoadMeter, handshake_limiter
from meshwg.wireguard.peer import Peer, Steering, Surroundings
from meshwg.wireguard.session import NONCE_PREFIX, Buffer

_KIND_AND_RECEIVER = struct.Struct("<II")
_RECEIVER_AT_8 = struct.Struct("<8xI")
_HANDSHAKE_LENGTHS = {
    MESSAGE_INITIATION: INITIATION_LENGTH,
    MESSAGE_RESPONSE: RESPONSE_LENGTH,
    MESSAGE_COOKIE: COOKIE_LENGTH,
}
_DESTINATION = {4: slice(16, 20), 6: slice(24, 40)}
"""Where an IP packet has its destination address, by its version."""
_PADDING = [bytes(length) for length in range(PADDING_MULTIPLE)]
_IPV4_HEADER_LENGTH = 20
_IPV6_HEADER_LENGTH = 40


class Device:
    """A WireGuard interface without its sockets.

    :param unix_time: maps ``now`` to wall time in seconds, for TAI64N timestamps.
    :param steering: who decides where the datagrams of peers go.
    """

    def __init__(
        self,
        *,
        random: Random,
        unix_time: Callable[[float], float],
        steering: Steering | None = None,
    ) -> None:
        self.peers: dict[bytes, Peer] = {}
        self.allowed_ips: AllowedIPs[Peer] = AllowedIPs()
        self.forwarders: set[Peer] = set()
        """Peers that may pass on what other peers sent: the hubs of a mesh. Their inner
        packets may have the source address of any peer."""
        self.is_up = False
        self._around = Surroundings(
            random=random,
            unix_time=unix_time,
            indices=IndexTable(random),
            steering=steering,
        )
        self._checker: CookieChecker | None = None
        self._load = LoadMeter()
        self._limiter = handshake_limiter()
        self._packets: list[bytes] = []
        # Deadlines, each with a number that keeps peers from being compared.
        self._agenda: list[tuple[float, int, Peer]] = []
        self._entries = 0
        # Peers that packets were carried for, whose deadlines may have moved. Those
        # are looked at after the packets have left.
        self._touched: list[Peer] = []
        # What took the fast path and is to be noted: sent, where there is no endpoint.
        self._unnoted: list[tuple[Peer, Endpoint | None, int, float]] = []

    # Packets from the interface.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take IP packets from the interface, bound for whoever owns their address."""
        if self._unnoted:
            self.note()
        groups: dict[Peer, list[bytes]] = {}
        last = b""
        group: list[bytes] | None = None
        for packet in packets:
            destination = packet[24:40] if packet[:1] >= b"\x60" else packet[16:20]
            if destination != last or group is None:
                last = destination
                peer = self._destination(packet)
                group = None if peer is None else groups.setdefault(peer, [])
            if group is None:
                self.drops[Drop.NO_PEER] += 1
            else:
                group.append(packet)
        for peer, outgoing in groups.items():
            peer.send(outgoing, now)
            self._touched.append(peer)

    def _destination(self, packet: bytes) -> Peer | None:
        """Return who is to have an IP packet."""
        where = _DESTINATION.get(packet[0] >> 4) if packet and self.is_up else None
        return None if where is None else self.allowed_ips.lookup(packet[where])

    # Datagrams from the network.

    def receive_datagrams(
        self, datagrams: Iterable[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that arrived together from one endpoint, in their order."""
        if self._unnoted:
            self.note()
        run: list[Buffer] = []
        run_index = -1
        for datagram in datagrams:
            if len(datagram) < DATA_OVERHEAD:
                self.drops[Drop.INVALID_MESSAGE] += 1
                continue
            kind, index = _KIND_AND_RECEIVER.unpack_from(datagram)
            if kind == MESSAGE_DATA and index == run_index:
                run.append(datagram)
                continue
            if run:
                self._receive_data(run_index, run, endpoint, now)
                run = []
            run_index = -1
            if kind == MESSAGE_DATA:
                run, run_index = [datagram], index
            elif len(datagram) == _HANDSHAKE_LENGTHS.get(kind, 0):
                self._receive_handshake(kind, bytes(datagram), endpoint, now)
            else:
                self.drops[Drop.INVALID_MESSAGE] += 1
        if run:
            self._receive_data(run_index, run, endpoint, now)

    def _receive_data(
        self, index: int, messages: list[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        peer = self._around.indices.owner(index)
        session = peer.current if peer is not None else None
        if session is None or session.local_index != index:
            session = peer.session(index) if peer is not None else None
        if peer is None or session is None or not self.is_up:
            self.drops[Drop.UNKNOWN_SESSION] += len(messages)
            return
        plaintexts = peer.receive_data(session, messages, endpoint, now)
        if plaintexts:
            self._deliver(peer, plaintexts)
            self._touched.append(peer)

    def _deliver(self, peer: Peer, plaintexts: list[bytes]) -> None:
        """Pass on the packets that are whole and really the peer's, without padding."""
        packets = self._packets
        last_start, last_source, last_size = b"", b"", -1
        for packet in plaintexts:
            size = len(packet)
            if (
                size == last_size
                and packet[:4] == last_start
                and packet[12:16] == last_source
            ):
                # The same version, length and source as the packet before: an IPv4
                # packet without padding, as nearly all of a long transfer are.
                packets.append(packet)
            elif size:
                length = self._genuine_length(peer, packet)
                if length:
                    packets.append(packet if length == size else packet[:length])
                if length == size and packet[0] >> 4 == 4:
                    last_start, last_source = packet[:4], packet[12:16]
                    last_size = size

    def _genuine_length(self, peer: Peer, packet: bytes) -> int:
        """Return the length of a packet without padding, 0 for one that lies."""
        size, version = len(packet), packet[0] >> 4
        if version == 4 and size >= _IPV4_HEADER_LENGTH:
            length = packet[2] << 8 | packet[3]
            source = packet[12:16]
        elif version == 6 and size >= _IPV6_HEADER_LENGTH:
            length = _IPV6_HEADER_LENGTH + (packet[4] << 8 | packet[5])
            source = packet[8:24]
        else:
            length = size + 1
        if length > size or length < _IPV4_HEADER_LENGTH:
            self.drops[Drop.INVALID_PACKET] += 1
            return 0
        owner = self.allowed_ips.lookup(source)
        if owner is not peer and (owner is None or peer not in self.forwarders):
            self.drops[Drop.FORBIDDEN_SOURCE] += 1
            return 0
        return length

    def _receive_handshake(
        self, kind: int, message: bytes, endpoint: Endpoint, now: float
    ) -> None:
        private_key = self._around.private_key
        if private_key is None or self._checker is None or not self.is_up:
            self.drops[Drop.NO_PRIVATE_KEY] += 1
        elif kind == MESSAGE_COOKIE:
            self._receive_cookie(message, now)
        elif self._may_cost_work(self._checker, message, endpoint, now):
            if kind == MESSAGE_INITIATION:
                self._receive_initiation(private_key, message, endpoint, now)
            else:
                self._receive_response(message, endpoint, now)

    def _may_cost_work(
        self, checker: CookieChecker, message: bytes, endpoint: Endpoint, now: float
    ) -> bool:
        """Return whether the MACs allow curve operations for this message."""
        if not checker.check_mac1(message):
            self.drops[Drop.INVALID_MAC1] += 1
            return False
        if not self._load.handshake_arrived(now):
            return True
        if not checker.check_mac2(message, endpoint, now):
            self.drops[Drop.UNDER_LOAD] += 1
            reply = checker.reply(message, endpoint, now, self._around.random)
            self._around.transmits.append(Transmit(endpoint, [reply]))
            return False
        if not self._limiter.take(site_of(endpoint.host), now):
            self.drops[Drop.RATE_LIMITED] += 1
            return False
        return True

    def _receive_initiation(
        self, private_key: PrivateKey, message: bytes, endpoint: Endpoint, now: float
    ) -> None:
        try:
            initiation = ReceivedInitiation.read(private_key, message)
        except RemoteProtocolError:
            self.drops[Drop.HANDSHAKE_REFUSED] += 1
            return
        peer = self.peers.get(initiation.remote_key)
        if peer is None:
            self.drops[Drop.HANDSHAKE_REFUSED] += 1
            return
        peer.receive_initiation(initiation, endpoint, now)
        self._schedule(peer)

    def _receive_response(self, message: bytes, endpoint: Endpoint, now: float) -> None:
        peer = self._around.indices.owner(_RECEIVER_AT_8.unpack_from(message)[0])
        if peer is None or not peer.receive_response(message, endpoint, now):
            self.drops[Drop.RESPONSE_REFUSED] += 1
            return
        self._schedule(peer)

    def _receive_cookie(self, message: bytes, now: float) -> None:
        peer = self._around.indices.owner(_KIND_AND_RECEIVER.unpack_from(message)[1])
        if peer is None or not peer.receive_cookie(message, now):
            self.drops[Drop.COOKIE_REFUSED] += 1

    # The fast path: packets that come alone. They find nothing of the program in the
    # processor's caches, where each first use of a function, an object or a constant
    # costs as much as a dozen later ones. So both functions do what is usual in one
    # piece, and leave what is to be noted for later.

    def seal_one(self, packet: bytes, now: float) -> tuple[Endpoint, bytes] | None:
        """Return a packet from the interface as a datagram, and where it goes.

        ``None``, with nothing changed, is the answer to all that needs more than this:
        it is for :meth:`receive_packets`. What went this way waits for :meth:`note`.
        """
        version, length = packet[0] >> 4 if packet else 0, len(packet)
        if version == 4:
            peer = self.allowed_ips.lookup(packet[16:20])
        elif version == 6:
            peer = self.allowed_ips.lookup(packet[24:40])
        else:
            return None
        session = peer.current if peer is not None else None
        if peer is None or session is None or now >= session.seal_until:
            return None
        number, mtu = session.sent, self._around.mtu
        endpoint, encrypt = peer.endpoint, session.encrypt
        if (
            encrypt is None
            or endpoint is None
            or endpoint.link != UDP
            or number >= REKEY_AFTER_MESSAGES
            or length > mtu
        ):
            return None
        missing = -length % PADDING_MULTIPLE
        packet += _PADDING[missing if length + missing <= mtu else mtu - length]
        session.sent = number + 1
        counter = number.to_bytes(8, "little")
        sealed = encrypt(NONCE_PREFIX + counter, packet, None)
        message = session.prefix + counter + sealed
        self._unnoted.append((peer, None, len(message), now))
        return endpoint, message

    def open_one(self, datagram: bytes, endpoint: Endpoint, now: float) -> bytes | None:
        """Return the packet in a datagram, empty if it must not reach the interface.

        ``None``, with nothing changed, is the answer to all that needs more than this:
        it is for :meth:`receive_datagrams`. What went this way waits for :meth:`note`.
        """
        start, length = datagram[:8], len(datagram)
        index = int.from_bytes(start, "little") >> 32
        peer = self._around.indices.owner(index)
        session = peer.current if peer is not None else None
        if (
            peer is None
            or session is None
            or session.expected_start != start
            or length <= DATA_OVERHEAD
            or now >= session.open_until
            or (peer.endpoint is not endpoint and self._around.steering is None)
        ):
            return None
        number = session.replay.expected
        counter = number.to_bytes(8, "little")
        if datagram[8:16] != counter or number >= REJECT_AFTER_MESSAGES:
            return None
        try:
            packet = session.decrypt(NONCE_PREFIX + counter, datagram[16:], None)
        except InvalidTag:
            return None
        session.replay.expected = number + 1
        self._unnoted.append((peer, endpoint, length, now))
        size = packet[2] << 8 | packet[3] if len(packet) > 3 else 0
        if (
            packet[0] >> 4 == 4
            and _IPV4_HEADER_LENGTH <= size <= len(packet)
            and self.allowed_ips.lookup(packet[12:16]) is peer
        ):
            return packet[:size]
        return packet[: self._genuine_length(peer, packet)]

    def note(self) -> None:
        """Note what went the fast path: it counts, moves timers and proves peers."""
        unnoted, self._unnoted = self._unnoted, []
        for peer, endpoint, length, moment in unnoted:
            if endpoint is None:
                peer.note_sent(length, moment)
            else:
                peer.note_received(endpoint, length, moment)
            self._touched.append(peer)

    # Output and time.

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go to the network, and forget it."""
        transmits = self._around.transmits
        if transmits:
            self._around.transmits = []
        return transmits

    def packets_to_write(self) -> list[bytes]:
        """Return what has to go to the interface, and forget it."""
        packets = self._packets
        if packets:
            self._packets = []
        return packets

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted.

        It may be asked for earlier than something is due, never later.
        """
        agenda = self._agenda
        if self._unnoted:
            self.note()
        if self._touched:
            for peer in dict.fromkeys(self._touched):
                self._schedule(peer)
            self._touched.clear()
        while agenda and agenda[0][0] != agenda[0][2].scheduled_at:
            heapq.heappop(agenda)
        return agenda[0][0] if agenda else None

    def handle_timer(self, now: float) -> None:
        """Let every peer do what is due."""
        self.note()
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            deadline, _, peer = heapq.heappop(agenda)
            if deadline != peer.scheduled_at:
                continue
            peer.scheduled_at = float("inf")
            if peer.timers.next() <= now:
                peer.handle_timer(now)
            self._schedule(peer)

    def _schedule(self, peer: Peer) -> None:
        # A deadline that moved away leaves its old entry in place: it is looked at
        # when its time has come, which is far rarer than deadlines move.
        deadline = peer.timers.next()
        if deadline < peer.scheduled_at:
            peer.scheduled_at = deadline
            self._entries += 1
            heapq.heappush(self._agenda, (deadline, self._entries, peer))

    # Configuration.

    @property
    def drops(self) -> dict[Drop, int]:
        """How many packets and datagrams went no further, by reason."""
        return self._around.drops

    @property
    def private_key(self) -> PrivateKey | None:
        """The key of the interface; without one it says nothing and hears nothing."""
        return self._around.private_key

    @property
    def mtu(self) -> int:
        """The MTU of the interface in bytes, which padding does not exceed."""
        return self._around.mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        self._around.mtu = mtu

    def set_private_key(self, key: PrivateKey | None, now: float) -> None:
        """Change the key: every peer begins anew, and one with this key goes."""
        current = self._around.private_key
        if (key and key.private_bytes) == (current and current.private_bytes):
            return
        if key is not None:
            self.remove_peer(key.public_bytes, now)
        self._around.private_key = key
        self._checker = CookieChecker(key.public_bytes) if key else None
        for peer in self.peers.values():
            peer.private_key_changed()

    def add_peer(self, public_key: bytes, now: float) -> Peer:
        """Return the peer of that key, which is new if there was none.

        :raises ConfigError: if the device has as many peers as it can.
        """
        peer = self.peers.get(public_key)
        if peer is None:
            if len(self.peers) >= MAX_PEERS:
                raise ConfigError(f"An interface has at most {MAX_PEERS} peers")
            peer = self.peers[public_key] = Peer(public_key, self._around)
        return peer

    def remove_peer(self, public_key: bytes, now: float) -> None:
        """Take a peer's addresses, then its sessions and keys, if there is such one."""
        self.note()
        peer = self.peers.pop(public_key, None)
        if peer is not None:
            self.allowed_ips.clear(peer)
            self.forwarders.discard(peer)
            peer.stop()

    def set_preshared_key(self, peer: Peer, key: bytes, now: float) -> None:
        """Change the preshared key from the next handshake on; zeros are none."""
        peer.preshared_key = key

    def set_endpoint(self, peer: Peer, endpoint: Endpoint | None) -> None:
        """Say where a peer is, until it is heard from elsewhere."""
        peer.endpoint = endpoint

    def set_persistent_keepalive(self, peer: Peer, seconds: int, now: float) -> None:
        """Keep a peer's NAT mapping open; turned on, it begins at once."""
        turned_on = seconds and not peer.timers.persistent_interval
        peer.timers.persistent_interval = seconds
        if not seconds:
            peer.timers.persistent = float("inf")
        elif turned_on and self.is_up:
            peer.send_keepalive(now)
        self._schedule(peer)

    def start_peer(self, peer: Peer, now: float) -> None:
        """Send what waited for the peer's configuration."""
        if self.is_up:
            peer.flush(now)
            self._schedule(peer)

    def renew_session(self, peer: Peer, now: float) -> None:
        """Begin a new session with a peer that has lost its half of this one."""
        if self.is_up:
            peer.renew(now)
            self._schedule(peer)

    def up(self, now: float) -> None:
        """Begin to work, with a keepalive to the peers that want to be kept open."""
        if self.is_up:
            return
        self.is_up = True
        for peer in self.peers.values():
            if peer.timers.persistent_interval:
                peer.send_keepalive(now)
                self._schedule(peer)

    def down(self, now: float) -> None:
        """Stop all timers and forget all sessions; the configuration stays."""
        self.note()
        self.is_up = False
        self._agenda.clear()
        for peer in self.peers.values():
            peer.stop()
            peer.scheduled_at = float("inf")

    def unpin_endpoints(self, only: Endpoint | None = None) -> None:
        """Forget sticky source addresses, as after a change of the port.

        :param only: the endpoint, without its source, whose source address is gone.
        """
        for peer in self.peers.values():
            if peer.endpoint is not None:
                unpinned = peer.endpoint.unpinned()
                if only is None or unpinned == only:
                    peer.endpoint = unpinned
