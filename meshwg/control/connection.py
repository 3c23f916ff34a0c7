"""One connection to the coordinator: its handshake, its channel, and when it was heard.

What is said on it, and what it means, is the client's business. There may be two of
them, while a new one is made to take the place of another.
"""

from meshwg.keys import PrivateKey
from meshwg.transmit import Random
from meshwg.wire import channel, control
from meshwg.wire.control import FromNode


class Connection:
    """A WebSocket that is being opened, or open.

    :param number: by which its owner and the client speak of it.
    :param deadline: when it has to be a member's, or else it has failed.
    """

    def __init__(self, number: int, now: float, deadline: float) -> None:
        self.number = number
        self.began_at = now
        self.deadline = deadline
        self.heard_at = self.sent_at = now
        self.coordinator_key: bytes | None = None
        """By which the coordinator is to prove itself."""
        self._handshake: channel.ClientHandshake | None = None
        self._channel: channel.Channel | None = None
        self._frames: list[bytes] = []

    @property
    def is_secure(self) -> bool:
        """Whether the coordinator has proved its key."""
        return self._channel is not None

    @property
    def is_shaking_hands(self) -> bool:
        """Whether the coordinator's answer to the handshake is awaited."""
        return self._handshake is not None

    def shake_hands(
        self, private_key: PrivateKey, coordinator_key: bytes, random: Random
    ) -> None:
        """Begin the handshake on a WebSocket that has just been opened.

        :raises AuthenticationFailed: if the coordinator's key is unusable.
        """
        if self._handshake is None and self._channel is None:
            self.coordinator_key = coordinator_key
            self._handshake = channel.ClientHandshake(
                private_key, coordinator_key, random=random
            )
            self._frames.append(self._handshake.initiation)

    def read_response(self, frame: bytes) -> None:
        """Take the answer to the handshake.

        :raises InvalidMessage: if it is none.
        :raises AuthenticationFailed: if it is not the coordinator's.
        """
        assert self._handshake is not None
        self._channel = self._handshake.read_response(frame)
        self._handshake = None

    def open(self, frame: bytes, now: float) -> bytes:
        """Return the payload of a frame.

        :raises AuthenticationFailed: if the coordinator did not seal it.
        """
        assert self._channel is not None
        payload = self._channel.open(frame)
        self.heard_at = now
        return payload

    def send(self, message: FromNode, now: float) -> None:
        """Send a message."""
        self.send_payload(control.encode(message), now)

    def send_payload(self, payload: bytes, now: float) -> None:
        """Send what was encoded already."""
        assert self._channel is not None
        self._frames.append(self._channel.seal(payload))
        self.sent_at = now

    def frames_to_send(self) -> list[bytes]:
        """Return the WebSocket messages to send, in order."""
        frames, self._frames = self._frames, []
        return frames
