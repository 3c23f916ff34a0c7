"""The data path by itself: lanes, channels, flows, and what goes up.

Whole devices are tested over it in ``test_device.py``, ``test_peer.py`` and
``test_fastpath.py``.
"""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet.icmp import echo_request
from meshwg.packet.ip import MAX_PACKET, checksum, word_sum
from meshwg.transmit import Endpoint
from meshwg.wire.channeldata import wrap
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.python_datapath import PythonDatapath
from tests.wireguard.pair import ipv4

NOW = 1000.0
KEYS = bytes([1]) * 32, bytes([2]) * 32
THERE, ELSEWHERE = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
RELAY = Endpoint("198.51.100.1", 3478)
RELAYED = Endpoint("198.51.100.1", 50000, link=1 << 16)
CHANNEL = 0x4001
OURS, THEIRS = "10.0.0.1", "10.0.0.2"

# Lanes


def test_packets_go_in_the_lane_that_owns_their_address() -> None:
    here, _ = ends()
    here.path.receive_packets([ipv4(OURS, THEIRS), ipv4(OURS, "10.0.0.9")], NOW)
    (transmit,) = here.path.datagrams_to_send()
    assert transmit.destination == THERE
    assert here.path.drops[Drop.NO_PEER] == 1


def test_in_doubt_a_copy_of_everything_goes_to_the_second_endpoint() -> None:
    here, _ = ends()
    here.path.steer(here.lane, THERE, ELSEWHERE)
    here.path.receive_packets([ipv4(OURS, THEIRS)] * 2, NOW)
    first, second = here.path.datagrams_to_send()
    assert (first.destination, second.destination) == (THERE, ELSEWHERE)
    assert first.datagrams == second.datagrams
    assert here.path.seal_one(ipv4(OURS, THEIRS), NOW) is None


def test_a_message_goes_where_its_lane_leads_when_it_is_drained() -> None:
    here, _ = ends()
    here.path.receive_packets([ipv4(OURS, THEIRS)], NOW)
    here.path.send(here.lane, b"handshake")
    here.path.steer(here.lane, ELSEWHERE)
    sent = here.path.datagrams_to_send()
    assert [each.destination for each in sent] == [ELSEWHERE, ELSEWHERE]
    assert sent[1].datagrams == [b"handshake"]


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "together"])
def test_senders_of_what_is_too_long_for_a_lane_are_told_and_the_rest_goes(
    alone: bool,
) -> None:
    here, _ = ends()
    here.path.limit(here.lane, 1312)
    passing, too_long = locked(1312), locked(1313)
    if alone:
        assert here.path.seal_one(too_long, NOW) is None
        assert here.path.seal_one(passing, NOW) is not None
    here.path.receive_packets([passing, too_long, too_long, passing], NOW)
    (transmit,) = here.path.datagrams_to_send()
    assert [len(each) for each in transmit.datagrams] == [1312 + 32] * 2
    (answer,) = here.path.packets_to_write()
    assert answer[12:20] == too_long[16:20] + too_long[12:16]
    assert int.from_bytes(answer[26:28]) == 1312
    assert here.path.drops[Drop.TOO_LONG] == 2
    here.path.limit(here.lane, MAX_PACKET)
    here.path.receive_packets([too_long], NOW)
    assert len(here.path.datagrams_to_send()) == 1


def test_what_is_too_long_for_a_lane_is_fragmented_if_it_may_be() -> None:
    here, there = ends()
    here.path.limit(here.lane, 1312)
    packet = ipv4(OURS, THEIRS, bytes(1380))
    here.path.receive_packets([packet], NOW)
    (transmit,) = here.path.datagrams_to_send()
    there.path.receive_datagrams(transmit.datagrams, THERE, NOW)
    first, second = there.path.packets_to_write()
    assert (len(first), len(first) + len(second)) == (1308, 1400 + 20)
    assert here.path.packets_to_write() == []


def test_every_ipv6_packet_of_the_least_length_is_tried() -> None:
    here, _ = ends()
    here.path.allowed_ips.insert(ip_network("fd00::2"), here.lane)
    here.path.limit(here.lane, 1200)
    addresses = ip_address("fd00::1").packed + ip_address("fd00::2").packed
    packet = b"\x60" + bytes(5) + b"\x11\x40" + addresses
    for length, sent in (1280, 1), (1281, 0):
        here.path.receive_packets([packet.ljust(length, b"x")], NOW)
        assert len(here.path.datagrams_to_send()) == sent


def test_a_message_without_a_path_is_dropped_when_it_is_drained() -> None:
    here, _ = ends()
    here.path.send(here.lane, b"handshake")
    here.path.steer(here.lane, None)
    assert here.path.datagrams_to_send() == []
    assert here.path.drops[Drop.NO_ENDPOINT] == 1


