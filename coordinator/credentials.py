"""Time-limited TURN credentials, as coturn's ``use-auth-secret`` checks them.

The username is ``EXPIRY:USER``, the password the base64 of HMAC-SHA1 over the username,
keyed by a secret that coordinator and relay share. (SHA-1 is what the relays check;
HMAC does not rest on its collision resistance.) USER travels in clear. It stands for a
node, and only who has the secret can tell for which: with the public key of a node
anybody could have it work on handshakes, and by a name that stays the same anybody
could follow it. So it is another one with each expiry; this project's relay, which
counts by it and knows by it whose an allocation is, reads what stays the same.
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

COVERED = "~"
"""How a name begins that is another one with each expiry."""

ROUNDS = 4
"""Of a Feistel network under HMAC: with as many, its output tells nothing of its input
(Luby and Rackoff, 1988), even if many names have one expiry."""

_WORD = re.compile(f"[0-9a-f]{{{2 * USER_LENGTH}}}", re.ASCII)
_HOST = r"([\w.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?"
_RELAY_URL = re.compile(
    rf"(?:turns?:{_HOST}(\?transport=(udp|tcp))?|wss?://{_HOST}(/[\w.~/-]*)?)"
)


def mint(url: str, secret: bytes, node: str, unix_time: float) -> Relay:
    """Return a relay with credentials for one node.

    :param node: the node's public key.
    """
    expires = int(unix_time + LIFETIME)
    username = f"{expires}:{covered(user(node, secret), expires, secret)}"
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


def covered(user: str, expires: int, secret: bytes) -> str:
    """Return what stands for a node in a user name that expires at a Unix time."""
    left, right = _halves(user)
    for number in range(ROUNDS):
        left, right = right, left ^ _mixed(number, right, str(expires), secret)
    return COVERED + _joined(left, right)


def user_in(username: str, secret: bytes) -> str:
    """Return what stands for a node in any of its user names, by an authentic one.

    Others than :func:`covered` ones stand for themselves.
    """
    expires, _, name = username.partition(":")
    word = name.removeprefix(COVERED)
    if word == name or not _WORD.fullmatch(word):
        return name
    left, right = _halves(word)
    for number in reversed(range(ROUNDS)):
        left, right = right ^ _mixed(number, left, expires, secret), left
    return _joined(left, right)


def _halves(word: str) -> tuple[int, int]:
    return int(word[:USER_LENGTH], 16), int(word[USER_LENGTH:], 16)


def _joined(left: int, right: int) -> str:
    return f"{left:0{USER_LENGTH}x}{right:0{USER_LENGTH}x}"


def _mixed(number: int, half: int, expires: str, secret: bytes) -> int:
    text = f"meshwg relay name {number} {half} {expires}"
    return int.from_bytes(
        hmac.digest(secret, text.encode(), "sha256")[: USER_LENGTH // 2]
    )


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
    return url if found is None else found[1] or found[5]


def parse_relay_url(url: str) -> str:
    """Return a relay's URL (RFC 7065) if nodes can use it.

    :raises ConfigError: if they cannot.
    """
    if len(url) > MAX_URL_LENGTH or _RELAY_URL.fullmatch(url) is None:
        raise ConfigError(
            f"{url} is not a relay; write turn:HOST:PORT?transport=udp, or tcp, or "
            "turns:…, or wss://HOST/v1/relay"
        )
    return url
