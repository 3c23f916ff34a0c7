"""The secure channel between a node and its coordinator: Noise IK over frames.

A *frame* is one binary WebSocket message: whole, in order, never lost while the
connection lives. The first frame each way is a handshake message with an empty payload:

    node         → coordinator   e, es, s, ss
    coordinator  → node          e, ee, se

Every frame after these carries one *payload* as Noise transport messages put end to
end: all but the last are 65,535 bytes long, and the last is shorter. An empty payload
(a frame of 16 bytes) is a heartbeat: it says only "I live".

The node registers in its first transport message and not in the handshake, because an
initiation can be replayed by whoever recorded it and a transport message cannot.
"""

from meshwg.errors import AuthenticationFailed, InvalidMessage
from meshwg.keys import PrivateKey
from meshwg.noise import (
    MAX_MESSAGE_LENGTH,
    TAG_LENGTH,
    CipherState,
    Initiator,
    Responder,
)
from meshwg.transmit import Random

PROLOGUE = b"meshwg control 1"
"""Bound into the handshake, so that only the same protocol version can complete it."""

INITIATION_LENGTH = 32 + 32 + 16 + 16
RESPONSE_LENGTH = 32 + 16
HEARTBEAT = b""

_CHUNK = MAX_MESSAGE_LENGTH - TAG_LENGTH


class Channel:
    """One end of an established channel."""

    __slots__ = ("_receiving", "_sending")

    def __init__(self, sending_key: bytes, receiving_key: bytes) -> None:
        self._sending = CipherState(sending_key)
        self._receiving = CipherState(receiving_key)

    def seal(self, payload: bytes) -> bytes:
        """Return the next frame to send."""
        encrypt = self._sending.encrypt
        if len(payload) < _CHUNK:
            return encrypt(payload)
        # A last chunk, empty if need be, marks the end: it is the only short one.
        chunks = range(0, len(payload) + 1, _CHUNK)
        return b"".join(encrypt(payload[start : start + _CHUNK]) for start in chunks)

    def open(self, frame: bytes) -> bytes:
        """Return the payload of the next frame received.

        :raises AuthenticationFailed: if it is not the next frame of this channel, after
            which nothing more can be read from it.
        """
        if len(frame) % MAX_MESSAGE_LENGTH < TAG_LENGTH:
            raise AuthenticationFailed("A frame is truncated")
        decrypt = self._receiving.decrypt
        if len(frame) < MAX_MESSAGE_LENGTH:
            return decrypt(frame)
        starts = range(0, len(frame), MAX_MESSAGE_LENGTH)
        return b"".join(
            decrypt(frame[start : start + MAX_MESSAGE_LENGTH]) for start in starts
        )


class ClientHandshake:
    """The node's side: write the initiation, read the response."""

    def __init__(
        self, static: PrivateKey, coordinator_key: bytes, *, random: Random
    ) -> None:
        self._noise = Initiator(static, coordinator_key, prologue=PROLOGUE)
        ephemeral = PrivateKey.generate(random)
        self.initiation = self._noise.write_initiation(b"", ephemeral)

    def read_response(self, frame: bytes) -> Channel:
        """Return the channel that the coordinator's response completes.

        :raises InvalidMessage: if the frame is no response.
        :raises AuthenticationFailed: if the coordinator does not own the pinned key.
        """
        if len(frame) != RESPONSE_LENGTH:
            raise InvalidMessage("A handshake response has 48 bytes")
        self._noise.read_response(frame)
        return Channel(*self._noise.split())


def answer(
    static: PrivateKey, initiation: bytes, *, random: Random
) -> tuple[bytes, bytes, Channel]:
    """Answer an initiation: return the node's key, the response and the channel.

    The node has proved that it owns the key only when its first frame opens.

    :raises InvalidMessage: if the frame is no initiation.
    :raises AuthenticationFailed: if it was made for another coordinator.
    """
    if len(initiation) != INITIATION_LENGTH:
        raise InvalidMessage("A handshake initiation has 96 bytes")
    noise = Responder(static, prologue=PROLOGUE)
    node_key = noise.read_static(initiation)
    noise.read_payload()
    response = noise.write_response(b"", PrivateKey.generate(random))
    return node_key, response, Channel(*noise.split())