@pytest.mark.parametrize("missing", ["session", "endpoint", "time"])
def test_packets_that_cannot_be_encrypted_are_passed_up(missing: str) -> None:
    here, _ = ends()
    now = NOW
    if missing == "session":
        here.path.seal_with(here.lane, None)
    elif missing == "endpoint":
        here.path.steer(here.lane, None)
    else:
        now += 180
    packet = ipv4(OURS, THEIRS)
    here.path.receive_packets([packet], now)
    assert here.path.take_unsent() == [(here.lane, [packet], now)]
    assert here.path.take_unsent() == []
    assert here.path.take_notes() == []
    assert here.path.seal(here.lane, [packet], now) == (0, 0)


def test_while_it_is_down_packets_have_nowhere_to_go() -> None:
    here, _ = ends()
    here.path.is_up = False
    here.path.receive_packets([ipv4(OURS, THEIRS)], NOW)
    assert here.path.drops[Drop.NO_PEER] == 1


def test_a_lane_that_was_removed_owns_nothing() -> None:
    here, _ = ends()
    here.path.remove_lane(here.lane)
    here.path.receive_packets([ipv4(OURS, THEIRS)], NOW)
    assert here.path.drops[Drop.NO_PEER] == 1


# Notes


def test_what_was_carried_is_noted_in_its_order() -> None:
    here, there = ends()
    packet = ipv4(OURS, THEIRS, bytes(12))
    sealed = here.path.seal_one(packet, NOW)
    here.path.receive_packets([packet, packet], NOW + 1)
    messages = [sealed[1]] if sealed is not None else []
    messages += here.path.datagrams_to_send()[0].datagrams
    assert here.path.take_notes() == [
        (here.lane, None, None, 64, True, NOW),
        (here.lane, None, None, 128, True, NOW + 1),
    ]
    there.path.receive_datagrams(messages, THERE, NOW + 2)
    assert there.path.take_notes() == [
        (there.lane, there.session, THERE, 192, True, NOW + 2)
    ]
    assert there.path.take_notes() == []


def test_keepalives_are_noted_as_such_and_deliver_nothing() -> None:
    here, there = ends()
    assert here.path.seal(here.lane, [b"", b""], NOW) == (2, 64)
    assert here.path.take_notes() == [], "whoever asked for them knows"
    (transmit,) = here.path.datagrams_to_send()
    there.path.receive_datagrams(transmit.datagrams, THERE, NOW)
    assert there.path.take_notes() == [
        (there.lane, there.session, THERE, 64, False, NOW)
    ]
    assert there.path.packets_to_write() == []


# Exceptions


def test_packets_of_no_session_are_passed_up_in_order() -> None:
    here, there = ends()
    data = here.message(ipv4(OURS, THEIRS))
    stranger = b"\4\0\0\0" + bytes(40)
    handshake = b"\1\0\0\0" + bytes(144)
    arrived = [handshake, data, b"", stranger, data[:31]]
    there.path.receive_datagrams(arrived, THERE, NOW)
    assert there.path.take_exceptions() == [
        ([handshake, b"", stranger, data[:31]], THERE)
    ]
    assert there.path.packets_to_write() == [ipv4(OURS, THEIRS)]


def test_a_removed_session_is_unknown() -> None:
    here, there = ends()
    data = here.message(ipv4(OURS, THEIRS))
    there.path.remove_session(there.session)
    there.path.receive_datagrams([data], THERE, NOW)
    assert there.path.take_exceptions() == [([data], THERE)]


@given(st.lists(st.binary(max_size=80)), st.sampled_from([THERE, RELAY]))
def test_any_datagrams_go_up_or_are_counted_and_none_raises(
    datagrams: list[bytes], endpoint: Endpoint
) -> None:
    _, there = ends()
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    there.path.receive_datagrams(datagrams, endpoint, NOW)
    up = [each for run, _ in there.path.take_exceptions() for each in run]
    assert sorted(up, key=bytes) == sorted(datagrams)
    assert there.path.packets_to_write() == []


# Channels of a relay


def test_an_endpoint_with_a_channel_is_reached_through_the_relay() -> None:
    here, there = ends()
    here.path.set_channel(RELAYED, RELAY, CHANNEL)
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    here.path.steer(here.lane, RELAYED)
    packets = [ipv4(OURS, THEIRS, bytes([number])) for number in range(3)]
    here.path.receive_packets(packets, NOW)
    (transmit,) = here.path.datagrams_to_send()
    assert transmit.destination == RELAY
    there.path.receive_datagrams(transmit.datagrams, RELAY, NOW)
    assert there.path.packets_to_write() == packets
    ((_, _, endpoint, length, _, _),) = there.path.take_notes()
    assert (endpoint, length) == (RELAYED, 3 * 64), "without the relay's wrapping"


