"""One keypair: sealing packets into data messages, and opening them again.

This is the layer that a compiled implementation can replace: it works on batches and
knows no peers, no timers and no policy.
"""

import struct
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshwg.wireguard.constants import (
    DATA_HEADER_LENGTH,
    MESSAGE_DATA,
    PADDING_MULTIPLE,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
)
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.replay import ReplayWindow

Buffer = bytes | bytearray | memoryview

_HEADER = struct.Struct("<IIQ")
_COUNTER = struct.Struct("<8xQ")
_NONCE_PREFIX = bytes(4)


class Session:
    """A keypair with its counters (paper, section 5.4.6).

    :ivar established_at: when the handshake ended, on the clock of ``now``.
    :ivar is_initiator: whether this side began the handshake, and so renews it.
    :ivar sent: messages sealed so far, which is the next counter.
    """

    __slots__ = (
        "_receive",
        "_replay",
        "_send",
        "established_at",
        "is_initiator",
        "local_index",
        "remote_index",
        "sent",
    )

    def __init__(
        self,
        keys: tuple[bytes, bytes],
        *,
        local_index: int,
        remote_index: int,
        is_initiator: bool,
        now: float,
    ) -> None:
        sending_key, receiving_key = keys
        self._send: ChaCha20Poly1305 | None = ChaCha20Poly1305(sending_key)
        self._receive = ChaCha20Poly1305(receiving_key)
        self._replay = ReplayWindow()
        self.local_index = local_index
        self.remote_index = remote_index
        self.is_initiator = is_initiator
        self.established_at = now
        self.sent = 0

    def can_send(self, now: float) -> bool:
        """Return whether the keypair is young and unused enough to seal with."""
        return (
            self._send is not None
            and self.sent < REJECT_AFTER_MESSAGES
            and now - self.established_at < REJECT_AFTER_TIME
        )

    def can_receive(self, now: float) -> bool:
        """Return whether the keypair is young enough to open with."""
        return now - self.established_at < REJECT_AFTER_TIME

    def retire(self) -> None:
        """Never seal again; what is on its way can still be opened."""
        self._send = None

    def seal(self, packets: Sequence[Buffer], mtu: int) -> list[bytes]:
        """Return a data message for each packet.

        Fewer messages than packets are returned where the counter ends: the rest
        has to wait for the next keypair.

        :param mtu: the interface's MTU in bytes, which padding does not exceed.
        """
        if self._send is None:
            return []
        encrypt = self._send.encrypt
        pack, remote, counter = _HEADER.pack, self.remote_index, self.sent
        room = REJECT_AFTER_MESSAGES - counter
        messages: list[bytes] = []
        length, padding = 0, b""
        for packet in packets[:room] if room < len(packets) else packets:
            if len(packet) != length:
                length = len(packet)
                padding = bytes(padding_length(length, mtu))
            header = pack(MESSAGE_DATA, remote, counter)
            counter += 1
            messages.append(
                header
                + encrypt(
                    _NONCE_PREFIX + header[8:],
                    bytes(packet) + padding if padding else packet,
                    None,
                )
            )
        self.sent = counter
        return messages

    def open(
        self, messages: Iterable[Buffer], drops: dict[Drop, int]
    ) -> tuple[list[bytes], int]:
        """Return the plaintexts of the authentic, new messages and their total length.

        :param messages: data messages of at least 32 bytes for this keypair.
        :param drops: where the others are counted by reason.
        """
        decrypt, replay = self._receive.decrypt, self._replay
        unpack, expected = _COUNTER.unpack_from, replay.expected
        plaintexts: list[bytes] = []
        received = 0
        for message in messages:
            try:
                plaintext = decrypt(
                    _NONCE_PREFIX + message[8:16], message[DATA_HEADER_LENGTH:], None
                )
            except InvalidTag:
                drops[Drop.NOT_AUTHENTIC] += 1
                continue
            (counter,) = unpack(message)
            if counter == expected < REJECT_AFTER_MESSAGES:
                expected += 1
            else:
                replay.extend(expected)
                is_new = replay.accept(counter)
                expected = replay.expected
                if not is_new:
                    drops[Drop.REPLAY] += 1
                    continue
            received += len(message)
            plaintexts.append(plaintext)
        replay.extend(expected)
        return plaintexts, received


def padding_length(length: int, mtu: int) -> int:
    """Return how many zeros follow a packet (paper, section 5.4.6).

    Packets are padded to a multiple of 16 bytes, but not beyond the MTU. One that is
    longer than the MTU is seen as several that would each fit.
    """
    last = length % mtu if mtu and length > mtu else length
    padded = -(-last // PADDING_MULTIPLE) * PADDING_MULTIPLE
    return (min(padded, mtu) if mtu else padded) - last
