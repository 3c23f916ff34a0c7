"""MAC1, MAC2 and cookies: what a device under load asks for (paper, section 5.4.7).

:class:`CookieChecker` is the side that receives handshakes: it gives out cookies and
checks them. :class:`CookieJar` is the side that sends them: it keeps the cookie it was
given for one peer and puts MACs under the messages for it.
"""

import hashlib
import hmac
import struct
from ipaddress import ip_address

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshwg.noise import blake2s
from meshwg.transmit import Endpoint, Random
from meshwg.wireguard.constants import (
    COOKIE_LIFETIME,
    COOKIE_SECRET_TIME,
    LABEL_COOKIE,
    LABEL_MAC1,
    MESSAGE_COOKIE,
)

MAC_LENGTH = 16
_NONCE_LENGTH = 24
_NO_MAC = bytes(MAC_LENGTH)
_REPLY = struct.Struct("<II24s32s")
_CHACHA_CONSTANT = struct.unpack("<4I", b"expand 32-byte k")


def mac(key: bytes, *parts: bytes) -> bytes:
    """Return the keyed BLAKE2s-128 of the parts put together."""
    digest = hashlib.blake2s(key=key, digest_size=MAC_LENGTH)
    for part in parts:
        digest.update(part)
    return digest.digest()


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Return the subkey of XChaCha20 (draft-irtf-cfrg-xchacha, section 2.2).

    HChaCha20 is ChaCha20 without its last addition of the initial state, so taking
    that state away from the first and last words of a block yields it.
    """
    cipher = Cipher(algorithms.ChaCha20(key, nonce), mode=None)
    block = struct.unpack("<16I", cipher.encryptor().update(bytes(64)))
    initial = _CHACHA_CONSTANT + struct.unpack("<4I", nonce)
    words = [
        (word - start) & 0xFFFFFFFF
        for word, start in zip(block[:4] + block[12:], initial, strict=True)
    ]
    return struct.pack("<8I", *words)


def _xchacha(key: bytes, nonce: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


class CookieChecker:
    """The MACs of messages that arrive for one public key."""

    def __init__(self, public_key: bytes) -> None:
        self._mac1_key = blake2s(LABEL_MAC1, public_key)
        self._cookie_key = blake2s(LABEL_COOKIE, public_key)
        self._secret = b""
        self._secret_made_at = 0.0

    def check_mac1(self, message: bytes) -> bool:
        """Return whether the message was made for this public key."""
        expected = mac(self._mac1_key, message[: -2 * MAC_LENGTH])
        return hmac.compare_digest(expected, message[-2 * MAC_LENGTH : -MAC_LENGTH])

    def check_mac2(self, message: bytes, source: Endpoint, now: float) -> bool:
        """Return whether the message carries the cookie that its source was given."""
        if not self._secret or now - self._secret_made_at >= COOKIE_SECRET_TIME:
            return False
        expected = mac(self._cookie(source), message[:-MAC_LENGTH])
        return hmac.compare_digest(expected, message[-MAC_LENGTH:])

    def reply(
        self, message: bytes, source: Endpoint, now: float, random: Random
    ) -> bytes:
        """Return the cookie reply to a handshake message from that source."""
        if not self._secret or now - self._secret_made_at >= COOKIE_SECRET_TIME:
            self._secret = random(32)
            self._secret_made_at = now
        nonce = random(_NONCE_LENGTH)
        aead, short_nonce = _xchacha(self._cookie_key, nonce)
        mac1 = message[-2 * MAC_LENGTH : -MAC_LENGTH]
        sealed = aead.encrypt(short_nonce, self._cookie(source), mac1)
        sender = int.from_bytes(message[4:8], "little")
        return _REPLY.pack(MESSAGE_COOKIE, sender, nonce, sealed)

    def _cookie(self, source: Endpoint) -> bytes:
        host = ip_address(source.host.partition("%")[0])
        return mac(self._secret, host.packed, source.port.to_bytes(2, "big"))


class CookieJar:
    """The cookie that one peer gave us, and the MACs under our messages to it."""

    def __init__(self, public_key: bytes) -> None:
        self._mac1_key = blake2s(LABEL_MAC1, public_key)
        self._cookie_key = blake2s(LABEL_COOKIE, public_key)
        self._cookie = b""
        self._received_at = 0.0
        self._last_mac1: bytes | None = None

    def sign(self, message: bytes, now: float) -> bytes:
        """Return the message with its two MACs appended."""
        mac1 = mac(self._mac1_key, message)
        self._last_mac1 = mac1
        mac2 = _NO_MAC
        if self._cookie and now - self._received_at < COOKIE_LIFETIME:
            mac2 = mac(self._cookie, message, mac1)
        return message + mac1 + mac2

    def receive(self, reply: bytes, now: float) -> bool:
        """Keep the cookie of a reply; return whether it answers our last message."""
        if self._last_mac1 is None:
            return False
        _, _, nonce, sealed = _REPLY.unpack(reply)
        aead, short_nonce = _xchacha(self._cookie_key, nonce)
        try:
            self._cookie = aead.decrypt(short_nonce, sealed, self._last_mac1)
        except InvalidTag:
            return False
        self._received_at = now
        self._last_mac1 = None
        return True
