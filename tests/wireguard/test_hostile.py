"""What anybody may send to a whole interface: replays, floods, and any bytes at all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.transmit import Endpoint
from meshwg.wireguard.device import Device
from meshwg.wireguard.drop import Drop
from tests.wireguard.pair import COOKIE, INITIATION, RESPONSE, START, Pair, flip

ELSEWHERE = Endpoint("198.51.100.9", 4242)
STRANGER = Endpoint("203.0.113.5", 1)


# Handshakes that are refused.


def test_a_replayed_initiation_is_refused() -> None:
    pair = Pair()
    pair.connect()
    (initiation,) = [d for _, _, d in pair.wire if d[0] == INITIATION]
    pair.now += 1
    pair.bob.device.receive_datagrams([initiation], STRANGER, pair.now)
    assert pair.bob.drops == {Drop.HANDSHAKE_REPLAYED: 1}
    assert pair.bob.device.datagrams_to_send() == []


def test_a_flood_of_authentic_initiations_is_slowed_down() -> None:
    pair = Pair()
    for step in range(10):
        pair.now = START + step * 0.018
        pair.alice.peer._handshake_sent_at = float("-inf")
        pair.alice.peer.initiate(pair.now)
        pair.deliver()
    assert pair.bob.drops == {Drop.HANDSHAKE_FLOOD: 5}


def test_a_stranger_is_not_answered() -> None:
    pair = Pair()
    stranger = Pair(seed=77)
    peer = stranger.alice.device.add_peer(pair.bob.public_key)
    stranger.alice.device.set_endpoint(peer, pair.bob.endpoint)
    peer.initiate(START)
    (transmit,) = stranger.alice.device.datagrams_to_send()
    pair.bob.device.receive_datagrams(transmit.datagrams, STRANGER, START)
    assert pair.bob.drops == {Drop.HANDSHAKE_REFUSED: 1}
    assert pair.bob.device.datagrams_to_send() == []


def test_a_message_made_for_another_key_costs_no_curve_operation() -> None:
    pair = Pair()
    pair.alice.peer.initiate(pair.now)
    (transmit,) = pair.alice.device.datagrams_to_send()
    pair.bob.device.receive_datagrams(
        [flip(transmit.datagrams[0], 120)], STRANGER, pair.now
    )
    assert pair.bob.drops == {Drop.INVALID_MAC1: 1}


def test_a_second_response_is_refused() -> None:
    pair = Pair()
    pair.connect()
    (response,) = [d for _, _, d in pair.wire if d[0] == RESPONSE]
    pair.alice.device.receive_datagrams([response], STRANGER, pair.now)
    assert pair.alice.drops == {Drop.RESPONSE_REFUSED: 1}
    assert pair.alice.peer.endpoint == pair.bob.endpoint


def test_peers_with_low_order_keys_can_be_configured_and_are_never_spoken_to() -> None:
    pair = Pair()
    peer = pair.alice.device.add_peer(bytes(32))
    pair.alice.device.set_endpoint(peer, ELSEWHERE)
    peer.send([pair.packet(pair.alice)], pair.now)
    assert pair.alice.device.datagrams_to_send() == []


# Load.


def test_under_load_a_handshake_costs_a_round_trip_first() -> None:
    pair = Pair()
    load(pair)
    packet = pair.packet(pair.alice)
    pair.send(pair.alice, packet)
    assert pair.bob.drops == {Drop.UNDER_LOAD: 1}
    assert next(d[0] for _, side, d in pair.wire if side is pair.bob) == COOKIE
    assert pair.now == START
    assert pair.bob.received == [packet]


def test_without_load_mac2_is_not_checked() -> None:
    pair = Pair()
    pair.alice.peer.initiate(pair.now)
    (transmit,) = pair.alice.device.datagrams_to_send()
    changed = flip(transmit.datagrams[0], 147)
    pair.bob.device.receive_datagrams([changed], pair.alice.endpoint, pair.now)
    assert pair.bob.drops == {}


def test_under_load_valid_cookies_are_rate_limited() -> None:
    pair = Pair()
    load(pair)
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    for _ in range(8):
        pair.alice.peer._handshake_sent_at = float("-inf")
        pair.alice.peer.initiate(pair.now)
        pair.deliver()
    drops = pair.bob.drops
    assert drops[Drop.UNDER_LOAD] == 1
    assert drops[Drop.RATE_LIMITED] == 4


def test_a_flood_of_strangers_is_never_answered_with_more_than_it_sent() -> None:
    pair = Pair()
    pair.alice.peer.initiate(pair.now)
    (transmit,) = pair.alice.device.datagrams_to_send()
    received = 0
    for number in range(2000):
        forged = transmit.datagrams[0]
        received += len(forged)
        pair.bob.device.receive_datagrams(
            [forged], Endpoint(f"10.0.{number >> 8}.{number & 255}", 1), pair.now
        )
    sent = sum(
        len(datagram)
        for answer in pair.bob.device.datagrams_to_send()
        for datagram in answer.datagrams
    )
    assert sent < received
    assert len(pair.bob.device._around.indices) <= 1


def test_an_unsolicited_cookie_is_refused() -> None:
    pair = Pair()
    pair.connect()
    datagram = b"\x03\0\0\0" + bytes(60)
    pair.alice.device.receive_datagrams([datagram], STRANGER, pair.now)
    assert pair.alice.drops == {Drop.COOKIE_REFUSED: 1}


# Any bytes at all.


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_garbage_neither_raises_nor_changes_anything(garbage: list[bytes]) -> None:
    assert_harmless(garbage)


@settings(max_examples=300)
@given(
    st.lists(
        st.builds(
            lambda kind, length, body: (
                bytes([kind, 0, 0, 0]) + body.ljust(length, b"\0")[:length]
            ),
            st.integers(0, 5),
            st.sampled_from([0, 28, 60, 88, 144, 200]),
            st.binary(max_size=200),
        ),
        max_size=5,
    )
)
def test_garbage_in_the_right_form_does_neither(garbage: list[bytes]) -> None:
    assert_harmless(garbage)


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_of_a_real_message_does_neither(
    which: int, position: int, mask: int
) -> None:
    pair = Pair()
    pair.connect()
    _, side, datagram = pair.wire[which % len(pair.wire)]
    changed = bytearray(datagram)
    changed[position % len(changed)] ^= mask
    before = state(pair.other(side).device)
    pair.other(side).device.receive_datagrams([bytes(changed)], STRANGER, pair.now)
    assert state(pair.other(side).device) == before


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_garbage_from_the_interface_does_not_raise(garbage: list[bytes]) -> None:
    pair = Pair()
    pair.connect()
    pair.send(pair.alice, *garbage)


@settings(max_examples=60)
@given(st.data())
def test_any_loss_order_and_repetition_delivers_exactly_once(
    data: st.DataObject,
) -> None:
    pair = Pair()
    pair.connect()
    packets = [pair.packet(pair.alice, number.to_bytes(2)) for number in range(40)]
    pair.alice.device.receive_packets(packets, pair.now)
    (transmit,) = pair.alice.device.datagrams_to_send()
    arrivals = data.draw(st.lists(st.integers(0, 39), max_size=120))
    pair.bob.device.receive_datagrams(
        [transmit.datagrams[number] for number in arrivals],
        pair.alice.endpoint,
        pair.now,
    )
    delivered = pair.bob.device.packets_to_write()
    assert sorted(delivered) == sorted(packets[number] for number in set(arrivals))


def test_a_batch_may_mix_kinds_sessions_and_garbage() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    packets = [pair.packet(pair.alice, bytes([number])) for number in range(4)]
    pair.alice.device.receive_packets(packets[:2], pair.now)
    old = pair.alice.device.datagrams_to_send()[0].datagrams
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    pair.alice.device.receive_packets(packets[2:], pair.now)
    new = pair.alice.device.datagrams_to_send()[0].datagrams
    mixed = [old[0], b"", new[0], bytes(32), old[1], b"\4\0\0\0" + bytes(40), new[1]]
    pair.bob.device.receive_datagrams(mixed, pair.alice.endpoint, pair.now)
    assert pair.bob.device.packets_to_write() == [
        packets[0],
        packets[2],
        packets[1],
        packets[3],
    ]
    assert pair.bob.drops == {Drop.INVALID_MESSAGE: 2, Drop.UNKNOWN_SESSION: 1}


def load(pair: Pair) -> None:
    """Put Bob under load."""
    pair.bob.put_under_load(pair.now)


def assert_harmless(garbage: list[bytes]) -> None:
    pair = Pair()
    pair.connect()
    before = state(pair.alice.device)
    pair.alice.device.receive_datagrams(garbage, STRANGER, pair.now)
    assert state(pair.alice.device) == before
    assert pair.alice.device.datagrams_to_send() == []
    assert pair.alice.device.packets_to_write() == []
    pair.send(pair.bob, packet := pair.packet(pair.bob, b"still here"))
    assert pair.alice.received == [packet]


def state(device: Device) -> list[object]:
    """Return what an unauthentic datagram must not change."""
    return [
        (
            peer.endpoint,
            peer.rx_bytes,
            peer.tx_bytes,
            peer.last_handshake,
            peer.current,
            peer.next,
            peer.previous,
            peer.timers.next(),
        )
        for peer in device.peers.values()
    ] + [len(device._around.indices), device.get_timer()]
