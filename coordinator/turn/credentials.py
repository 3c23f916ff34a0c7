"""How the relay checks the time-limited credentials that the coordinator mints.

Whoever knows the secret can derive a user's password, so a relay needs no table of
users. MD5 is what RFC 8489 prescribes for the key; it serves as a keyed function here,
where its collisions do not matter.
"""

import hashlib
from collections.abc import Sequence

from coordinator.credentials import expired, password, user_in

MAX_USERNAME = 508
"""Bytes; RFC 8489 section 14.3 allows less than 509."""


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """Return the key of MESSAGE-INTEGRITY (RFC 8489 section 9.2.2)."""
    text = f"{username}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).digest()


class Authenticator:
    """Knows with which keys the bearer of a user name may sign."""

    def __init__(self, secrets: Sequence[bytes], realm: str) -> None:
        """Accept credentials minted with any of the secrets.

        :param secrets: more than one while a secret is being replaced.
        """
        self._secrets = tuple(secrets)
        self._realm = realm

    def keys(self, username: str, unix_time: float) -> list[bytes]:
        """Return the possible keys, none if the user name is malformed or expired."""
        if not username.isascii() or len(username) > MAX_USERNAME:
            return []
        if expired(username, unix_time):
            return []
        return [self._key(username, secret) for secret in self._secrets]

    def node_of(self, username: str, key: bytes) -> str:
        """Return the node that a user name was minted for.

        :param key: with which its bearer has signed.
        """
        secret = next(
            each for each in self._secrets if self._key(username, each) == key
        )
        return user_in(username, secret)

    def _key(self, username: str, secret: bytes) -> bytes:
        return long_term_key(username, self._realm, password(username, secret))
