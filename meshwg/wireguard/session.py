"""One keypair: sealing packets into data messages, and opening them again.

It works on batches, and knows no peers, no timers and no policy.
"""

import struct
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshwg.wireguard.constants import (
    DATA_HEADER_LENGTH,
    LAST_MINUTE,
    MESSAGE_DATA,
    PADDING_MULTIPLE,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
)
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.replay import ReplayWindow

Buffer = bytes | bytearray | memoryview
Crypt = Callable[[bytes, Buffer, None], bytes]
"""Encrypts or decrypts and verifies: nonce, text, no associated data."""

_PREFIX = struct.Struct("<II")
NONCE_PREFIX = bytes(4)


class Session:
    """A keypair with its counters (paper, section 5.4.6).

    :ivar expires_at: the time from which nothing is opened with it.
    :ivar usable_until: the time from which nothing is sealed with it.
    :ivar renew_at: when this side begins a new handshake to go on sending, if it is the
        one that does.
    :ivar seal_until: until when packets are sealed, and nothing else is to be done.
    :ivar open_until: until when messages are opened, and nothing else is to be done.
    :ivar sent: messages sealed so far, which is the next counter.
    :ivar start: the type and receiver index with which its messages to us begin.
    :ivar prefix: the same of its messages to the peer.
    """

    __slots__ = (
        "decrypt",
        "encrypt",
        "expires_at",
        "local_index",
        "open_until",
        "prefix",
        "renew_at",
        "replay",
        "seal_until",
        "sent",
        "start",
        "usable_until",
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
        self.encrypt: Crypt | None = ChaCha20Poly1305(sending_key).encrypt
        self.decrypt: Crypt = ChaCha20Poly1305(receiving_key).decrypt
        self.replay = ReplayWindow()
        self.local_index = local_index
        self.expires_at = self.usable_until = now + REJECT_AFTER_TIME
        self.renew_at = now + REKEY_AFTER_TIME if is_initiator else float("inf")
        self.seal_until = min(self.usable_until, self.renew_at)
        self.open_until = float("-inf")
        self.sent = 0
        self.prefix = _PREFIX.pack(MESSAGE_DATA, remote_index)
        self.start = _PREFIX.pack(MESSAGE_DATA, local_index)
        if is_initiator:
            self.confirm()

    def confirm(self) -> None:
        """Note that the peer also has the session, so that it may be used."""
        self.open_until = min(self.expires_at, self.renew_at + LAST_MINUTE)

    def retire(self) -> None:
        """Never seal again; what is on its way can still be opened."""
        self.encrypt = None
        self.usable_until = self.seal_until = float("-inf")

    def seal(self, packets: Sequence[Buffer], mtu: int) -> list[bytes]:
        """Return a data message for each packet.

        Fewer messages than packets are returned where the counter ends: the rest
        has to wait for the next keypair.

        :param mtu: the interface's MTU in bytes, which padding does not exceed.
        """
        encrypt, prefix = self.encrypt, self.prefix
        if encrypt is None:
            return []
        room = REJECT_AFTER_MESSAGES - self.sent
        if room < len(packets):
            packets = packets[:room]
        if any(padding_length(length, mtu) for length in set(map(len, packets))):
            packets = [_pad(packet, mtu) for packet in packets]
        messages = [
            prefix
            + (counter := number.to_bytes(8, "little"))
            + encrypt(NONCE_PREFIX + counter, packet, None)
            for number, packet in enumerate(packets, self.sent)
        ]
        self.sent += len(messages)
        return messages

    def open(
        self, messages: Sequence[Buffer], drops: dict[Drop, int]
    ) -> tuple[list[bytes], int]:
        """Return the plaintexts of the authentic, new messages and their total length.

        :param messages: data messages of at least 32 bytes for this keypair.
        :param drops: where the others are counted by reason.
        """
        decrypt, expected = self.decrypt, self.replay.expected
        end = expected + len(messages)
        if len(messages) == 1:
            (message,) = messages
            counter = expected.to_bytes(8, "little")
            if message[8:16] != counter or end >= REJECT_AFTER_MESSAGES:
                return self._open_each(messages, drops)
            try:
                plaintext = decrypt(NONCE_PREFIX + counter, message[16:], None)
            except InvalidTag:
                drops[Drop.NOT_AUTHENTIC] += 1
                return [], 0
            self.replay.expected = end
            return [plaintext], len(message)
        counters = [message[8:16] for message in messages]
        in_order = [n.to_bytes(8, "little") for n in range(expected, end)]
        # Nearly every batch is the continuation of the one before, and authentic.
        if counters == in_order and end < REJECT_AFTER_MESSAGES:
            try:
                plaintexts = [
                    decrypt(NONCE_PREFIX + counter, message[DATA_HEADER_LENGTH:], None)
                    for counter, message in zip(in_order, messages, strict=True)
                ]
            except InvalidTag:
                pass
            else:
                self.replay.expected = end
                return plaintexts, sum(map(len, messages))
        return self._open_each(messages, drops)

    def _open_each(
        self, messages: Sequence[Buffer], drops: dict[Drop, int]
    ) -> tuple[list[bytes], int]:
        """Open messages that are not, or not all, the next ones in their order."""
        plaintexts: list[bytes] = []
        received = 0
        for message in messages:
            counter = bytes(message[8:16])
            try:
                plaintext = self.decrypt(
                    NONCE_PREFIX + counter, message[DATA_HEADER_LENGTH:], None
                )
            except InvalidTag:
                drops[Drop.NOT_AUTHENTIC] += 1
                continue
            if not self.replay.accept(int.from_bytes(counter, "little")):
                drops[Drop.REPLAY] += 1
                continue
            received += len(message)
            plaintexts.append(plaintext)
        return plaintexts, received


def _pad(packet: Buffer, mtu: int) -> bytes:
    return bytes(packet) + bytes(padding_length(len(packet), mtu))


def padding_length(length: int, mtu: int) -> int:
    """Return how many zeros follow a packet (paper, section 5.4.6).

    Packets are padded to a multiple of 16 bytes, but not beyond the MTU. One that is
    longer than the MTU is seen as several that would each fit.
    """
    last = length % mtu if mtu and length > mtu else length
    padded = -(-last // PADDING_MULTIPLE) * PADDING_MULTIPLE
    return (min(padded, mtu) if mtu else padded) - last
