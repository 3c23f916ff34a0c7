"""ChannelData in batches, and its framing on a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.wire.channeldata import StreamFramer, runs, wrap, wrap_stream
from meshwg.wire.stun import binding_request

payloads = st.lists(st.binary(max_size=80), max_size=12)
channels = st.integers(0x4000, 0x4FFF)


def test_a_header_says_channel_and_length() -> None:
    assert wrap(0x4001, [b"abc", b""]) == [b"\x40\x01\x00\x03abc", b"\x40\x01\x00\x00"]


def test_on_a_stream_messages_are_padded_to_four_bytes() -> None:
    stream = wrap_stream(0x4001, [b"abc", b"four"])

    assert stream == b"\x40\x01\x00\x03abc\x00\x40\x01\x00\x04four"


def test_a_batch_of_one_channel_and_length_is_one_run() -> None:
    batch = memoryview(b"".join(wrap(0x4001, [b"aaaa", b"bbbb"])))

    [(channel, run)] = runs([batch[:8], batch[8:]])

    assert channel == 0x4001
    assert [bytes(each) for each in run] == [b"aaaa", b"bbbb"]


def test_what_changes_within_a_batch_begins_a_new_run() -> None:
    stun = binding_request(bytes(12))
    batch = [*wrap(0x4001, [b"a"]), *wrap(0x4002, [b"b"]), stun, *wrap(0x4001, [b"c"])]

    assert runs(batch) == [
        (0x4001, [b"a"]),
        (0x4002, [b"b"]),
        (0x0001, [stun]),
        (0x4001, [b"c"]),
    ]


def test_padding_after_the_payload_is_removed() -> None:
    assert runs([b"\x40\x01\x00\x03abc\x00"]) == [(0x4001, [b"abc"])]


@pytest.mark.parametrize(
    "message",
    [b"", b"\x40", b"\x40\x01\x00", b"\x40\x01\x00\x05abcd"],
    ids=["empty", "one byte", "three bytes", "shorter than it says"],
)
def test_truncated_bytes_are_not_channel_data(message: bytes) -> None:
    assert runs([message]) == [(0, [message])]


def test_a_message_beyond_the_limit_ends_the_stream_before_it_is_there() -> None:
    framer = StreamFramer(limit=100)
    assert len(framer.receive(wrap_stream(0x4000, [bytes(96)]))) == 1

    with pytest.raises(InvalidMessage):
        framer.receive(wrap_stream(0x4000, [bytes(97)])[:4])


@pytest.mark.parametrize("first", [b"\x80\x00\x00\x00", b"\xff\xff\x00\x00"])
def test_reserved_numbers_are_not_channels(first: bytes) -> None:
    [(number, run)] = runs([first])

    assert (number, run) == (0, [first])


def test_a_batch_whose_last_message_is_shorter_is_still_one_run() -> None:
    assert runs(wrap(0x4001, [b"aaaa", b"bbbb", b"c"])) == [
        (0x4001, [b"aaaa", b"bbbb", b"c"])
    ]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_are_lost_or_made_up(batch: list[bytes]) -> None:
    found = [bytes(each) for _, run in runs(batch) for each in run]

    assert len(found) == len(batch)
    assert all(part in whole for part, whole in zip(found, batch, strict=True))


@given(channels, payloads, st.lists(st.integers(1, 50), max_size=40))
def test_a_stream_cut_anywhere_yields_what_was_put_in(
    channel: int, sent: list[bytes], cuts: list[int]
) -> None:
    stream = wrap_stream(channel, sent) + binding_request(bytes(12))
    framer = StreamFramer()
    messages: list[bytes] = []
    for size in [*cuts, len(stream)]:
        messages += map(bytes, framer.receive(stream[:size]))
        stream = stream[size:]

    assert messages[-1] == binding_request(bytes(12))
    received = [bytes(each) for _, run in runs(messages[:-1]) for each in run]
    assert received == sent


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", b"\x80\x00\x00\x00", b"\xff" * 8],
)
def test_a_stream_with_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage, match="other than TURN"):
        StreamFramer().receive(data)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_garbage_on_a_stream_is_cut_or_refused(chunks: list[bytes]) -> None:
    framer = StreamFramer()
    size = 0
    try:
        for chunk in chunks:
            size += sum(map(len, framer.receive(chunk)))
    except InvalidMessage:
        return
    assert size <= sum(map(len, chunks))


def test_a_long_message_in_tiny_pieces_is_put_together() -> None:
    payload = bytes(range(256)) * 255
    stream = wrap_stream(0x4000, [payload])
    framer = StreamFramer()

    found = [
        m for i in range(0, len(stream), 7) for m in framer.receive(stream[i : i + 7])
    ]

    assert [bytes(each) for _, run in runs(found) for each in run] == [payload]
