"""DNS messages on a stream: each has its length before it (RFC 1035 section 4.2.2)."""

from meshwg.dns.message import HEADER, MAX_MESSAGE

LENGTH = 2


class MessageReader:
    """Cuts a stream into messages.

    It holds less than one message: whoever hands in no more than that at once keeps its
    memory in bounds.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.is_broken = False
        """What came is no stream of messages: there is no use in going on."""

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the messages that end in this data."""
        self._buffer += data
        messages = []
        while not self.is_broken and len(self._buffer) >= LENGTH:
            length = int.from_bytes(self._buffer[:LENGTH])
            self.is_broken = length < HEADER
            if len(self._buffer) < LENGTH + length:
                break
            messages.append(bytes(self._buffer[LENGTH : LENGTH + length]))
            del self._buffer[: LENGTH + length]
        if self.is_broken:
            self._buffer.clear()
            return []
        return messages


def framed(message: bytes) -> bytes:
    """Return a message as it goes on a stream."""
    assert len(message) <= MAX_MESSAGE, f"{len(message)} bytes are no message"
    return len(message).to_bytes(LENGTH) + message