def test_a_copy_goes_through_a_channel_too() -> None:
    here, _ = ends()
    here.path.set_channel(RELAYED, RELAY, CHANNEL)
    here.path.steer(here.lane, THERE, RELAYED)
    here.path.receive_packets([ipv4(OURS, THEIRS)], NOW)
    first, second = here.path.datagrams_to_send()
    assert (first.destination, second.destination) == (THERE, RELAY)
    assert second.datagrams == wrap(CHANNEL, first.datagrams)


def test_without_a_channel_a_packet_is_left_to_the_pool() -> None:
    here, _ = ends()
    here.path.set_channel(RELAYED, RELAY, CHANNEL)
    here.path.set_channel(RELAYED, RELAY, None)
    here.path.steer(here.lane, RELAYED)
    here.path.receive_packets([ipv4(OURS, THEIRS)], NOW)
    (transmit,) = here.path.datagrams_to_send()
    assert transmit.destination == RELAYED


def test_only_the_relay_itself_may_use_its_channels() -> None:
    here, there = ends()
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    wrapped = wrap(CHANNEL, [here.message(ipv4(OURS, THEIRS))])
    there.path.receive_datagrams(wrapped, ELSEWHERE, NOW)
    assert there.path.take_exceptions() == [(wrapped, ELSEWHERE)]
    assert there.path.packets_to_write() == []


def test_data_in_an_unknown_channel_is_passed_up_unchanged() -> None:
    here, there = ends()
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    wrapped = wrap(CHANNEL + 1, [here.message(ipv4(OURS, THEIRS))])
    there.path.receive_datagrams(wrapped, RELAY, NOW)
    assert there.path.take_exceptions() == [(wrapped, RELAY)]


def test_other_payload_in_a_channel_is_passed_up_as_from_the_peer() -> None:
    _, there = ends()
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    there.path.receive_datagrams(wrap(CHANNEL, [b"check"]), RELAY, NOW)
    assert there.path.take_exceptions() == [([b"check"], RELAYED)]


def test_a_channel_moves_with_its_number() -> None:
    here, there = ends()
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    there.path.set_channel(RELAYED, RELAY, CHANNEL + 1)
    data = here.message(ipv4(OURS, THEIRS))
    there.path.receive_datagrams(wrap(CHANNEL, [data]), RELAY, NOW)
    assert there.path.packets_to_write() == []
    there.path.receive_datagrams(wrap(CHANNEL + 1, [data]), RELAY, NOW)
    assert there.path.packets_to_write() == [ipv4(OURS, THEIRS)]


def test_channel_data_that_came_out_of_a_channel_is_not_opened_again() -> None:
    here, there = ends()
    itself = RELAY._replace(link=RELAYED.link)
    there.path.set_channel(RELAYED, RELAY, CHANNEL)
    there.path.set_channel(itself, RELAY, CHANNEL + 1)
    inner = wrap(CHANNEL, [here.message(ipv4(OURS, THEIRS))])
    there.path.receive_datagrams(wrap(CHANNEL + 1, inner), RELAY, NOW)
    there.path.receive_datagrams(inner, itself, NOW)
    assert there.path.take_exceptions() == [(inner, itself), (inner, itself)]
    assert there.path.packets_to_write() == []


# Flows


def test_packets_of_one_flow_and_length_are_looked_at_once() -> None:
    here, there = ends()
    lookups = count_lookups(there)
    there.receive(here, *[tcp()] * 5)
    assert len(there.written) == 5
    assert lookups == [b"\x0a\0\0\1"]


@pytest.mark.parametrize(
    "change",
    [
        {"destination": 81},
        {"source": 5001},
        {"protocol": 17},
        {"flags": b"\x20\0"},
        {"flags": b"\0\5"},
        {"to": "10.0.0.3"},
    ],
    ids=["port", "source-port", "protocol", "fragments", "offset", "destination"],
)
def test_a_packet_of_another_flow_is_examined_again(
    change: dict[str, Any],
) -> None:
    here, there = ends()
    lookups = count_lookups(there)
    there.receive(here, tcp(), tcp(**change))
    assert len(lookups) == 2


