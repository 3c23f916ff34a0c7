"""Initiations and responses: the Noise messages in WireGuard's frames.

The frames carry the Noise handshake of :mod:`meshwg.noise` between a header and the
two MACs of :mod:`meshwg.wireguard.cookie`, which are not seen here.
"""

import struct
from dataclasses import dataclass

from meshwg.keys import PrivateKey
from meshwg.noise import Initiator, Responder
from meshwg.wireguard.constants import (
    INITIATION_LENGTH,
    MESSAGE_INITIATION,
    MESSAGE_RESPONSE,
    PROLOGUE,
    RESPONSE_LENGTH,
)

_MACS_LENGTH = 32
_INITIATION_HEADER = struct.Struct("<II")
_RESPONSE_HEADER = struct.Struct("<III")


@dataclass(slots=True)
class SentInitiation:
    """An initiation of ours that waits for its response."""

    noise: Initiator
    local_index: int

    @classmethod
    def create(
        cls,
        private_key: PrivateKey,
        remote_key: bytes,
        *,
        static_shared: bytes,
        preshared_key: bytes,
        local_index: int,
    ) -> "SentInitiation":
        """Return the state of a new handshake with the owner of ``remote_key``."""
        noise = Initiator(
            private_key,
            remote_key,
            prologue=PROLOGUE,
            preshared_key=preshared_key,
            static_shared=static_shared,
        )
        return cls(noise, local_index)

    def write(self, timestamp: bytes, ephemeral: PrivateKey) -> bytes:
        """Return the initiation without its MACs."""
        header = _INITIATION_HEADER.pack(MESSAGE_INITIATION, self.local_index)
        return header + self.noise.write_initiation(timestamp, ephemeral)

    def read_response(self, message: bytes) -> tuple[int, tuple[bytes, bytes]]:
        """Return the responder's index and the session's two keys.

        :raises RemoteProtocolError: if the response answers another initiation.
        """
        _, sender, _ = _RESPONSE_HEADER.unpack_from(message)
        body = message[_RESPONSE_HEADER.size : RESPONSE_LENGTH - _MACS_LENGTH]
        self.noise.read_response(body)
        return sender, self.noise.split()


@dataclass(slots=True)
class ReceivedInitiation:
    """An initiation that arrived, read as far as its sender's static key."""

    noise: Responder
    remote_index: int
    remote_key: bytes

    @classmethod
    def read(cls, private_key: PrivateKey, message: bytes) -> "ReceivedInitiation":
        """Decrypt the static key of the claimed sender.

        :raises RemoteProtocolError: if it was not made for this private key.
        """
        noise = Responder(private_key, prologue=PROLOGUE, with_preshared_key=True)
        _, sender = _INITIATION_HEADER.unpack_from(message)
        body = message[_INITIATION_HEADER.size : INITIATION_LENGTH - _MACS_LENGTH]
        return cls(noise, sender, noise.read_static(body))

    def read_timestamp(self, static_shared: bytes) -> bytes:
        """Return the timestamp, which only the owner of the static key can make.

        :raises RemoteProtocolError: if the sender is not who it claims to be.
        """
        return self.noise.read_payload(static_shared)

    def write_response(
        self, local_index: int, ephemeral: PrivateKey, preshared_key: bytes
    ) -> bytes:
        """Return the response without its MACs.

        :raises RemoteProtocolError: if a key of the initiator has a low order.
        """
        header = _RESPONSE_HEADER.pack(MESSAGE_RESPONSE, local_index, self.remote_index)
        return header + self.noise.write_response(b"", ephemeral, preshared_key)
