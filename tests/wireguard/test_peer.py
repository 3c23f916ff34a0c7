"""Timers, keypair rotation and limits of a peer, in virtual time."""

from itertools import pairwise

import pytest

from meshwg.keys import PrivateKey
from meshwg.wireguard.constants import (
    KEEPALIVE_TIMEOUT,
    MAX_HANDSHAKE_ATTEMPTS,
    MAX_STAGED_PACKETS,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    REKEY_TIMEOUT,
    REKEY_TIMEOUT_JITTER,
    ZERO_KEY_TIME,
)
from meshwg.wireguard.drop import Drop
from tests.wireguard.pair import COOKIE, DATA, INITIATION, RESPONSE, START, Pair


def test_the_first_packet_makes_a_session_and_arrives() -> None:
    pair = Pair()
    packet = pair.packet(pair.alice, b"hello")
    pair.send(pair.alice, packet)
    assert pair.bob.received == [packet]
    kinds = [datagram[0] for _, _, datagram in pair.wire]
    assert kinds == [INITIATION, RESPONSE, DATA]
    assert pair.alice.peer.last_handshake == 1_700_000_000.0
    assert pair.bob.peer.last_handshake == 1_700_000_000.0


def test_both_beginning_at_once_succeed_at_once() -> None:
    pair = Pair()
    pair.bob.device.set_endpoint(pair.bob.peer, pair.alice.endpoint)
    there, back = pair.packet(pair.alice, b"a"), pair.packet(pair.bob, b"b")
    pair.alice.device.receive_packets([there], pair.now)
    pair.bob.device.receive_packets([back], pair.now)
    crossing = [
        (pair.bob, pair.alice, pair.alice.device.datagrams_to_send()),
        (pair.alice, pair.bob, pair.bob.device.datagrams_to_send()),
    ]
    for receiver, sender, transmits in crossing:
        for transmit in transmits:
            receiver.device.receive_datagrams(
                transmit.datagrams, sender.endpoint, pair.now
            )
    pair.deliver()
    assert pair.bob.received == [there]
    assert pair.alice.received == [back]
    assert pair.now == START
    pair.send(pair.alice, there)
    pair.send(pair.bob, back)
    assert pair.bob.received == [there, there]
    assert pair.alice.received == [back, back]


def test_an_initiation_with_nothing_to_say_is_confirmed_by_a_keepalive() -> None:
    pair = Pair()
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    assert [len(datagram) for _, _, datagram in pair.wire] == [148, 92, 32]
    assert pair.bob.peer.current is not None


def test_the_responder_does_not_send_before_the_initiator_confirms() -> None:
    pair = Pair()
    pair.lose = lambda side, datagram: side is pair.alice and datagram[0] == DATA
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    assert pair.bob.peer.next is not None
    pair.send(pair.bob, pair.packet(pair.bob))
    assert not pair.sent(pair.bob, DATA)
    pair.lose = lambda _side, _datagram: False
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.alice.received) == 1


def test_a_lost_initiation_is_repeated_with_jitter_until_given_up() -> None:
    pair = Pair()
    pair.lose = lambda _side, _datagram: True
    pair.send(pair.alice, pair.packet(pair.alice))
    pair.run(START + 200)
    times = pair.sent(pair.alice, INITIATION)
    assert len(times) == MAX_HANDSHAKE_ATTEMPTS + 2
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(
        REKEY_TIMEOUT <= gap <= REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER for gap in gaps
    )
    assert len(set(gaps)) > 1
    assert pair.alice.drops == {Drop.HANDSHAKE_FAILED: 1}


def test_an_abandoned_handshake_restarts_with_the_next_packet() -> None:
    pair = Pair()
    pair.lose = lambda _side, _datagram: True
    pair.send(pair.alice, pair.packet(pair.alice))
    pair.run(START + 200)
    pair.lose = lambda _side, _datagram: False
    packet = pair.packet(pair.alice, b"again")
    pair.send(pair.alice, packet)
    assert pair.bob.received == [packet]


@pytest.mark.parametrize("lost", [INITIATION, RESPONSE])
def test_one_lost_handshake_message_costs_one_timeout(lost: int) -> None:
    pair = Pair()
    once = [lost]
    pair.lose = lambda _side, datagram: (
        bool(once) and datagram[0] == once[0] and bool(once.pop())
    )
    packet = pair.packet(pair.alice)
    pair.send(pair.alice, packet)
    assert pair.bob.received == []
    pair.run(START + REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER)
    assert pair.bob.received == [packet]


