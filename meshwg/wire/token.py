"""The join token: everything a node needs to find, trust and enter a mesh.

A token is one word, ``mwg1-`` and the unpadded URL-safe base64 of::

    offset  bytes
         0     32   the coordinator's X25519 public key, which the node pins
        32      6   number of the auth key, by which the coordinator finds it
        38     16   secret of the auth key; the coordinator stores only its hash
        54      n   the coordinator's URL, UTF-8, ``http://`` or ``https://``
    54 + n      4   checksum: BLAKE2s of the prefix and all bytes before, cut to 4 bytes

The digit in the prefix is the version: it changes with the layout. Version 2, which is
``mwg2-``, has several URLs with newlines between, the one to be tried first in front;
it is used only for a mesh of several coordinators, as older nodes do not know it. The
checksum finds words that were cut or mistyped; it proves nothing, because it needs no
key.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from meshwg.errors import ConfigError
from meshwg.keys import KEY_LENGTH
from meshwg.transmit import Random

PREFIX = "mwg1-"
PREFIX_OF_SEVERAL = "mwg2-"
MAX_URLS = 8
"""URLs in one token."""
ID_LENGTH = 6
SECRET_LENGTH = 16
CHECKSUM_LENGTH = 4
MAX_URL_LENGTH = 255
MAX_HOST_LENGTH = 253
"""Letters of a name, dots included (RFC 1035 section 2.3.4)."""

_AUTH_KEY = re.compile(
    rf"([0-9a-f]{{{2 * ID_LENGTH}}})\.([0-9a-f]{{{2 * SECRET_LENGTH}}})", re.IGNORECASE
)
_NUMBER = re.compile(rf"[0-9a-f]{{{2 * ID_LENGTH}}}")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_AUTH_KEY_END = KEY_LENGTH + ID_LENGTH + SECRET_LENGTH
_MIN_LENGTH = _AUTH_KEY_END + CHECKSUM_LENGTH
_MAX_URLS_LENGTH = MAX_URLS * (MAX_URL_LENGTH + 1)
MAX_TOKEN_LENGTH = len(PREFIX) + 4 * (_MIN_LENGTH + _MAX_URLS_LENGTH) // 3 + 4


@dataclass(frozen=True, slots=True)
class AuthKeyText:
    """An auth key in clear: the number is public, the secret is shown only once."""

    number: str
    """12 hexadecimal digits."""
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, random: Random) -> "AuthKeyText":
        """Return a new auth key."""
        return cls(random(ID_LENGTH).hex(), random(SECRET_LENGTH))

    def __str__(self) -> str:
        return f"{self.number}.{self.secret.hex()}"

    @classmethod
    def parse(cls, text: str) -> "AuthKeyText":
        """Return the auth key of a ``register`` message.

        :raises ValueError: if it does not have the form ``number.secret``.
        """
        found = _AUTH_KEY.fullmatch(text) if text.isascii() else None
        if found is None:
            raise ValueError("An auth key is 12 and 32 hexadecimal digits")
        number, secret = found.groups()
        return cls(number.lower(), bytes.fromhex(secret))


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a join token says."""

    url: str
    coordinator_key: bytes
    auth_key: AuthKeyText
    others: tuple[str, ...] = ()
    """URLs of other coordinators of the mesh."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the coordinators are, the one to be tried first in front."""
        return (self.url, *self.others)

    def __str__(self) -> str:
        prefix = PREFIX_OF_SEVERAL if self.others else PREFIX
        body = (
            self.coordinator_key
            + bytes.fromhex(self.auth_key.number)
            + self.auth_key.secret
            + "\n".join(self.urls).encode()
        )
        data = body + _checksum(prefix, body)
        return prefix + base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")

    @classmethod
    def of_mesh(
        cls, urls: Sequence[str], coordinator_key: bytes, auth_key: AuthKeyText
    ) -> "JoinToken":
        """Return the token of a mesh with these coordinators, of which the first are
        named if they are too many for one.
        """
        first, *others = list(dict.fromkeys(urls))[:MAX_URLS]
        return cls(first, coordinator_key, auth_key, tuple(others))

    @classmethod
    def parse(cls, text: str) -> "JoinToken":
        """Read a token as a user pasted it.

        :raises ConfigError: with a sentence that says what is wrong with it.
        """
        prefix, body = _checked_body(text.strip())
        urls = _checked_urls(prefix, body[_AUTH_KEY_END:])
        number = body[KEY_LENGTH : KEY_LENGTH + ID_LENGTH].hex()
        secret = body[KEY_LENGTH + ID_LENGTH : _AUTH_KEY_END]
        auth_key = AuthKeyText(number, secret)
        return cls(urls[0], body[:KEY_LENGTH], auth_key, urls[1:])


def is_auth_key_number(text: str) -> bool:
    """Return whether a text can be the number of an auth key."""
    return _NUMBER.fullmatch(text) is not None


def check_url(url: str) -> str:
    """Return a coordinator's URL without a trailing slash.

    :raises ConfigError: if a node could not use it.
    """
    if len(url.encode()) > MAX_URL_LENGTH:
        raise ConfigError(f"A coordinator's URL has at most {MAX_URL_LENGTH} bytes")
    try:
        parts = urlsplit(url)
        host, _ = host_name(parts.hostname or ""), parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.port == 0:
        raise ConfigError(
            "A coordinator's URL looks like http://HOST:PORT or https://HOST:PORT"
        )
    return url.rstrip("/")


def host_name(text: str) -> str:
    """Return a host's name, or numeric address, as name servers and HTTP know it.

    :raises ValueError: if no host can be called so (RFC 1035 section 2.3.4).
    """
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    name = text.encode("idna").decode("ascii").removesuffix(".")
    if len(name) > MAX_HOST_LENGTH or not _HOST.fullmatch(name):
        raise ValueError(f"{text!r} is no name of a host")
    return name


def _checked_body(text: str) -> tuple[str, bytes]:
    """Return the prefix of a token, and what it stands before, without the checksum."""
    prefix = text[: len(PREFIX)]
    if prefix not in (PREFIX, PREFIX_OF_SEVERAL):
        raise ConfigError(_explain_prefix(text))
    encoded = text[len(prefix) :]
    try:
        data = base64.b64decode(
            encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        data = b""
    body, checksum = data[:-CHECKSUM_LENGTH], data[-CHECKSUM_LENGTH:]
    intact = len(data) > _MIN_LENGTH and len(text) <= MAX_TOKEN_LENGTH
    if not intact or checksum != _checksum(prefix, body):
        raise ConfigError(
            "The join token is damaged or incomplete; copy all of it again, or make a "
            "new one with 'meshwg-coordinator token create'"
        )
    return prefix, body


def _explain_prefix(text: str) -> str:
    if text.startswith("mwg") and text[3:4].isdigit():
        return (
            "The join token was made by a coordinator of another version; "
            "update meshwg on this machine"
        )
    return (
        f"This is not a meshwg join token: those begin with {PREFIX} and are printed "
        "by 'meshwg-coordinator token create'"
    )


def _checked_urls(prefix: str, data: bytes) -> tuple[str, ...]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError("The join token holds no usable coordinator URL") from None
    urls = [text] if prefix == PREFIX else text.split("\n")
    if len(urls) > MAX_URLS:
        raise ConfigError(f"The join token holds more than {MAX_URLS} URLs")
    return tuple(dict.fromkeys(check_url(url) for url in urls))


def _checksum(prefix: str, body: bytes) -> bytes:
    return hashlib.blake2s(prefix.encode() + body).digest()[:CHECKSUM_LENGTH]
