"""Connections between coordinators on one database, over which they pass offers on.

Such a connection is a control connection like any node's, but both ends prove the same
key, the coordinators' own, which nobody else has. Who opens it first says which process
it looks for: an address may lead to another one, behind a proxy or on a loopback. An
empty payload is the answer, and a heartbeat; every other one is an offer as JSON, with
its sender set.
"""

from enum import Enum, auto

from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey
from meshwg.transmit import Random
from meshwg.wire import channel

HEARTBEAT_INTERVAL = 3.0
"""Seconds after which the one that has opened a connection says something."""
SILENCE = 25.0
"""Seconds of hearing nothing after which it is dead: the other one says something every
ten."""
ANSWER_TIMEOUT = 10.0
"""Seconds from the wish to connect until the other process must have answered."""


class LinkState(Enum):
    """How far a connection to another coordinator has come."""

    OPENING = auto()
    """Waiting for the WebSocket."""
    HANDSHAKE = auto()
    ASKED = auto()
    """Waiting for the word that this is the process looked for."""
    READY = auto()
    DEAD = auto()


class SiblingLink:
    """The end of such a connection that has opened it.

    :param private_key: that of all coordinators.
    :param home: the name of the process that it is to lead to.
    """

    def __init__(
        self, private_key: PrivateKey, home: str, *, now: float, random: Random
    ) -> None:
        self.state = LinkState.OPENING
        self._home = home
        self._heard_at = self._spoke_at = now
        self._handshake = channel.ClientHandshake(
            private_key, private_key.public_bytes, random=random
        )
        self._channel: channel.Channel | None = None
        self._frames: list[bytes] = []

    def opened(self, now: float) -> None:
        """The WebSocket is open: begin the handshake."""
        self.state = LinkState.HANDSHAKE
        self._frames.append(self._handshake.initiation)
        self._spoke_at = now

    def receive_frame(self, frame: bytes, now: float) -> None:
        """Take one binary message."""
        try:
            self._receive(frame, now)
        except (AuthenticationFailed, InvalidMessage):
            # Whoever answers there is no coordinator of this mesh.
            self.state = LinkState.DEAD

    def send(self, text: bytes, now: float) -> bool:
        """Pass an offer on; return whether it is on its way."""
        if self.state is not LinkState.READY:
            return False
        self._send(text, now)
        return True

    def frames_to_send(self) -> list[bytes]:
        """Return the binary messages to send, in order."""
        frames, self._frames = self._frames, []
        return frames

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        match self.state:
            case LinkState.DEAD:
                return None
            case LinkState.READY:
                return min(
                    self._heard_at + SILENCE, self._spoke_at + HEARTBEAT_INTERVAL
                )
        return self._heard_at + ANSWER_TIMEOUT

    def handle_timer(self, now: float) -> None:
        """Say that this end lives, or find the other one dead."""
        is_ready = self.state is LinkState.READY
        if now >= self._heard_at + (SILENCE if is_ready else ANSWER_TIMEOUT):
            self.state = LinkState.DEAD
        elif is_ready and now >= self._spoke_at + HEARTBEAT_INTERVAL:
            self._send(channel.HEARTBEAT, now)

    def _receive(self, frame: bytes, now: float) -> None:
        if self.state is LinkState.HANDSHAKE:
            self._channel = self._handshake.read_response(frame)
            self.state = LinkState.ASKED
            self._send(self._home.encode(), now)
        elif self._channel is not None and self.state is not LinkState.DEAD:
            self._channel.open(frame)
            self.state = LinkState.READY
        self._heard_at = now

    def _send(self, payload: bytes, now: float) -> None:
        assert self._channel is not None
        self._frames.append(self._channel.seal(payload))
        self._spoke_at = now