def test_initiations_are_five_seconds_apart_however_much_is_sent() -> None:
    pair = Pair()
    pair.lose = lambda _side, _datagram: True
    for step in range(100):
        pair.now = START + step * 0.1
        pair.send(pair.alice, pair.packet(pair.alice))
        pair.alice.device.handle_timer(pair.now)
        pair.deliver()
    assert len(pair.sent(pair.alice, INITIATION)) == 2


def test_packets_wait_in_order_and_the_oldest_is_dropped() -> None:
    pair = Pair()
    pair.lose = lambda _side, _datagram: True
    packets = [
        pair.packet(pair.alice, bytes([number]) * 4)
        for number in range(MAX_STAGED_PACKETS + 10)
    ]
    pair.send(pair.alice, *packets)
    pair.lose = lambda _side, _datagram: False
    pair.run(START + 6)
    assert pair.bob.received == packets[10:]
    assert pair.alice.drops == {Drop.STAGE_FULL: 10}


def test_received_data_is_acknowledged_after_ten_seconds_of_silence() -> None:
    pair = Pair()
    pair.connect()
    sent_before = len(pair.sent(pair.bob, DATA))
    pair.run(START + KEEPALIVE_TIMEOUT - 0.01)
    assert len(pair.sent(pair.bob, DATA)) == sent_before
    pair.run(START + KEEPALIVE_TIMEOUT)
    assert pair.sent(pair.bob, DATA)[sent_before:] == [START + KEEPALIVE_TIMEOUT]


def test_more_data_in_the_meantime_is_owed_one_more_keepalive() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 4)
    pair.send(pair.alice, pair.packet(pair.alice))
    pair.run(START + 40)
    assert pair.sent(pair.bob, DATA) == [START + 10, START + 20]


def test_a_keepalive_is_never_answered_by_a_keepalive() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 100)
    # One data message from Alice, one acknowledgement from Bob, and then silence.
    assert len(pair.sent(pair.alice, DATA)) == 1
    assert len(pair.sent(pair.bob, DATA)) == 1


def test_an_answer_makes_the_keepalive_unnecessary() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 5)
    pair.send(pair.bob, pair.packet(pair.bob))
    pair.run(START + 14.9)
    assert pair.sent(pair.bob, DATA) == [START + 5]


def test_data_without_any_answer_begins_a_new_handshake() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 20)
    pair.lose = lambda _side, _datagram: True
    pair.send(pair.alice, pair.packet(pair.alice))
    silence = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT
    pair.run(START + 20 + silence + REKEY_TIMEOUT_JITTER)
    (at,) = pair.sent(pair.alice, INITIATION, since=START + 1)
    assert silence <= at - (START + 20) <= silence + REKEY_TIMEOUT_JITTER


def test_the_initiator_renews_an_old_session_when_it_sends() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + REKEY_AFTER_TIME)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.sent(pair.alice, INITIATION)) == 1
    pair.run(START + REKEY_AFTER_TIME + 0.1)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.sent(pair.alice, INITIATION)) == 2
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.sent(pair.alice, INITIATION)) == 2
    assert len(pair.bob.received) == 3


def test_the_responder_does_not_renew_when_it_sends() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + REKEY_AFTER_TIME + 20)
    pair.send(pair.bob, pair.packet(pair.bob))
    assert not pair.sent(pair.bob, INITIATION)
    assert len(pair.alice.received) == 1


def test_an_initiator_that_only_receives_renews_once_in_the_last_minute() -> None:
    pair = Pair()
    pair.connect()
    pair.lose = lambda side, _datagram: side is pair.alice
    for second in range(166, 178):
        pair.run(START + second)
        pair.bob.device.receive_packets([pair.packet(pair.bob)], pair.now)
        pair.deliver()
    first, *repeated = pair.sent(pair.alice, INITIATION, since=START + 1)
    assert first == START + 166
    # Later ones are repetitions of that one by its own timer.
    assert all(at - first >= REKEY_TIMEOUT for at in repeated)


def test_too_many_messages_renew_a_session() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    session = pair.bob.peer.current
    assert session is not None
    session.sent = REKEY_AFTER_MESSAGES
    pair.send(pair.bob, pair.packet(pair.bob))
    assert len(pair.sent(pair.bob, INITIATION)) == 1


