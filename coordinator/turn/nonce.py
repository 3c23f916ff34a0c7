"""Nonces without memory: each says when it was made and proves that we made it.

A nonce is the base64 form of the second it was made in and of a MAC over that second
and the client's address. Checking one needs no table, so asking for a million of them
costs the server only the answers, and a nonce is useless to another client.
"""

import base64
import binascii
import hashlib
import hmac

from meshwg.transmit import Endpoint, Random

LIFETIME = 3600.0
"""Seconds; RFC 8656 section 5 asks for a new nonce at least once an hour."""

_SECOND_LENGTH = 4
_MAC_LENGTH = 11  # With the second 15 bytes, which base64 turns into 20 unpadded.


class NonceMint:
    """Makes and checks the nonces of one server."""

    def __init__(self, random: Random, lifetime: float = LIFETIME) -> None:
        self._key = random(32)
        self._lifetime = lifetime

    def make(self, client: Endpoint, now: float) -> bytes:
        """Return a nonce for a client."""
        second = (int(now) & 0xFFFFFFFF).to_bytes(_SECOND_LENGTH, "big")
        return base64.b64encode(second + self._mac(second, client))

    def check(self, nonce: bytes, client: Endpoint, now: float) -> bool:
        """Return whether this server has lately made the nonce for this client."""
        try:
            raw = base64.b64decode(nonce, validate=True)
        except (binascii.Error, ValueError):
            return False
        if len(raw) != _SECOND_LENGTH + _MAC_LENGTH:
            return False
        second, mac = raw[:_SECOND_LENGTH], raw[_SECOND_LENGTH:]
        if not hmac.compare_digest(mac, self._mac(second, client)):
            return False
        made = int.from_bytes(second, "big")
        return (int(now) - made) & 0xFFFFFFFF < self._lifetime

    def _mac(self, second: bytes, client: Endpoint) -> bytes:
        """Return the MAC over a second and the client's 5-tuple."""
        text = f"{client.host} {client.port} {client.link}".encode()
        return hashlib.blake2s(
            second + text, key=self._key, digest_size=_MAC_LENGTH
        ).digest()
