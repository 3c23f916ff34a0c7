"""The data path in Python: what runs everywhere, and the reference for all others."""

import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from cryptography.exceptions import InvalidTag

from meshwg.packet.icmp import parse_echo_reply
from meshwg.packet.ip import IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH
from meshwg.packet.toobig import IPV6_MINIMUM, fragment, too_big
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire.channeldata import FIRST_CHANNEL, LAST_OLD_CHANNEL, runs, wrap
from meshwg.wireguard.allowedips import AllowedIPs, Network
from meshwg.wireguard.channels import ChannelTable
from meshwg.wireguard.constants import (
    DATA_OVERHEAD,
    DEFAULT_MTU,
    PADDING_MULTIPLE,
    REJECT_AFTER_MESSAGES,
    REKEY_AFTER_MESSAGES,
)
from meshwg.wireguard.datapath import Note
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.filtering import (
    BEGIN_OR_END,
    TCP,
    TCP_AND_UDP,
    KnownFlows,
    PacketFilter,
    Passage,
    flow_key,
)
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.session import NONCE_PREFIX, Buffer, Session

_CHANNEL_NUMBERS = range(FIRST_CHANNEL, LAST_OLD_CHANNEL + 1)
_PLAIN_IPV4 = 0x45
"""The first byte of an IPv4 packet without options."""
_FLOW = struct.Struct("!I2xI2xQI")
_flow_of = _FLOW.unpack_from
"""Return what makes an IPv4 packet without options one of a flow and of a length: its
first four bytes; flags, hops and protocol; addresses and ports."""
_FLOW_LENGTH = _FLOW.size
_DESTINATION = {4: slice(16, 20), 6: slice(24, 40)}
"""Where an IP packet has its destination address, by its version."""
_EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_JUDGED_LENGTH = 34
"""Bytes up to the flags of a TCP segment in an IPv4 packet without options."""
_PADDING = [bytes(length) for length in range(PADDING_MULTIPLE)]


