"""The fast path: what it takes, what it leaves, and that it makes no difference.

All other tests of the engine run over it, too (see ``conftest.py``).
"""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.transmit import Endpoint, Source
from meshwg.wireguard.constants import (
    DEFAULT_MTU,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
)
from meshwg.wireguard.device import Device
from meshwg.wireguard.drop import Drop
from tests.wireguard.pair import DATA, Pair, Side, ipv4

ELSEWHERE = Endpoint("203.0.113.9", 999)


@pytest.fixture(autouse=True)
def way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the choice to the tests themselves; only the one in Python has a choice."""
    monkeypatch.setattr(Pair, "fast_path", False)


def test_a_lone_packet_becomes_a_datagram_and_a_packet_again() -> None:
    pair = connected()
    packet = pair.packet(pair.alice, b"alone")
    endpoint, message = sealed(pair, packet)
    assert endpoint == pair.bob.endpoint
    assert message[0] == DATA
    assert pair.bob.device.open_one(message, pair.alice.endpoint, pair.now) == packet


def test_ipv6_takes_it_too() -> None:
    pair = connected()
    addresses = {pair.alice: "fd00::1", pair.bob: "fd00::2"}
    for side in addresses:
        network = ip_network(addresses[pair.other(side)])
        side.device.allowed_ips.insert(network, side.peer.lane)
    packet = b"\x60\0\0\0" + (8).to_bytes(2) + b"\x11\x40"
    packet += b"".join(map(ip_bytes, addresses.values())) + b"12345678"
    _, message = sealed(pair, packet)
    assert pair.bob.device.open_one(message, pair.alice.endpoint, pair.now) == packet


def test_what_is_to_be_noted_waits() -> None:
    pair = connected()
    before, timer = pair.alice.peer.tx_bytes, pair.alice.peer.timers.new_handshake
    _, message = sealed(pair, pair.packet(pair.alice))
    assert pair.alice.peer.tx_bytes == before
    assert pair.alice.peer.timers.new_handshake == timer
    pair.alice.device.settle()
    assert pair.alice.peer.tx_bytes == before + len(message)
    assert pair.alice.peer.timers.new_handshake < timer


def test_asking_for_the_timer_includes_what_was_not_yet_noted() -> None:
    pair = connected()
    pair.run(pair.now + 60)
    sealed(pair, pair.packet(pair.alice))
    timer = pair.alice.device.get_timer()
    assert timer is not None
    assert timer < pair.now + 20


def test_a_peer_that_is_removed_before_it_was_noted_stays_silent() -> None:
    pair = connected()
    sealed(pair, pair.packet(pair.alice))
    pair.alice.device.remove_peer(pair.bob.public_key)
    said = [datagram for _, side, datagram in pair.wire if side is pair.alice]
    pair.run(pair.now + 400)
    now = [datagram for _, side, datagram in pair.wire if side is pair.alice]
    assert now == said


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        b"\x05" + bytes(30),
        ipv4("10.0.0.1", "10.0.0.9"),
        ipv4("10.0.0.1", "10.0.0.2", bytes(DEFAULT_MTU)),
    ],
    ids=["empty", "cut-off", "no-ip", "for-nobody", "longer-than-the-mtu"],
)
def test_unusual_packets_take_the_slow_path(packet: bytes) -> None:
    pair = connected()
    assert_left(pair, packet)


def test_a_packet_too_long_for_the_path_takes_the_slow_path() -> None:
    pair = connected()
    pair.alice.device.set_limit(pair.alice.peer, 1232)
    assert_left(pair, ipv4("10.0.0.1", "10.0.0.2", bytes(1201 - 20)))
    sealed(pair, ipv4("10.0.0.1", "10.0.0.2", bytes(1200 - 20)))


def test_a_packet_without_a_session_takes_the_slow_path() -> None:
    pair = Pair()
    assert_left(pair, pair.packet(pair.alice))


@pytest.mark.parametrize("age", [REKEY_AFTER_TIME + 0.1, REJECT_AFTER_TIME])
def test_a_packet_that_has_to_renew_the_session_takes_the_slow_path(age: float) -> None:
    pair = connected()
    assert pair.alice.peer.current is not None
    pair.now = pair.alice.peer.current.expires_at - REJECT_AFTER_TIME + age
    assert_left(pair, pair.packet(pair.alice))


def test_a_packet_on_a_session_with_too_many_messages_takes_the_slow_path() -> None:
    pair = connected()
    assert pair.alice.peer.current is not None
    pair.alice.peer.current.sent = REKEY_AFTER_MESSAGES
    assert_left(pair, pair.packet(pair.alice))


@pytest.mark.parametrize("endpoint", [None, Endpoint("192.0.2.2", 51820, link=7)])
def test_a_packet_that_no_socket_of_ours_sends_takes_the_slow_path(
    endpoint: Endpoint | None,
) -> None:
    pair = connected()
    pair.alice.device.set_endpoint(pair.alice.peer, endpoint)
    assert_left(pair, pair.packet(pair.alice))


def test_unusual_datagrams_take_the_slow_path() -> None:
    pair = connected()
    _, message = sealed(pair, pair.packet(pair.alice, b"x"))
    _, next_one = sealed(pair, pair.packet(pair.alice, b"y"))
    forged = message[:-1] + bytes([message[-1] ^ 1])
    for datagram in (b"", message[:32], b"\1" + message[1:], forged, next_one):
        assert pair.bob.device.open_one(datagram, pair.alice.endpoint, pair.now) is None
    assert pair.bob.drops == {}
    assert pair.bob.device.open_one(message, pair.alice.endpoint, pair.now)
    assert pair.bob.device.open_one(message, pair.alice.endpoint, pair.now) is None


def test_a_keepalive_and_a_message_from_elsewhere_take_the_slow_path() -> None:
    pair = connected()
    pair.alice.peer.send_keepalive(pair.now)
    ((keepalive,),) = (t.datagrams for t in pair.alice.device.datagrams_to_send())
    bob = pair.bob.device
    assert bob.open_one(keepalive, pair.alice.endpoint, pair.now) is None
    bob.receive_datagrams([keepalive], pair.alice.endpoint, pair.now)
    _, message = sealed(pair, pair.packet(pair.alice))
    assert bob.open_one(message, ELSEWHERE, pair.now) is None
    bob.receive_datagrams([message], ELSEWHERE, pair.now)
    assert pair.bob.peer.endpoint == ELSEWHERE


def test_an_old_session_takes_the_slow_path_to_be_renewed() -> None:
    pair = connected()
    _, message = sealed(pair, pair.packet(pair.alice))
    later = pair.now + REJECT_AFTER_TIME
    assert pair.bob.device.open_one(message, pair.alice.endpoint, later) is None


def test_a_packet_with_a_forged_source_proves_the_peer_but_is_dropped() -> None:
    pair = connected()
    before = pair.bob.peer.rx_bytes
    _, message = sealed(pair, ipv4("10.0.0.66", "10.0.0.2", b"spoofed"))
    assert pair.bob.device.open_one(message, pair.alice.endpoint, pair.now) == b""
    pair.bob.device.settle()
    assert pair.bob.peer.rx_bytes == before + len(message)
    assert pair.bob.drops == {Drop.FORBIDDEN_SOURCE: 1}


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\4\0\0\0"]), st.booleans())
def test_garbage_neither_raises_nor_changes_anything(
    garbage: bytes, kind: bytes, has_index: bool
) -> None:
    pair = connected()
    assert pair.bob.peer.current is not None
    index = pair.bob.peer.current.local_index.to_bytes(4, "little")
    datagram = kind + index * has_index + garbage
    before = list(seen(pair.bob))
    assert pair.bob.device.open_one(datagram, pair.alice.endpoint, pair.now) is None
    assert list(seen(pair.bob)) == before


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_of_a_real_message_does_neither(
    position: int, mask: int
) -> None:
    pair = connected()
    changed = bytearray(sealed(pair, pair.packet(pair.alice, b"x"))[1])
    changed[position % len(changed)] ^= mask
    before = list(seen(pair.bob))
    bob = pair.bob.device
    assert bob.open_one(bytes(changed), pair.alice.endpoint, pair.now) is None
    assert list(seen(pair.bob)) == before


@settings(max_examples=200)
@given(st.binary(max_size=100))
def test_garbage_from_the_interface_does_not_raise(garbage: bytes) -> None:
    pair = connected()
    pair.alice.device.seal_one(garbage, pair.now)
    pair.alice.device.settle()


class Step(NamedTuple):
    """Something that happens to two devices, whichever way their packets take."""

    pause: float
    by_bob: bool
    packets: list[bytes]
    is_lost: bool
    moves_to: int


STEPS = st.lists(
    st.builds(
        Step,
        pause=st.sampled_from([0.0, 0.0, 0.0005, 0.2, 6.0, 11.0, 40.0, 121.0]),
        by_bob=st.booleans(),
        packets=st.lists(
            st.one_of(
                st.integers(0, 1500).map(bytes),
                st.binary(max_size=40),
            ),
            min_size=1,
            max_size=2,
        ),
        is_lost=st.sampled_from([False, False, False, True]),
        moves_to=st.integers(1, 2),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whichever_path_packets_take_the_result_is_the_same(steps: list[Step]) -> None:
    usual, fast = connected(), connected()
    fast.fast_path = True
    for step in steps:
        assert after(usual, step) == after(fast, step)


def after(pair: Pair, step: Step) -> list[object]:
    """Return what there is to see of a pair after one more step."""
    pair.run(pair.now + step.pause)
    pair.alice.endpoint = Endpoint("192.0.2.1", step.moves_to, source=Source("::", 1))
    side = pair.bob if step.by_bob else pair.alice
    pair.lose = lambda _side, _datagram: step.is_lost
    pair.send(side, *(pair.packet(side, packet) for packet in step.packets))
    pair.lose = lambda _side, _datagram: False
    wire = [(at, datagram) for at, _, datagram in pair.wire[-5:]]
    return [wire, *seen(pair.alice), *seen(pair.bob)]


def seen(side: Side) -> Iterable[object]:
    """Return all that a device knows and did."""
    timers = side.peer.timers
    return (
        side.received,
        side.drops,
        side.peer.endpoint,
        (side.peer.rx_bytes, side.peer.tx_bytes),
        side.peer.last_handshake,
        [getattr(timers, name) for name in timers.__slots__],
        side.device.get_timer(),
    )


def connected() -> Pair:
    """Return a pair that has exchanged a packet each way, so that all is usual."""
    pair = Pair()
    pair.connect()
    pair.send(pair.bob, pair.packet(pair.bob, b"hello"))
    pair.alice.received.clear()
    return pair


def sealed(pair: Pair, packet: bytes) -> tuple[Endpoint, bytes]:
    """Return what the fast path makes of a packet of Alice's."""
    result = pair.alice.device.seal_one(packet, pair.now)
    assert result is not None
    return result


def assert_left(pair: Pair, packet: bytes) -> None:
    """Assert that the fast path leaves a packet of Alice's, and notes nothing."""
    device: Device = pair.alice.device
    session = pair.alice.peer.current
    before = session.sent if session is not None else 0
    assert device.seal_one(packet, pair.now) is None
    assert (session.sent if session is not None else 0) == before
    assert device.datagrams_to_send() == []
    assert pair.alice.drops == {}


def ip_bytes(address: str) -> bytes:
    return ip_network(address).network_address.packed
