"""DNS messages on a stream."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.dns.framing import MessageReader, framed

MESSAGES = st.lists(st.binary(min_size=12, max_size=700), max_size=5)


@given(MESSAGES, st.integers(1, 50))
def test_messages_come_out_as_they_went_in(messages: list[bytes], step: int) -> None:
    stream = b"".join(map(framed, messages))
    reader = MessageReader()

    parts = [stream[at : at + step] for at in range(0, len(stream), step)]

    assert [each for part in parts for each in reader.receive_data(part)] == messages
    assert not reader.is_broken


def test_the_longest_message_passes() -> None:
    message = bytes(65535)

    assert MessageReader().receive_data(framed(message)) == [message]


def test_what_is_too_short_for_a_message_breaks_the_stream() -> None:
    reader = MessageReader()

    assert reader.receive_data(framed(bytes(20)) + b"\x00\x0b" + bytes(500)) == []
    assert reader.is_broken
    assert reader.receive_data(framed(bytes(20))) == []
