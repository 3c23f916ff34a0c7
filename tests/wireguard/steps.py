"""What may happen to a data path, the same to both, and all that comes out of them.

:mod:`tests.wireguard.test_core_datapath` compares the compiled one with that in Python.
"""

import random
from collections.abc import Callable
from ipaddress import ip_network
from itertools import zip_longest
from zlib import crc32

from meshwg import prefixes
from meshwg.packet.icmp import echo_request
from meshwg.packet.ip import checksum, word_sum
from meshwg.transmit import Endpoint, Source
from meshwg.wire.channeldata import wrap
from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.filtering import REFUSED, flow_key
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.python_datapath import PythonDatapath
from meshwg.wireguard.session import Session
from tests import datapaths
from tests.policy.packets import ACK, FIN, RST, SYN, tcp
from tests.wireguard.pair import ipv4

NOW = 1000.0
MTU = 1420
RELAY = Endpoint("198.51.100.1", 3478)
ENDPOINTS = [
    Endpoint("192.0.2.1", 51820),
    Endpoint("192.0.2.1", 51821, 0, Source("192.0.2.9", 3)),
    Endpoint("2001:db8::1", 51820),
    Endpoint("fe80::1%4", 51820, 7),
    Endpoint("198.51.100.1", 50000, 1 << 16),
    RELAY,
]
OWN = "10.0.0.1"
PEERS = ["10.0.1.1", "10.0.2.1", "10.0.3.1"]
STRANGER = "10.9.9.9"
OUTSIDE = ("203.0.113.7", "8.8.8.8", "192.168.7.7", "169.254.169.254")
"""Addresses of the internet, and others that are not."""
INTERNET = prefixes.internet(ip_network("10.0.0.0/8"), ip_network("203.0.113.0/28"))
"""What an exit has behind it: dozens of networks that fit together without a gap."""


class Verdicts:
    """A filter that says the same of a packet whenever it is asked, and has answers."""

    def __init__(self) -> None:
        self.generation = 0
        self.asked: list[tuple[bytes, bool]] = []
        self._refused: list[bytes] = []

    def judge(self, packet: bytes, now: float, *, inbound: bool) -> float:
        self.asked.append((packet, inbound))
        verdict = crc32(flow_key(packet) or packet) % 4
        if verdict == 0:
            self._refused.append(packet)
            return REFUSED
        return now + 10 * (verdict - 1)

    def take_answers(self) -> tuple[list[bytes], list[bytes]]:
        refused, self._refused = self._refused, []
        return refused, [ipv4(OWN, PEERS[len(each) % 3]) for each in refused]


class Far:
    """The other end of a session: what it sends, and whether it opens what it gets."""

    def __init__(self, number: int) -> None:
        self.path = PythonDatapath()
        self.lane = self.path.add_lane()
        self.path.steer(self.lane, ENDPOINTS[0])
        self._number = number
        self.rekey(0)

    def rekey(self, generation: int) -> None:
        """Seal with another session from now on."""
        self.session = make_session(
            self.path, self._number, generation, is_initiator=False
        )
        self.path.add_session(self.lane, self.session)
        self.path.seal_with(self.lane, self.session)

    def message(self, packet: bytes) -> bytes:
        (message,) = self.messages([packet])
        return message

    def messages(self, packets: list[bytes]) -> list[bytes]:
        """Return packets as messages, as many as there are counters for."""
        self.path.seal(self.lane, packets, NOW)
        transmits = self.path.datagrams_to_send()
        return [each for transmit in transmits for each in transmit.datagrams]

    def opens(self, datagrams: list[bytes]) -> bool:
        self.path.receive_datagrams(datagrams, ENDPOINTS[0], NOW)
        return bool(self.path.take_notes())


