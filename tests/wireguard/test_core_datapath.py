"""The compiled data path against the one in Python, and what follows when it fails.

All tests of engines run over it, too (see ``conftest.py``). Here both get the same
random sequences of what may happen to a data path, and everything that comes out has to
be the same, every counter included.
"""

import importlib
import random
from collections.abc import Callable
from ipaddress import ip_network
from itertools import zip_longest
from zlib import crc32

import pytest

from meshwg.packet.icmp import echo_request
from meshwg.packet.ip import checksum, word_sum
from meshwg.transmit import Endpoint, Source
from meshwg.wire.channeldata import wrap
from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES
from meshwg.wireguard.core_datapath import (
    JUDGED_AT_ONCE,
    SKIPPED_COUNTERS,
    CoreDatapath,
)
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.drop import Drop
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

needs_core = pytest.mark.skipif(
    not datapaths.has_core(), reason="the compiled core is not installed"
)
pytestmark = needs_core


@pytest.mark.parametrize("seed", range(15))
def test_both_do_the_same_with_whatever_happens(seed: int) -> None:
    steps = Steps(seed)
    for _ in range(60):
        steps.do_one()
        steps.compare()


@pytest.mark.parametrize("seed", range(15))
def test_both_let_the_same_pass_with_a_filter(seed: int) -> None:
    steps = Steps(seed)
    steps.filter()
    for _ in range(60):
        steps.do_one()
        steps.compare()


def test_both_have_the_same_keys_of_flows() -> None:
    module, pick = importlib.import_module("meshwg_core"), random.Random(1)
    kinds = set()
    for _ in range(20_000):
        packet = bytearray(
            pick.randbytes(pick.choice([27, 28, 39, 40, 48, 59, 60, 90]))
        )
        packet[0] = pick.choice([0x45, 0x45, 0x46, 0x60, 0x6F, packet[0]])
        packet[6:8] = pick.choice([b"\0\0", b"\x40\0", b"\x20\0", packet[6:8]])
        place = 9 if packet[0] < 0x50 else 6
        packet[place] = pick.choice([1, 6, 17, 58, packet[place]])
        for place, values in (20, [0, 8, 3]), (40, [128, 129, 1]):
            if len(packet) > place:
                packet[place] = pick.choice([*values, packet[place]])
        key = flow_key(bytes(packet))
        kinds.add(None if key is None else len(key))
        assert module.flow_key(bytes(packet)) == key
    assert kinds == {None, 13, 11, 37, 35}


def test_what_waits_when_the_filter_goes_passes() -> None:
    steps = Steps(6)
    core = steps.ours
    assert isinstance(core, CoreDatapath)
    core.set_filter(Verdicts())
    core.core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    assert core.datagrams_to_send() == []
    core.set_filter(None)
    assert len(core.datagrams_to_send()) == 1


def test_what_is_taken_up_is_judged_in_bounded_portions() -> None:
    steps = Steps(7)
    core, verdicts = steps.ours, Verdicts()
    assert isinstance(core, CoreDatapath)
    core.set_filter(verdicts)
    core.core.receive_packets([ipv4(OWN, PEERS[0])] * (JUDGED_AT_ONCE + 1), NOW)
    core.take_exceptions()
    assert core.taken == JUDGED_AT_ONCE
    core.take_exceptions()
    assert core.taken == JUDGED_AT_ONCE + 1


def test_a_new_generation_is_noticed_without_any_packet_to_judge() -> None:
    steps = Steps(8)
    core, verdicts = steps.ours, Verdicts()
    assert isinstance(core, CoreDatapath)
    core.set_filter(verdicts)
    packet = passing(verdicts)
    core.receive_packets([packet], NOW)
    core.core.receive_packets([packet], NOW)
    assert core.core.take_unjudged(9) == []
    verdicts.generation += 1
    core.take_notes()
    core.core.receive_packets([packet], NOW)
    assert len(core.core.take_unjudged(9)) == 1


def test_after_a_failure_the_filter_stays() -> None:
    steps = Steps(9)
    core, verdicts = steps.ours, Verdicts()
    assert isinstance(core, CoreDatapath)
    core.set_filter(verdicts)
    waits = passing(verdicts)
    core.core.receive_packets([waits], NOW)
    core.fall_back("a test wants it")
    core.take_exceptions()
    assert len(core.datagrams_to_send()) == 1
    core.receive_packets([waits, refused(verdicts)], NOW)
    transmit, _answer = core.datagrams_to_send()
    assert len(transmit.datagrams) == 1
    assert core.drops[Drop.DENIED_OUTBOUND] == 1


def test_keepalives_and_data_are_told_apart() -> None:
    steps = Steps(1)
    steps.receive([steps.far[0].message(b""), steps.far[0].message(b"")], ENDPOINTS[0])
    (note,) = notes_of(steps.ours)
    assert note[4] is False


