"""X25519 keys: the identity of a node, of a coordinator and of every WireGuard peer."""

import base64
import binascii
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from meshwg.transmit import Random

KEY_LENGTH = 32


def parse_key(text: str) -> bytes:
    """Return the 32 bytes of a key in WireGuard's base64 form.

    :raises ValueError: if the text is not the base64 form of 32 bytes.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_LENGTH:
        raise ValueError("A key is 44 characters of base64, as 'wg genkey' prints it")
    return key


def format_key(key: bytes) -> str:
    """Return a key in WireGuard's base64 form."""
    return base64.b64encode(key).decode("ascii")


def clamp(scalar: bytes) -> bytes:
    """Return the scalar as X25519 uses it (RFC 7748 section 5)."""
    clamped = bytearray(scalar)
    clamped[0] &= 248
    clamped[31] = (clamped[31] & 127) | 64
    return bytes(clamped)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An X25519 private key with its public key; its ``repr`` shows only the latter."""

    private_bytes: bytes = field(repr=False)
    public_bytes: bytes
    _key: X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, scalar: bytes) -> "PrivateKey":
        """Return the key for a scalar of 32 bytes, which is clamped."""
        clamped = clamp(scalar)
        key = X25519PrivateKey.from_private_bytes(clamped)
        return cls(clamped, key.public_key().public_bytes_raw(), key)

    @classmethod
    def generate(cls, random: Random) -> "PrivateKey":
        """Return a new key made from 32 random bytes."""
        return cls.from_bytes(random(KEY_LENGTH))

    def exchange(self, public_key: bytes) -> bytes | None:
        """Return the shared secret, or ``None`` if it is zero (a low-order point)."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public_key))
        except ValueError:
            return None