class PythonDatapath:
    """A :class:`Datapath` in Python.

    :param roaming: whether lanes follow the endpoint of the last authentic message, so
        that the fast path leaves messages from elsewhere alone.
    """

    kind = "python"

    def __init__(self, *, roaming: bool = True) -> None:
        self.is_up = False
        self.mtu = DEFAULT_MTU
        self.allowed_ips: AllowedIPs[Lane] = AllowedIPs()
        self.drops: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self._speakers: AllowedIPs[tuple[Lane, ...]] = AllowedIPs()
        self._delivered: AllowedIPs[bool] = AllowedIPs()
        self.deliver_only(_EVERYTHING, members=False)
        self._roaming = roaming
        # By the type and receiver index with which their messages begin.
        self._sessions: dict[bytes, tuple[Session, Lane]] = {}
        self._channels = ChannelTable()
        self._echo_identifiers: frozenset[int] = frozenset()
        self._flows: KnownFlows | None = None
        self._packets: list[bytes] = []
        self._outgoing: list[tuple[Lane, list[bytes]]] = []
        self._notes: list[Note] = []
        self._unsent: list[tuple[Lane, Sequence[Buffer], float]] = []
        self._exceptions: list[tuple[Sequence[Buffer], Endpoint]] = []
        self._echoes: list[bytes] = []

    # Packets from the interface.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        if self._flows is None:
            self.send_judged(packets, now)
        else:
            self._send_groups(self._judged(packets, now), now)
            self._send_answers(now)

    def _grouped(self, packets: Sequence[bytes]) -> dict[Lane, list[bytes]]:
        """Return packets by the lane in which they go."""
        groups: dict[Lane, list[bytes]] = {}
        last = b""
        group: list[bytes] | None = None
        for packet in packets:
            destination = packet[24:40] if packet[:1] >= b"\x60" else packet[16:20]
            if destination != last or group is None:
                last = destination
                lane = self._destination(packet)
                group = None if lane is None else groups.setdefault(lane, [])
            if group is None:
                self.drops[Drop.NO_PEER] += 1
            else:
                group.append(packet)
        return groups

    def _send_groups(self, groups: dict[Lane, list[bytes]], now: float) -> None:
        for lane, outgoing in groups.items():
            if lane.longest < self.mtu:
                outgoing = self._short_enough(lane, outgoing)
            count, length = self.seal(lane, outgoing, now)
            if count < len(outgoing):
                self._unsent.append((lane, outgoing[count:], now))
            if count:
                self._notes.append((lane, None, None, length, True, now))

    def _short_enough(self, lane: Lane, packets: list[bytes]) -> list[bytes]:
        """Return what gets through to a peer, and tell the senders of what does not.

        Each sender is told once per batch and destination: it will tell its streams.
        """
        told: set[bytes] = set()
        passing: list[bytes] = []
        # No sender makes IPv6 packets shorter than this.
        longest6 = max(lane.longest, IPV6_MINIMUM)
        for packet in packets:
            longest = longest6 if packet[0] >> 4 == 6 else lane.longest
            if len(packet) <= longest:
                passing.append(packet)
            elif (fragments := fragment(packet, lane.longest)) is not None:
                passing += fragments
            else:
                self.drops[Drop.TOO_LONG] += 1
                ends = packet[8:40] if packet[0] >> 4 == 6 else packet[12:20]
                if ends not in told:
                    told.add(ends)
                    self._packets += too_big(packet, lane.longest)
        return passing

    def _destination(self, packet: bytes) -> Lane | None:
        """Return in which lane an IP packet goes."""
        where = _DESTINATION.get(packet[0] >> 4) if packet and self.is_up else None
        return None if where is None else self.allowed_ips.lookup(packet[where])

    def seal(
        self, lane: Lane, packets: Sequence[Buffer], now: float
    ) -> tuple[int, int]:
        session = lane.session
        if session is None or lane.endpoint is None or now >= session.usable_until:
            return 0, 0
        messages = session.seal(packets, self.mtu)
        if messages:
            self._outgoing.append((lane, messages))
        return len(messages), sum(map(len, messages))

    def send(self, lane: Lane, message: bytes, to: Endpoint | None = None) -> None:
        self._outgoing.append((lane if to is None else _lane_to(to), [message]))

    def seal_to(self, lane: Lane, endpoint: Endpoint, now: float) -> int:
        session = lane.session
        if session is None or now >= session.usable_until:
            return 0
        messages = session.seal([b""], self.mtu)
        if messages:
            self._outgoing.append((_lane_to(endpoint), messages))
        return sum(map(len, messages))

    def datagrams_to_send(self) -> list[Transmit]:
        outgoing = self._outgoing
        if not outgoing:
            return []
        self._outgoing = []
        ready: list[Transmit] = []
        for lane, messages in outgoing:
            if lane.endpoint is None:
                self.drops[Drop.NO_ENDPOINT] += len(messages)
                continue
            ready.append(self._address(lane.endpoint, messages))
            if lane.second is not None:
                ready.append(self._address(lane.second, messages))
        return ready

    def _address(self, endpoint: Endpoint, messages: list[bytes]) -> Transmit:
        """Return messages as they go to an endpoint: through its channel, if any."""
        ways = self._channels.ways
        channel = ways.get(endpoint) if endpoint.link != UDP else None
        if channel is None:
            return Transmit(endpoint, messages)
        server, number = channel
        return Transmit(server, wrap(number, messages))

    # Datagrams from the network.

    def receive_datagrams(
        self, datagrams: Sequence[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        channels = None
        relays = self._channels.relays
        if relays and endpoint.link == UDP:
            # What a relay unwrapped is not opened once more, whatever its address.
            channels = relays.get(endpoint[:2])
        if channels is None:
            self._receive(datagrams, endpoint, now)
            return
        for number, run in runs(datagrams):
            peer = channels.get(number)
            if peer is not None:
                self._receive(run, peer, now)
            elif number in _CHANNEL_NUMBERS:
                self._exceptions.append((wrap(number, run), endpoint))
            else:
                self._receive(run, endpoint, now)

    def _receive(
        self, datagrams: Sequence[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Open runs of data messages of one session each; the rest goes up."""
        run: list[Buffer] = []
        unusual: list[Buffer] = []
        start = b""
        for datagram in datagrams:
            if datagram[:8] == start and len(datagram) >= DATA_OVERHEAD:
                run.append(datagram)
                continue
            if run:
                self._open(start, run, endpoint, now)
                run = []
            start = bytes(datagram[:8])
            if start in self._sessions and len(datagram) >= DATA_OVERHEAD:
                run = [datagram]
            else:
                unusual.append(datagram)
                start = b""
        if run:
            self._open(start, run, endpoint, now)
        if unusual:
            self._exceptions.append((unusual, endpoint))

    def _open(
        self, start: bytes, messages: list[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Open messages of the session whose messages begin so."""
        session, lane = self._sessions[start]
        if now >= session.expires_at:
            self.drops[Drop.EXPIRED_SESSION] += len(messages)
            return
        plaintexts, length = session.open(messages, self.drops)
        if plaintexts:
            is_data = bool(plaintexts[0]) or any(plaintexts)
            self._notes.append((lane, session, endpoint, length, is_data, now))
            if self._flows is None:
                self._deliver(lane, plaintexts)
            else:
                self._deliver_judged(lane, plaintexts, now)
            if self._echo_identifiers:
                packets = self._packets
                self._packets = [each for each in packets if not self._is_echo(each)]

    def _deliver(self, lane: Lane, plaintexts: list[bytes]) -> None:
        """Pass on the packets that are whole and really the peer's, without padding.

        What was found of one packet holds for those after it that are of the same flow
        and of the same length: all IPv4 packets without options and padding that agree
        in what :meth:`_genuine_length`, or a filter, looks at.
        """
        packets, flow_of = self._packets, _flow_of
        flow, last_size = None, -1
        for packet in plaintexts:
            size = len(packet)
            if size == last_size and flow_of(packet) == flow:
                packets.append(packet)
            elif size:
                length = self._genuine_length(lane, packet)
                if length:
                    packets.append(packet if length == size else packet[:length])
                if length == size >= _FLOW_LENGTH and packet[0] == _PLAIN_IPV4:
                    flow, last_size = flow_of(packet), size

    def _deliver_judged(self, lane: Lane, plaintexts: list[bytes], now: float) -> None:
        """Do the same of packets that a filter lets pass."""
        packets, flow_of = self._packets, _flow_of
        flow, last_size, flags = None, -1, 0
        for packet in plaintexts:
            size = len(packet)
            if size == last_size and flow_of(packet) == flow and not packet[33] & flags:
                packets.append(packet)
                continue
            length = self._genuine_length(lane, packet) if size else 0
            if not length:
                continue
            if length < size:
                packet = packet[:length]
            passes = self.passes(packet, now, inbound=True)
            last_size = -1
            if passes:
                packets.append(packet)
            if passes == Passage.FLOW and length == size and _is_plain(packet):
                flow, last_size = flow_of(packet), size
                flags = BEGIN_OR_END if packet[9] == TCP else 0
        self._send_answers(now)

    def _genuine_length(self, lane: Lane, packet: bytes) -> int:
        """Return the length of a packet without padding, 0 if it is not genuine."""
        size, version = len(packet), packet[0] >> 4
        if version == 4 and size >= IPV4_HEADER_LENGTH:
            length = packet[2] << 8 | packet[3]
            source, destination = packet[12:16], packet[16:20]
        elif version == 6 and size >= IPV6_HEADER_LENGTH:
            length = IPV6_HEADER_LENGTH + (packet[4] << 8 | packet[5])
            source, destination = packet[8:24], packet[24:40]
        else:
            source = destination = b""
            length = size + 1
        if length > size or length < IPV4_HEADER_LENGTH:
            self.drops[Drop.INVALID_PACKET] += 1
            return 0
        owner = self.allowed_ips.lookup(source)
        if owner is not lane and not self._speaks_for(lane, owner, source):
            self.drops[Drop.FORBIDDEN_SOURCE] += 1
            return 0
        if not self._delivered.lookup(destination) and not (
            self._forwards and self.allowed_ips.lookup(destination)
        ):
            self.drops[Drop.FORBIDDEN_DESTINATION] += 1
            return 0
        return length

    def _speaks_for(self, lane: Lane, owner: Lane | None, source: bytes) -> bool:
        """Tell whether a lane's peer may send what has a source that is another's."""
        if owner is None:
            return False
        if lane.forwards and owner.via is lane:
            return True
        return lane in (self._speakers.lookup(source) or ())

    def _is_echo(self, packet: bytes) -> bool:
        """Keep a reply to the owner's own echo request from the interface."""
        reply = parse_echo_reply(packet)
        if reply is None or reply[1] not in self._echo_identifiers:
            return False
        self._echoes.append(packet)
        return True

    def packets_to_write(self) -> list[bytes]:
        packets = self._packets
        if packets:
            self._packets = []
        return packets

    # What a filter lets pass.

    def set_filter(self, packet_filter: PacketFilter | None) -> None:
        self.use(None if packet_filter is None else KnownFlows(packet_filter))

    def use(self, flows: KnownFlows | None) -> None:
        """Let pass what a filter does, with what is known of it; ``None`` for all."""
        self._flows = flows

    def _judged(self, packets: Sequence[bytes], now: float) -> dict[Lane, list[bytes]]:
        """Return those packets from the interface that may pass, by their lane."""
        groups: dict[Lane, list[bytes]] = {}
        group: list[bytes] = []
        flow, last_size, flags, flow_of = None, -1, 0, _flow_of
        for packet in packets:
            size = len(packet)
            if size == last_size and flow_of(packet) == flow and not packet[33] & flags:
                group.append(packet)
                continue
            last_size = -1
            # What leads nowhere is judged as well: its sender may be told at once.
            if not self.is_up:
                continue
            passes = self.passes(packet, now, inbound=False)
            if not passes:
                continue
            lane = self._destination(packet)
            if lane is None:
                self.drops[Drop.NO_PEER] += 1
                continue
            group = groups.setdefault(lane, [])
            group.append(packet)
            if passes == Passage.FLOW and _is_plain(packet):
                flow, last_size = flow_of(packet), size
                flags = BEGIN_OR_END if packet[9] == TCP else 0
        return groups

    def passes(self, packet: bytes, now: float, *, inbound: bool) -> Passage:
        """Tell whether a packet passes the filter, if there is one; count if not."""
        if self._flows is None:
            return Passage.FLOW
        passage = self._flows.judge(packet, now, inbound=inbound)
        if not passage:
            drop = Drop.DENIED_INBOUND if inbound else Drop.DENIED_OUTBOUND
            self.drops[drop] += 1
        return passage

    def send_judged(self, packets: Sequence[bytes], now: float) -> None:
        """Take packets as from the interface, without asking the filter."""
        self._send_groups(self._grouped(packets), now)

    def _send_answers(self, now: float) -> None:
        """Send what a filter has to say of what it refused."""
        if self._flows is not None:
            to_interface, to_peers = self._flows.filter.take_answers()
            self._packets += to_interface
            if to_peers:
                self.send_judged(to_peers, now)

    # The fast path.

    def seal_one(self, packet: bytes, now: float, /) -> tuple[Endpoint, bytes] | None:
        version, length = packet[0] >> 4 if packet else 0, len(packet)
        if version == 4:
            lane = self.allowed_ips.lookup(packet[16:20])
        elif version == 6:
            lane = self.allowed_ips.lookup(packet[24:40])
        else:
            return None
        session = lane.session if lane is not None else None
        if lane is None or session is None or now >= session.seal_until:
            return None
        number, mtu = session.sent, self.mtu
        endpoint, encrypt = lane.endpoint, session.encrypt
        if (
            encrypt is None
            or endpoint is None
            or endpoint.link != UDP
            or lane.second is not None
            or number >= REKEY_AFTER_MESSAGES
            or not lane.longest >= length <= mtu
        ):
            return None
        flows = self._flows
        if flows is not None and (
            flows.generation != flows.filter.generation
            or now >= flows.outbound.get(flow_key(packet), 0.0)
        ):
            return None
        missing = -length % PADDING_MULTIPLE
        packet += _PADDING[missing if length + missing <= mtu else mtu - length]
        session.sent = number + 1
        counter = number.to_bytes(8, "little")
        sealed = encrypt(NONCE_PREFIX + counter, packet, None)
        message = session.prefix + counter + sealed
        self._notes.append((lane, None, None, len(message), True, now))
        return endpoint, message

    def open_one(
        self, datagram: bytes, endpoint: Endpoint, now: float, /
    ) -> bytes | None:
        found, length = self._sessions.get(datagram[:8]), len(datagram)
        if found is None or length <= DATA_OVERHEAD:
            return None
        session, lane = found
        if now >= session.open_until or (
            lane.endpoint is not endpoint and self._roaming
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
        self._notes.append((lane, session, endpoint, length, True, now))
        size = int.from_bytes(packet[2:4])
        if (
            packet[0] >> 4 != 4
            or not IPV4_HEADER_LENGTH <= size <= len(packet)
            or self.allowed_ips.lookup(packet[12:16]) is not lane
            or self._delivered.lookup(packet[16:20]) is None
        ):
            size = self._genuine_length(lane, packet)
        if size < len(packet):
            packet = packet[:size]
        flows = self._flows
        if flows is not None and (
            flows.generation != flows.filter.generation
            or now >= flows.inbound.get(flow_key(packet), 0.0)
        ):
            if packet and not self.passes(packet, now, inbound=True):
                packet = b""
            self._send_answers(now)
        if self._echo_identifiers and self._is_echo(packet):
            return b""
        return packet

    # What it is told.

    def add_lane(self) -> Lane:
        return Lane()

    def remove_lane(self, lane: Lane) -> None:
        self.allowed_ips.clear(lane)

    def steer(
        self, lane: Lane, endpoint: Endpoint | None, second: Endpoint | None = None
    ) -> None:
        lane.endpoint, lane.second = endpoint, second

    def limit(self, lane: Lane, longest: int) -> None:
        lane.longest = longest

    def let_forward(self, lane: Lane, forwards: bool) -> None:
        lane.forwards = forwards

    def let_come_by(self, lane: Lane, hub: Lane | None) -> None:
        lane.via = hub

    def accept_from(self, networks: Iterable[tuple[Network, Sequence[Lane]]]) -> None:
        self._speakers = AllowedIPs()
        for network, lanes in networks:
            self._speakers.insert(network, tuple(lanes))

    def deliver_only(self, networks: Iterable[Network], *, members: bool) -> None:
        self._delivered, self._forwards = AllowedIPs(), members
        for network in networks:
            self._delivered.insert(network, True)

    def make_session(
        self,
        keys: tuple[bytes, bytes],
        *,
        local_index: int,
        remote_index: int,
        is_initiator: bool,
        now: float,
    ) -> Session:
        return Session(
            keys,
            local_index=local_index,
            remote_index=remote_index,
            is_initiator=is_initiator,
            now=now,
        )

    def add_session(self, lane: Lane, session: Session) -> None:
        self._sessions[session.start] = session, lane

    def seal_with(self, lane: Lane, session: Session | None) -> None:
        lane.session = session

    def remove_session(self, session: Session) -> None:
        self._sessions.pop(session.start, None)

    def set_channel(self, peer: Endpoint, server: Endpoint, number: int | None) -> None:
        if number is None:
            self._channels.remove(peer)
        else:
            self._channels.put(peer, server, number)

    def intercept_echoes(self, identifiers: frozenset[int]) -> None:
        self._echo_identifiers = identifiers

    # What goes up.

    def take_notes(self) -> list[Note]:
        if not self._notes:
            return []
        notes, self._notes = self._notes, []
        return notes

    def take_unsent(self) -> list[tuple[Lane, Sequence[Buffer], float]]:
        if not self._unsent:
            return []
        unsent, self._unsent = self._unsent, []
        return unsent

    def take_exceptions(self) -> list[tuple[Sequence[Buffer], Endpoint]]:
        if not self._exceptions:
            return []
        exceptions, self._exceptions = self._exceptions, []
        return exceptions

    def take_echoes(self) -> list[bytes]:
        echoes, self._echoes = self._echoes, []
        return echoes


def _is_plain(packet: bytes) -> bool:
    """Tell whether the packets of a flow are known by what :data:`_FLOW` looks at."""
    return (
        len(packet) >= _JUDGED_LENGTH
        and packet[0] == _PLAIN_IPV4
        and packet[9] in TCP_AND_UDP
    )


def _lane_to(endpoint: Endpoint) -> Lane:
    """Return a lane for what does not go where the rest of a peer's messages go."""
    lane = Lane()
    lane.endpoint = endpoint
    return lane