class Steps:
    """Random things that happen to a data path of either kind."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = NOW
        self.ours, self.reference = datapaths.core(), datapaths.python()
        self.both: list[tuple[Datapath, list[Lane]]] = [
            (path, [path.add_lane() for _ in PEERS])
            for path in (self.ours, self.reference)
        ]
        self.far = [Far(number) for number in range(len(PEERS))]
        self.sessions: list[list[Session]] = []
        for number, network in enumerate(PEERS):
            made = []
            for path, lanes in self.both:
                path.is_up = True
                lane, session = lanes[number], make_session(path, number)
                path.allowed_ips.insert(ip_network(f"{network}/24", False), lane)
                path.allowed_ips.insert(ip_network(f"fd00:{number}::/32"), lane)
                path.add_session(lane, session)
                path.seal_with(lane, session)
                path.steer(lane, ENDPOINTS[number])
                made.append(session)
            self.sessions.append(made)
        self.sent: list[bytes] = []
        self.actions: list[Callable[[], None]] = [
            self._send_packets,
            self._send_packets,
            self._receive,
            self._receive,
            self._receive,
            self._steer,
            self._limit,
            self._seal,
            self._channel,
            self._hub,
            self._accept_from,
            self._deliver_only,
            self._exit,
            self._sessions,
            self._echoes,
            self._networks,
            self._time,
            self._rekey,
            self._use_up,
            self._change_in_flight,
        ]
        self.verdicts: list[Verdicts] = []
        self.generation = 0

    def filter(self) -> None:
        """Have a filter from now on, and do more of what makes a difference there."""
        self.actions += [self._filter, self._connection, self._connection]
        self._set_filter(True)

    def do_one(self) -> None:
        self.random.choice(self.actions)()

    def compare(self) -> None:
        """Everything that comes out, and every counter, has to be the same."""
        numbers = [
            {id(lane): number for number, lane in enumerate(lanes)}
            for _, lanes in self.both
        ]
        mine, theirs = (
            outcome(path, number)
            for (path, _), number in zip(self.both, numbers, strict=True)
        )
        assert mine == theirs
        if self.verdicts:
            assert self.verdicts[0].asked == self.verdicts[1].asked
        for pair in self.sessions:
            assert pair[0].sent == pair[1].sent

    def receive(self, datagrams: list[bytes], endpoint: Endpoint) -> None:
        for path, _ in self.both:
            path.receive_datagrams(datagrams, endpoint, self.now)

    # Things that happen.

    def _packet(self) -> bytes:
        pick = self.random
        destination = pick.choice([*PEERS, *PEERS, STRANGER, pick.choice(OUTSIDE)])
        packet = ipv4(OWN, destination, pick.randbytes(pick.choice([0, 5, 40, 1300])))
        match pick.randrange(8):
            case 0:
                return packet[:6] + b"\x40" + packet[7:]
            case 1:
                ends = bytes.fromhex("fd00" + 28 * "0") + bytes.fromhex(
                    f"fd00000{pick.randrange(4)}" + 24 * "0"
                )
                return b"\x60" + bytes(5) + b"\x11\x40" + ends + pick.randbytes(9)
            case 2:
                return pick.randbytes(pick.randrange(16))
        return packet

    def _send_packets(self) -> None:
        packets = [self._packet() for _ in range(self.random.randrange(6))]
        for path, _ in self.both:
            path.receive_packets(packets, self.now)

    def _inner(self, number: int) -> bytes:
        pick = self.random
        outside = pick.choice(OUTSIDE)
        source = pick.choice([PEERS[number]] * 4 + [*PEERS, STRANGER, outside])
        destination = pick.choice([OWN] * 4 + [*PEERS, STRANGER, outside])
        packet = ipv4(source, destination, pick.randbytes(pick.randrange(60)))
        match pick.randrange(9):
            case 0:
                return b""
            case 1:
                return pick.randbytes(pick.randrange(1, 50))
            case 2:
                return packet[:2] + pick.randbytes(2) + packet[4:]
            case 3:
                return echo_reply(source, destination, pick.randrange(3))
        return packet

    def _message(self) -> bytes:
        pick, number = self.random, self.random.randrange(len(PEERS))
        message = self.far[number].message(self._inner(number))
        match pick.randrange(10):
            case 0 if self.sent:
                return pick.choice(self.sent)
            case 1:
                return message[: pick.randrange(len(message) + 1)]
            case 2:
                place = pick.randrange(len(message))
                return (
                    message[:place] + bytes([message[place] ^ 4]) + message[place + 1 :]
                )
            case 3:
                return pick.randbytes(pick.randrange(60))
        self.sent.append(message)
        return message

    def _receive(self) -> None:
        pick = self.random
        batch = [self._message() for _ in range(pick.randrange(1, 6))]
        pick.shuffle(batch)
        endpoint = pick.choice(ENDPOINTS)
        if pick.randrange(3) == 0:
            batch = wrap(pick.choice([0x4001, 0x4002]), batch)
            endpoint = RELAY
        self.receive(batch, endpoint)

    def _steer(self) -> None:
        number = self.random.randrange(len(PEERS))
        first, second = (self.random.choice([None, *ENDPOINTS]) for _ in range(2))
        for path, lanes in self.both:
            path.steer(lanes[number], first, second)

    def _limit(self) -> None:
        number = self.random.randrange(len(PEERS))
        longest = self.random.choice([65535, 1280, 1200, 600])
        for path, lanes in self.both:
            path.limit(lanes[number], longest)

    def _filter(self) -> None:
        what = self.random.randrange(4)
        if what < 2:
            self._set_filter(what == 0)
        for verdicts in self.verdicts:
            verdicts.generation += what == 3

    def _set_filter(self, is_filtered: bool) -> None:
        self.verdicts = [Verdicts() for _ in self.both] if is_filtered else []
        for (path, _), verdicts in zip_longest(self.both, self.verdicts):
            path.set_filter(verdicts)

    def _connection(self) -> None:
        """Send segments of few connections in both directions, some at their ends."""
        pick = self.random
        number, port = pick.randrange(len(PEERS)), pick.randrange(4)
        ends = [(port, 22), (22, port)]
        ways = [(OWN, PEERS[number]), (PEERS[number], OWN)]
        flags = pick.choices([ACK, SYN, FIN | ACK, RST], [8, 1, 1, 1], k=4)
        out, back = (
            [tcp(*way, end, each) for each in flags]
            for way, end in zip(ways, ends, strict=True)
        )
        for path, _ in self.both:
            path.receive_packets(out, self.now)
        self.receive([self.far[number].message(each) for each in back], ENDPOINTS[0])

    def _seal(self) -> None:
        pick, number = self.random, self.random.randrange(len(PEERS))
        packets = [pick.randbytes(pick.choice([0, 30])) for _ in range(3)]
        endpoint = pick.choice(ENDPOINTS)
        results = set()
        for path, lanes in self.both:
            path.send(lanes[number], b"handshake")
            sealed = path.seal(lanes[number], packets, self.now)
            results.add((sealed, path.seal_to(lanes[number], endpoint, self.now)))
        assert len(results) == 1

    def _channel(self) -> None:
        peer = self.random.choice(ENDPOINTS[3:5])
        number = self.random.choice([None, 0x4001, 0x4002, 0x4003])
        for path, _ in self.both:
            path.set_channel(peer, RELAY, number)

    def _hub(self) -> None:
        hub, peer = self.random.sample(range(len(PEERS)), 2)
        forwards, by = self.random.random() < 0.7, self.random.random() < 0.7
        for path, lanes in self.both:
            path.let_forward(lanes[hub], forwards)
            path.let_come_by(lanes[peer], lanes[hub] if by else None)

    def _accept_from(self) -> None:
        text = self.random.choice(["10.0.0.0/16", "10.0.1.0/24", "10.0.2.1/32"])
        who = self.random.sample(range(len(PEERS)), self.random.randrange(3))
        for path, lanes in self.both:
            path.accept_from([(ip_network(text), [lanes[each] for each in who])])

    def _deliver_only(self) -> None:
        text = self.random.choice(["10.0.0.0/24", "0.0.0.0/0", "10.0.0.1/32"])
        members = self.random.random() < 0.5
        for path, _ in self.both:
            path.deliver_only([ip_network(text)], members=members)

    def _exit(self) -> None:
        """Have a peer as the exit or not, or be one oneself."""
        number, uses = self.random.randrange(len(PEERS)), self.random.random() < 0.7
        own = ip_network(f"{OWN}/32")
        for path, lanes in self.both:
            change = path.allowed_ips.insert if uses else path.allowed_ips.remove
            for network in INTERNET:
                change(network, lanes[number])
            path.deliver_only([own, *INTERNET], members=False)

    def _sessions(self) -> None:
        number = self.random.randrange(len(PEERS))
        what = self.random.randrange(4)
        for (path, lanes), session in zip(
            self.both, self.sessions[number], strict=True
        ):
            lane = lanes[number]
            if what == 0:
                path.seal_with(lane, None)
            elif what == 1:
                path.remove_session(session)
            else:
                path.add_session(lane, session)
                path.seal_with(lane, session)

    def _rekey(self) -> None:
        """Derive a new session while messages of the old one are on their way."""
        self._rekey_of(self.random.randrange(len(PEERS)))

    def _rekey_of(self, number: int) -> None:
        pick, far = self.random, self.far[number]
        late = far.messages([self._inner(number) for _ in range(3)])
        self.generation += 1
        forgets, made = pick.random() < 0.4, []
        for (path, lanes), old in zip(self.both, self.sessions[number], strict=True):
            session = make_session(path, number, self.generation)
            path.add_session(lanes[number], session)
            path.seal_with(lanes[number], session)
            if forgets:
                path.remove_session(old)
            made.append(session)
        self.sessions[number] = made
        far.rekey(self.generation)
        batch = [*late, far.message(self._inner(number))]
        pick.shuffle(batch)
        self.receive(batch, pick.choice(ENDPOINTS))
        self._send_packets()

    def _use_up(self) -> None:
        """Come near to where a session has no counters left, in both directions."""
        number = self.random.randrange(len(PEERS))
        left = self.random.randrange(5)
        for session in (*self.sessions[number], self.far[number].session):
            session.sent = REJECT_AFTER_MESSAGES - left
        self.receive(self.far[number].messages([b""] * 3), ENDPOINTS[0])
        for path, lanes in self.both:
            path.receive_packets([ipv4(OWN, PEERS[number])] * 3, self.now)
            path.seal(lanes[number], [b"", b""], self.now)
        self._rekey_of(number)

    def _change_in_flight(self) -> None:
        """Give networks to others while packets from there are on their way."""
        late = [self._message() for _ in range(4)]
        self.random.choice([self._networks, self._hub, self._deliver_only])()
        self.receive(late, self.random.choice(ENDPOINTS))

    def _echoes(self) -> None:
        wanted = frozenset(self.random.sample(range(3), self.random.randrange(3)))
        for path, _ in self.both:
            path.intercept_echoes(wanted)

    def _networks(self) -> None:
        network = ip_network(self.random.choice(["10.0.1.0/24", "10.0.2.1", STRANGER]))
        number, adds = self.random.randrange(len(PEERS)), self.random.random() < 0.6
        for path, lanes in self.both:
            change = path.allowed_ips.insert if adds else path.allowed_ips.remove
            change(network, lanes[number])

    def _time(self) -> None:
        self.now += self.random.choice([0.0, 1.0, 20.0])


def make_session(
    path: Datapath, number: int, generation: int = 0, *, is_initiator: bool = True
) -> Session:
    """Return one half of the session of a number, which may be renewed."""
    kind = number + len(PEERS) * generation
    keys = bytes([1, kind]) * 16, bytes([2, kind]) * 16
    indices = 1000 + kind, 2000 + kind
    if not is_initiator:
        keys, indices = keys[::-1], indices[::-1]
    session = path.make_session(
        keys,
        local_index=indices[0],
        remote_index=indices[1],
        is_initiator=is_initiator,
        now=NOW,
    )
    session.confirm()
    return session


def outcome(path: Datapath, numbers: dict[int, int]) -> dict[str, object]:
    """Return everything that a data path has to say, in terms of no objects.

    The order of what has nothing to do with each other may be any.
    """
    noted: dict[tuple[int, int | None, Endpoint | None], tuple[int, bool, float]] = {}
    for lane, session, endpoint, length, is_data, at in path.take_notes():
        index = session.local_index if session is not None else None
        key = numbers[id(lane)], index, endpoint
        known = noted.get(key, (0, False, 0.0))
        noted[key] = known[0] + length, known[1] or is_data, at
    sent: dict[tuple[Endpoint, bytes], list[bytes]] = {}
    for transmit in path.datagrams_to_send():
        for datagram in transmit.datagrams:
            start = datagram[4:12] if datagram[:1] == b"\x40" else datagram[:8]
            sent.setdefault((transmit.destination, start), []).append(datagram)
    unsent: dict[int, list[bytes]] = {}
    for lane, packets, _ in path.take_unsent():
        unsent.setdefault(numbers[id(lane)], []).extend(map(bytes, packets))
    return {
        "sent": sent,
        "written": sorted(path.packets_to_write()),
        "notes": noted,
        "unsent": unsent,
        "exceptions": [
            (bytes(datagram), endpoint)
            for run, endpoint in path.take_exceptions()
            for datagram in run
        ],
        "echoes": path.take_echoes(),
        "drops": {drop.value: count for drop, count in path.drops.items() if count},
    }


def echo_reply(source: str, destination: str, identifier: int) -> bytes:
    """Return an echo reply, made of a request."""
    request = echo_request(source, destination, identifier, 1, bytes(20))
    reply = bytes(4) + request[24:]
    sum_ = checksum(word_sum(reply)).to_bytes(2)
    return request[:20] + reply[:2] + sum_ + reply[4:]
