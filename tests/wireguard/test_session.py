"""A keypair: padding, limits, and exactly-once delivery whatever the network does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.wireguard.constants import (
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
)
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.session import Session, padding_length


def test_what_is_encrypted_is_decrypted_on_the_other_side() -> None:
    ours, theirs, drops = sessions()
    packets = [b"one" * 5, b"", b"three" * 100]
    opened, received = theirs.open(messages := ours.seal(packets, 1420), drops)
    assert [packet.rstrip(b"\0") for packet in opened] == packets
    assert received == sum(map(len, messages))
    assert not any(drops.values())


def test_a_message_has_the_published_form() -> None:
    ours, _, _ = sessions()
    first, second = ours.seal([bytes(20), b""], 1420)
    assert first[:16].hex() == "04000000020000000000000000000000"
    assert second[:16].hex() == "04000000020000000100000000000000"
    assert (len(first), len(second)) == (32 + 32, 32)


@pytest.mark.parametrize(
    ("length", "mtu", "padding"),
    [
        (0, 1420, 0),
        (1, 1420, 15),
        (16, 1420, 0),
        (1409, 1420, 11),
        (1420, 1420, 0),
        (1417, 1420, 3),
        (1421, 1420, 15),
        (2840, 1420, 0),
        (65535, 1420, 9),
        (33, 0, 15),
    ],
)
def test_padding_goes_to_16_and_never_beyond_the_mtu(
    length: int, mtu: int, padding: int
) -> None:
    assert padding_length(length, mtu) == padding


@given(st.integers(0, 65535), st.integers(0, 9000))
def test_padding_is_never_negative_nor_16(length: int, mtu: int) -> None:
    assert 0 <= padding_length(length, mtu) < 16


def test_a_changed_message_is_not_opened_and_does_not_use_up_its_counter() -> None:
    ours, theirs, drops = sessions()
    (message,) = ours.seal([b"x" * 16], 1420)
    for position in (8, 16, len(message) - 1):
        changed = bytearray(message)
        changed[position] ^= 1
        assert theirs.open([bytes(changed)], drops) == ([], 0)
    assert drops[Drop.NOT_AUTHENTIC] == 3
    assert theirs.open([message], drops)[0] == [b"x" * 16]


def test_a_message_opens_once() -> None:
    ours, theirs, drops = sessions()
    messages = ours.seal([b"x" * 16], 1420)
    assert theirs.open(messages * 3, drops)[0] == [b"x" * 16]
    assert drops[Drop.REPLAY] == 2


def test_the_counter_ends_where_the_paper_says() -> None:
    ours, theirs, drops = sessions()
    ours.sent = REJECT_AFTER_MESSAGES - 2
    messages = ours.seal([b"a" * 16, b"b" * 16, b"c" * 16], 1420)
    assert len(messages) == 2
    assert ours.sent == REJECT_AFTER_MESSAGES
    assert ours.seal([b"d" * 16], 1420) == []
    assert theirs.open(messages, drops)[0] == [b"a" * 16, b"b" * 16]


def test_a_keypair_is_refused_when_it_is_too_old() -> None:
    ours, _, _ = sessions()
    assert ours.usable_until == ours.expires_at == REJECT_AFTER_TIME


def test_only_the_initiator_renews_a_keypair() -> None:
    ours, theirs, _ = sessions()
    assert ours.renew_at == REKEY_AFTER_TIME
    assert theirs.renew_at == float("inf")


def test_a_retired_keypair_only_opens() -> None:
    ours, theirs, drops = sessions()
    theirs.retire()
    assert theirs.usable_until == float("-inf")
    assert theirs.seal([b"x"], 1420) == []
    assert theirs.expires_at == REJECT_AFTER_TIME
    assert theirs.open(ours.seal([b"x" * 16], 1420), drops)[0] == [b"x" * 16]


@pytest.mark.parametrize("length", [0, 1, 16, 84, 1419, 1420, 1421, 1440, 2841])
def test_a_lone_packet_is_padded_like_one_of_many(length: int) -> None:
    (alone, _, _), (together, _, _) = sessions(), sessions()
    packet = bytes(length)
    (message,) = alone.seal([packet], 1420)
    assert message == together.seal([packet, packet], 1420)[0]


def test_memoryviews_work_like_bytes() -> None:
    ours, theirs, drops = sessions()
    messages = ours.seal([memoryview(b"x" * 20)], 1420)
    assert theirs.open([memoryview(m) for m in messages], drops)[0] == [
        b"x" * 20 + bytes(12)
    ]


@given(st.lists(st.integers(0, 29), max_size=90))
def test_any_loss_order_and_repetition_delivers_exactly_once(
    arrivals: list[int],
) -> None:
    ours, theirs, drops = sessions()
    packets = [bytes([number]) * 16 for number in range(30)]
    messages = ours.seal(packets, 1420)
    opened: list[bytes] = []
    for number in arrivals:
        opened += theirs.open([messages[number]], drops)[0]
    assert sorted(opened) == sorted(packets[number] for number in set(arrivals))


@given(st.lists(st.binary(min_size=32, max_size=200), max_size=20))
def test_garbage_opens_nothing_and_changes_nothing(garbage: list[bytes]) -> None:
    ours, theirs, drops = sessions()
    assert theirs.open(garbage, drops) == ([], 0)
    assert theirs.open(ours.seal([b"x" * 16], 1420), drops)[0] == [b"x" * 16]


def sessions() -> tuple[Session, Session, dict[Drop, int]]:
    first, second = b"a" * 32, b"b" * 32
    ours = Session(
        (first, second), local_index=1, remote_index=2, is_initiator=True, now=0.0
    )
    theirs = Session(
        (second, first), local_index=2, remote_index=1, is_initiator=False, now=0.0
    )
    return ours, theirs, dict.fromkeys(Drop, 0)