def test_if_it_fails_python_goes_on_with_the_same_sessions() -> None:
    steps = Steps(2)
    core, far = steps.ours, steps.far[0]
    assert isinstance(core, CoreDatapath)
    used = far.message(ipv4(PEERS[0], OWN))
    core.receive_datagrams([used], ENDPOINTS[0], NOW)
    core.receive_packets([ipv4(OWN, PEERS[0])] * 3, NOW)
    before = core.datagrams_to_send()
    core.packets_to_write()
    core.fall_back("a test wants it")
    core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    (transmit,) = core.datagrams_to_send()
    assert transmit.destination == before[0].destination
    assert far.opens(transmit.datagrams)
    assert counter(transmit.datagrams[0]) == 3 + SKIPPED_COUNTERS
    core.receive_datagrams([used, far.message(ipv4(PEERS[0], OWN))], ENDPOINTS[0], NOW)
    assert len(core.packets_to_write()) == 1
    assert core.drops[Drop.REPLAY] == 1


def test_a_failure_at_the_end_of_the_counters_uses_none_twice() -> None:
    steps = Steps(3)
    core = steps.ours
    assert isinstance(core, CoreDatapath)
    steps.sessions[0][0].sent = REJECT_AFTER_MESSAGES - 1
    core.fall_back("a test wants it")
    core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    assert core.datagrams_to_send() == []
    assert len(core.take_unsent()) == 1


def test_sessions_made_after_a_failure_work() -> None:
    core = datapaths.core()
    assert isinstance(core, CoreDatapath)
    core.fall_back("a test wants it")
    session = make_session(core, 0, is_initiator=True)
    lane = core.add_lane()
    core.add_session(lane, session)
    core.seal_with(lane, session)
    core.steer(lane, ENDPOINTS[0])
    assert core.seal(lane, [b"packet"], NOW)[0] == 1
    assert len(core.datagrams_to_send()) == 1


def test_a_panic_inside_a_call_is_such_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = Steps(4)
    core = steps.ours
    assert isinstance(core, CoreDatapath)
    broken = Panicking(core.core)
    monkeypatch.setattr(core, "core", broken)
    core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    assert core.failure == "it broke"
    assert len(core.datagrams_to_send()) == 1


def test_notes_of_a_lane_that_was_removed_are_nobodys() -> None:
    steps = Steps(5)
    steps.receive([steps.far[0].message(b"")], ENDPOINTS[0])
    for path, lanes in steps.both:
        path.remove_session(steps.sessions[0][0 if path is steps.ours else 1])
        path.remove_lane(lanes[0])
    assert steps.ours.take_notes() == []


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


def passing(verdicts: Verdicts) -> bytes:
    """Return a packet of a flow that passes for a while."""
    return next(
        packet
        for packet in map(udp_from, range(100))
        if verdicts.judge(packet, NOW, inbound=False) > NOW
    )


def refused(verdicts: Verdicts) -> bytes:
    """Return a packet that does not pass."""
    return next(
        packet
        for packet in map(udp_from, range(100))
        if verdicts.judge(packet, NOW, inbound=False) < 0
    )


def udp_from(port: int) -> bytes:
    """Return a packet to the first peer from that port."""
    return ipv4(OWN, PEERS[0], port.to_bytes(2) + bytes(10))


class Panicking:
    """A core that breaks when it is to carry packets."""

    def __init__(self, core: object) -> None:
        self._core = core

    def __getattr__(self, name: str) -> object:
        return getattr(self._core, name)

    def receive_packets(self, packets: list[bytes], now: float) -> None:
        raise RuntimeError("it broke")


class Far:
    """The other end of a session: what it sends, and whether it opens what it gets."""

    def __init__(self, number: int) -> None:
        self.path = PythonDatapath()
        self.lane = self.path.add_lane()
        self.session = make_session(self.path, number, is_initiator=False)
        self.path.steer(self.lane, ENDPOINTS[0])
        self.path.add_session(self.lane, self.session)
        self.path.seal_with(self.lane, self.session)

    def message(self, packet: bytes) -> bytes:
        assert self.path.seal(self.lane, [packet], NOW)[0] == 1
        return self.path.datagrams_to_send()[0].datagrams[0]

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
            self._sessions,
            self._echoes,
            self._networks,
            self._time,
        ]
        self.verdicts: list[Verdicts] = []

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
        destination = pick.choice([*PEERS, *PEERS, STRANGER])
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
        source = pick.choice([PEERS[number]] * 4 + [*PEERS, STRANGER])
        destination = pick.choice([OWN] * 4 + [*PEERS, STRANGER])
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
        which = self.random.randrange(2)
        peer = ENDPOINTS[3 + which]
        number = self.random.choice([None, 0x4001 + which, 0x4003 + which])
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


def make_session(path: Datapath, number: int, *, is_initiator: bool = True) -> Session:
    """Return one half of the session of a number."""
    keys = bytes([1, number]) * 16, bytes([2, number]) * 16
    indices = 100 + number, 200 + number
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


def notes_of(path: Datapath) -> list[tuple[object, ...]]:
    return [*path.take_notes()]


def counter(message: bytes) -> int:
    return int.from_bytes(message[8:16], "little")


def echo_reply(source: str, destination: str, identifier: int) -> bytes:
    """Return an echo reply, made of a request."""
    request = echo_request(source, destination, identifier, 1, bytes(20))
    reply = bytes(4) + request[24:]
    sum_ = checksum(word_sum(reply)).to_bytes(2)
    return request[:20] + reply[:2] + sum_ + reply[4:]
