"""API tokens: what lets programs administer the mesh. Only their hashes are kept.

A token in clear is ``mwa1-NUMBER-SECRET``, both in hexadecimal digits. The number is
public: it stands in lists and in the audit log.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from meshwg.transmit import Random

PREFIX = "mwa1-"
NUMBER_LENGTH = 6
SECRET_LENGTH = 20
"""Bytes. A secret has 160 random bits, and so needs no slow hash."""
MAX_TOKEN_NAME = 100
"""Letters of what a token is called."""

_TEXT = re.compile(
    rf"{PREFIX}([0-9a-f]{{{2 * NUMBER_LENGTH}}})-([0-9a-f]{{{2 * SECRET_LENGTH}}})",
    re.ASCII,
)
_NUMBER = re.compile(rf"[0-9a-f]{{{2 * NUMBER_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What lets a program administer the mesh. Times are Unix times."""

    number: str
    name: str
    """What it is for, as an administrator has written it."""
    digest: str
    """Of its secret."""
    role: str
    """Empty if it has scopes alone."""
    scopes: tuple[str, ...]
    """What it may do beside what its role allows."""
    created: float
    expires: float
    by: str
    """Who has made it."""
    revoked: bool = False

    def state(self, unix_time: float) -> str:
        """Return the word that ``apitoken list`` shows."""
        if self.revoked:
            return "revoked"
        return "expired" if unix_time >= self.expires else "valid"


@dataclass(frozen=True, slots=True)
class ApiTokenText:
    """An API token in clear, which is shown once."""

    number: str
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls, random: Random) -> "ApiTokenText":
        """Return a new one."""
        return cls(random(NUMBER_LENGTH).hex(), random(SECRET_LENGTH))

    @classmethod
    def parse(cls, text: str) -> "ApiTokenText":
        """Return the token that somebody shows.

        :raises ValueError: if it does not have the form of one.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"An API token begins with {PREFIX}")
        return cls(found[1], bytes.fromhex(found[2]))

    def __str__(self) -> str:
        return f"{PREFIX}{self.number}-{self.secret.hex()}"

    @property
    def digest(self) -> str:
        """What is kept of it."""
        return hashlib.blake2s(self.secret).hexdigest()


def opens(token: ApiToken, text: ApiTokenText, unix_time: float) -> bool:
    """Tell whether a token that is shown is the one that is known, and still good."""
    is_same = hmac.compare_digest(token.digest, text.digest)
    return is_same and token.state(unix_time) == "valid"


def is_api_token_number(text: str) -> bool:
    """Return whether a text can be the number of an API token."""
    return _NUMBER.fullmatch(text) is not None