def test_no_message_is_sent_beyond_the_last_counter() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    session = pair.alice.peer.current
    assert session is not None
    session.sent = REJECT_AFTER_MESSAGES - 1
    packets = [pair.packet(pair.alice, bytes([number])) for number in range(3)]
    pair.send(pair.alice, *packets)
    assert pair.bob.received == packets
    assert session.sent == REJECT_AFTER_MESSAGES
    assert pair.alice.peer.current is not session


def test_an_expired_session_is_neither_used_nor_accepted() -> None:
    pair = Pair()
    pair.connect()
    pair.send(pair.alice, pair.packet(pair.alice))
    old = pair.wire[-1][2]
    pair.now = START + REJECT_AFTER_TIME
    pair.bob.device.receive_datagrams([old], pair.alice.endpoint, pair.now)
    assert pair.bob.drops == {Drop.EXPIRED_SESSION: 1}
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.sent(pair.alice, INITIATION)) == 2


def test_silent_peers_forget_their_keys() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + ZERO_KEY_TIME - 1)
    assert pair.alice.peer.current is not None
    pair.run(START + ZERO_KEY_TIME)
    for side in (pair.alice, pair.bob):
        assert side.peer.current is None
        assert side.peer.previous is None
        assert len(side.device._around.indices) == 0
        assert side.device.get_timer() is None


def test_rotation_keeps_the_previous_session_for_packets_in_flight() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    late = pair.packet(pair.alice, b"late")
    pair.alice.device.receive_packets([late], pair.now)
    (transmit,) = pair.alice.device.datagrams_to_send()
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    assert pair.bob.received == []
    pair.bob.device.receive_datagrams(transmit.datagrams, pair.alice.endpoint, pair.now)
    pair.deliver()
    assert pair.bob.received == [late]


def test_the_indices_of_finished_sessions_are_free_again() -> None:
    pair = Pair()
    for _ in range(20):
        pair.alice.peer.initiate(pair.now)
        pair.deliver()
        pair.run(pair.now + REKEY_TIMEOUT + 1)
    for side in (pair.alice, pair.bob):
        assert len(side.device._around.indices) == 2


def test_a_session_whose_other_half_is_lost_is_renewed() -> None:
    pair = Pair()
    pair.send(pair.alice, pair.packet(pair.alice, b"first"))
    pair.run(START + REKEY_TIMEOUT)
    pair.bob.peer.stop()
    before = len(pair.sent(pair.alice, INITIATION))

    pair.alice.device.renew_session(pair.alice.peer, pair.now)
    pair.deliver()
    pair.send(pair.alice, pair.packet(pair.alice, b"second"))

    assert len(pair.sent(pair.alice, INITIATION)) == before + 1
    assert pair.bob.received[-1] == pair.packet(pair.alice, b"second")


def test_a_renewal_too_soon_is_made_up_for_unless_the_peer_is_heard() -> None:
    pair = Pair()
    pair.send(pair.alice, pair.packet(pair.alice, b"first"))
    pair.alice.device.renew_session(pair.alice.peer, pair.now)
    pair.deliver()
    assert len(pair.sent(pair.alice, INITIATION)) == 1

    pair.run(START + REKEY_TIMEOUT)
    assert len(pair.sent(pair.alice, INITIATION)) == 2

    pair.alice.device.renew_session(pair.alice.peer, pair.now)
    pair.send(pair.bob, pair.packet(pair.bob, b"still here"))
    pair.run(START + 2 * REKEY_TIMEOUT)
    assert len(pair.sent(pair.alice, INITIATION)) == 2


def test_persistent_keepalives_keep_coming_and_begin_at_once() -> None:
    pair = Pair()
    pair.alice.device.set_persistent_keepalive(pair.alice.peer, 25, pair.now)
    pair.deliver()
    assert len(pair.sent(pair.alice, DATA)) == 1
    pair.run(START + 100)
    assert pair.sent(pair.alice, DATA)[:4] == [
        START,
        START + 25,
        START + 50,
        START + 75,
    ]


def test_traffic_postpones_a_persistent_keepalive() -> None:
    pair = Pair()
    pair.connect()
    pair.alice.device.set_persistent_keepalive(pair.alice.peer, 25, pair.now)
    pair.deliver()
    # Bob's acknowledgement after ten seconds is traffic too.
    pair.run(START + 36)
    assert pair.sent(pair.alice, DATA, since=START + 1) == [START + 35]