def test_a_flow_does_not_vouch_for_a_spoofed_source_or_a_wrong_length() -> None:
    here, there = ends()
    good = tcp()
    spoofed = good[:12] + b"\x0a\0\0\x63" + good[16:]
    longer = good[:2] + b"\xff\xff" + good[4:]
    there.receive(here, good, spoofed, longer, good)
    assert there.written == [good, good]
    assert there.path.drops[Drop.FORBIDDEN_SOURCE] == 1
    assert there.path.drops[Drop.INVALID_PACKET] == 1


def test_padding_is_removed_whatever_came_before() -> None:
    here, there = ends()
    short, longer = ipv4(OURS, THEIRS, b"12345"), ipv4(OURS, THEIRS, b"1234567")
    there.receive(here, short, longer, short, b"", short)
    assert there.written == [short, longer, short, short]


# Echoes


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in-a-batch"])
def test_awaited_echo_replies_are_kept_from_the_interface(alone: bool) -> None:
    here, there = ends()
    there.path.intercept_echoes(frozenset({7}))
    mine, other = echo_reply(7), echo_reply(8)
    there.receive(here, mine, other, alone=alone)
    assert there.written == [other]
    assert there.path.take_echoes() == [mine]
    assert there.path.take_echoes() == []
    there.path.intercept_echoes(frozenset())
    there.receive(here, mine, alone=alone)
    assert there.written == [other, mine]


class End:
    """A data path with one lane, in Python unless another is given."""

    def __init__(
        self, network: str, *, is_initiator: bool, path: Datapath | None = None
    ) -> None:
        self.path: Datapath = path or PythonDatapath()
        self.path.is_up = True
        self.lane: Lane = self.path.add_lane()
        self.path.allowed_ips.insert(ip_network(network), self.lane)
        self.path.steer(self.lane, THERE)
        keys = KEYS if is_initiator else KEYS[::-1]
        self.session = self.path.make_session(
            (keys[0], keys[1]),
            local_index=1 if is_initiator else 2,
            remote_index=2 if is_initiator else 1,
            is_initiator=is_initiator,
            now=NOW,
        )
        self.session.confirm()
        self.path.add_session(self.lane, self.session)
        self.path.seal_with(self.lane, self.session)
        self.written: list[bytes] = []

    def message(self, packet: bytes) -> bytes:
        """Return a packet as a message of this end."""
        assert self.path.seal(self.lane, [packet], NOW)[0] == 1
        return self.path.datagrams_to_send()[0].datagrams[0]

    def receive(self, sender: "End", *packets: bytes, alone: bool = False) -> None:
        """Take packets from the other end, in one batch or one by one."""
        messages = [sender.message(packet) for packet in packets]
        if not alone:
            self.path.receive_datagrams(messages, THERE, NOW)
            self.written += self.path.packets_to_write()
            return
        assert self.lane.endpoint is not None
        for message in messages:
            packet = self.path.open_one(message, self.lane.endpoint, NOW)
            if packet is None:
                assert self.path.kind == "core", "it has no fast path"
                self.path.receive_datagrams([message], THERE, NOW)
            self.written += [packet] if packet else self.path.packets_to_write()


def ends(path: Datapath | None = None) -> tuple[End, End]:
    """Return two ends of one session, each owning the other's address.

    :param path: that of the first one, if it is not one in Python.
    """
    here = End("10.0.0.2", is_initiator=True, path=path)
    return here, End("10.0.0.1", is_initiator=False)


def count_lookups(end: End) -> list[bytes]:
    """Return where the addresses that are looked up will be found."""
    asked: list[bytes] = []
    lookup = end.path.allowed_ips.lookup

    def counted(address: bytes) -> Lane | None:
        asked.append(address)
        return lookup(address)

    end.path.allowed_ips.lookup = counted
    return asked


def tcp(
    source: int = 5000,
    destination: int = 80,
    *,
    protocol: int = 6,
    flags: bytes = b"\0\0",
    to: str = THEIRS,
) -> bytes:
    """Return an IPv4 packet of 48 bytes, a multiple of what they are padded to."""
    ports = source.to_bytes(2) + destination.to_bytes(2)
    packet = ipv4(OURS, to, ports + bytes(24))
    return packet[:6] + flags + packet[8:9] + bytes([protocol]) + packet[10:]


def locked(length: int) -> bytes:
    """Return a packet that may not be fragmented."""
    packet = ipv4(OURS, THEIRS, bytes(length - 20))
    return packet[:6] + b"\x40" + packet[7:]


def echo_reply(identifier: int) -> bytes:
    """Return an echo reply, made of a request."""
    request = echo_request(OURS, THEIRS, identifier, 1, bytes(20))
    reply = bytes(4) + request[24:]
    sum_ = checksum(word_sum(reply)).to_bytes(2)
    return request[:20] + reply[:2] + sum_ + reply[4:]
