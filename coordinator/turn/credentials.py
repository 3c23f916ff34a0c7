"""Time-limited credentials, and the proofs that clients make with them.

The coordinator mints what coturn calls ``use-auth-secret`` (draft-uberti-behave-turn-
rest): the user name is ``EXPIRY:NODE`` with the expiry in Unix seconds, the password
the base64 form of HMAC-SHA1(secret, user name). Whoever knows the secret can check a
password, so no relay needs a table of users, and any coturn with the same secret takes
the same credentials. SHA-1 and MD5 are what those documents prescribe; both serve as
keyed functions here, where their collisions do not matter.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

MAX_USERNAME = 508
"""Bytes; RFC 8489 section 14.3 allows less than 509."""


def mint(secret: bytes, node: str, expires: float) -> tuple[str, str]:
    """Return the user name and password of a node.

    :param node: whose quota the relay charges: any text without meaning to it.
    :param expires: Unix time in seconds.
    """
    username = f"{int(expires)}:{node}"
    return username, password(secret, username)


def password(secret: bytes, username: str) -> str:
    """Return the password that belongs to a user name."""
    digest = hmac.digest(secret, username.encode(), "sha1")
    return base64.b64encode(digest).decode("ascii")


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """Return the key of MESSAGE-INTEGRITY (RFC 8489 section 9.2.2)."""
    text = f"{username}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).digest()


def node_of(username: str) -> str:
    """Return the node that a user name was minted for."""
    return username.partition(":")[2]


class Authenticator:
    """Knows which keys a user name may have proved itself with."""

    def __init__(self, secrets: Sequence[bytes], realm: str) -> None:
        """Accept credentials minted with any of the secrets.

        :param secrets: more than one while a secret is being replaced.
        """
        self._secrets = tuple(secrets)
        self._realm = realm

    def keys(self, username: str, unix_time: float) -> list[bytes]:
        """Return the possible keys, none if the user name is malformed or expired."""
        expiry = username.partition(":")[0]
        if not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12):
            return []
        if len(username.encode()) > MAX_USERNAME or int(expiry) <= unix_time:
            return []
        return [
            long_term_key(username, self._realm, password(secret, username))
            for secret in self._secrets
        ]
