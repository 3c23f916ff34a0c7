"""Time-limited TURN credentials, as coturn's ``use-auth-secret`` checks them.

The username is ``EXPIRY:USER``, the password the base64 of HMAC-SHA1 over the username,
keyed by a secret that coordinator and relay share. USER stands for a node, and only who
has the secret can tell which: it travels in clear, and with the public key of a node
anybody could have it work on handshakes. It stays the same, because relays count by it
and know by it whose an allocation is. (SHA-1 is what the relays check;
HMAC does not rest on its collision resistance.)
"""

import base64
import hmac
import re

from meshwg.errors import ConfigError
from meshwg.wire.control import Relay
from meshwg.wire.token import MAX_URL_LENGTH

LIFETIME = 3600.0
"""Seconds for which credentials are valid; they are renewed at half of it. Relays that
do not know who is a member serve a node that was removed for as long."""

USER_LENGTH = 12
"""Bytes of what stands for a node, which are as many bits as birthdays need."""

_RELAY_URL = re.compile(
    r"turns?:([\w.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?(\?transport=(udp|tcp))?"
)


def mint(url: str, secret: bytes, node: str, unix_time: float) -> Relay:
    """Return a relay with credentials for one node.

    :param node: the node's public key.
    """
    expires = int(unix_time + LIFETIME)
    username = f"{expires}:{user(node, secret)}"
    return Relay(
        url=url,
        username=username,
        password=password(username, secret),
        expires=float(expires),
    )


def user(node: str, secret: bytes) -> str:
    """Return what stands for a node in user names."""
    text = f"meshwg relay user {node}"
    return hmac.digest(secret, text.encode(), "sha256")[:USER_LENGTH].hex()


def password(username: str, secret: bytes) -> str:
    """Return the password that belongs to a username."""
    digest = hmac.digest(secret, username.encode(), "sha1")
    return base64.b64encode(digest).decode("ascii")


def expired(username: str, unix_time: float) -> bool:
    """Return whether a relay must refuse this username, expired or malformed."""
    expires, _, _ = username.partition(":")
    if not expires.isdecimal() or not expires.isascii() or len(expires) > 12:
        return True
    return int(expires) <= unix_time


def relay_host(url: str) -> str:
    """Return the host of a relay's URL."""
    found = _RELAY_URL.fullmatch(url)
    return url if found is None else found[1]


def parse_relay_url(url: str) -> str:
    """Return a relay's URL (RFC 7065) if nodes can use it.

    :raises ConfigError: if they cannot.
    """
    if len(url) > MAX_URL_LENGTH or _RELAY_URL.fullmatch(url) is None:
        raise ConfigError(
            f"{url} is not a relay; write turn:HOST:PORT?transport=udp, or tcp, or "
            "turns:…"
        )
    return url