def test_persistent_keepalives_end_when_they_are_turned_off() -> None:
    pair = Pair()
    pair.alice.device.set_persistent_keepalive(pair.alice.peer, 25, pair.now)
    pair.deliver()
    pair.alice.device.set_persistent_keepalive(pair.alice.peer, 0, pair.now)
    pair.run(START + 100)
    assert len(pair.sent(pair.alice, DATA)) == 1


def test_a_cookie_is_used_at_once() -> None:
    pair = Pair()
    answer = cookie_once(pair)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert answer[:2] == [COOKIE, RESPONSE]
    assert pair.alice.peer.endpoint == pair.bob.endpoint
    (first, second) = (
        datagram for _, _, datagram in pair.wire if datagram[0] == INITIATION
    )
    assert first[-16:] == bytes(16)
    assert second[-16:] != bytes(16)
    assert len(pair.bob.received) == 1


def test_a_peer_that_wants_ever_new_cookies_is_asked_no_faster_than_twice() -> None:
    pair = Pair()
    admission = pair.bob.device._admission
    assert admission is not None

    def never_enough(side: object, datagram: bytes) -> bool:
        if side is pair.bob:
            admission._checker._secret = b""  # It forgets its cookies.
        pair.bob.put_under_load(pair.now)
        return False

    pair.lose = never_enough
    pair.send(pair.alice, pair.packet(pair.alice))
    pair.run(START + 4)
    assert len(pair.sent(pair.alice, INITIATION)) == 2
    pair.run(START + 16)
    assert len(pair.sent(pair.alice, INITIATION)) <= 8


def test_another_preshared_key_makes_no_session() -> None:
    pair = Pair(preshared_key=b"a" * 32)
    pair.bob.device.set_preshared_key(pair.bob.peer, b"b" * 32)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert pair.bob.received == []
    assert pair.alice.drops == {Drop.RESPONSE_REFUSED: 1}


def test_a_new_preshared_key_counts_from_the_next_handshake() -> None:
    pair = Pair(preshared_key=b"a" * 32)
    pair.connect()
    for side in (pair.alice, pair.bob):
        side.device.set_preshared_key(side.peer, b"b" * 32)
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.bob.received) == 1
    pair.run(START + 10)
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    pair.send(pair.alice, pair.packet(pair.alice))
    assert len(pair.bob.received) == 2


def test_bytes_are_counted_with_their_overhead() -> None:
    pair = Pair()
    for _ in range(10):
        pair.send(pair.alice, pair.packet(pair.alice, bytes(64)))
        pair.send(pair.bob, pair.packet(pair.bob, bytes(64)))
    # Ten pings, as wg shows them: 84 bytes padded to 96, plus 32 each.
    assert pair.alice.peer.tx_bytes == 148 + 10 * 128
    assert pair.alice.peer.rx_bytes == 92 + 10 * 128
    assert pair.bob.peer.rx_bytes == pair.alice.peer.tx_bytes
    assert pair.bob.peer.tx_bytes == pair.alice.peer.rx_bytes


def test_a_clock_that_steps_back_does_not_lock_a_peer_out() -> None:
    pair = Pair()
    pair.connect()
    pair.run(START + 10)
    pair.alice.clock_error = -3600
    pair.alice.peer.initiate(pair.now)
    pair.deliver()
    assert pair.bob.drops == {}
    assert len(pair.sent(pair.bob, RESPONSE)) == 2


def cookie_once(pair: Pair) -> list[int]:
    """Let Bob be under load for Alice's first initiation only."""
    kinds: list[int] = []

    def lose(side: object, datagram: bytes) -> bool:
        if side is pair.bob:
            kinds.append(datagram[0])
        return False

    pair.lose = lose
    pair.bob.put_under_load(pair.now)
    return kinds


def test_a_peer_costs_a_curve_operation_only_when_it_is_spoken_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = Pair()
    exchanged: list[bytes] = []
    exchange = PrivateKey.exchange

    def note(key: PrivateKey, public_key: bytes) -> bytes | None:
        exchanged.append(public_key)
        return exchange(key, public_key)

    monkeypatch.setattr(PrivateKey, "exchange", note)
    stranger = bytes(range(32))
    peer = pair.alice.device.add_peer(stranger)
    pair.alice.device.set_endpoint(peer, pair.bob.endpoint)
    assert stranger not in exchanged

    peer.initiate(pair.now)
    assert exchanged.count(stranger) >= 1
    before = exchanged.count(stranger)
    peer.repeat_initiation(pair.now)
    assert exchanged.count(stranger) <= before + 1, "the static secret is known"
