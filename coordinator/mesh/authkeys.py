"""Auth keys: what lets a node into the mesh. Only their hashes are kept."""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace

from meshwg.errors import ConfigError
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText

DEFAULT_LIFETIME = "24h"
MAX_USES = 1_000_000
"""Of one auth key, where a number is given."""
MAX_LIFETIME = 10 * 365 * 86400.0

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)


@dataclass(frozen=True, slots=True)
class AuthKey:
    """An auth key as the coordinator knows it. Times are Unix times."""

    number: str
    digest: str
    """BLAKE2s of the secret, which has 128 random bits and so needs no slow hash."""
    reusable: bool
    ephemeral: bool
    """Nodes that join with it are removed after they leave."""
    created: float
    expires: float
    revoked: bool = False
    uses: int = 0
    used: float | None = None
    """When it was used last."""
    limit: int | None = None
    """How many nodes it lets in, if it is reusable; ``None``: any number."""
    owner: str = ""
    """The user to whom nodes belong that join with it."""
    tags: tuple[str, ...] = ()
    """Those of nodes that join with it."""
    hub: bool = False
    """Nodes that join with it may be hubs."""

    @classmethod
    def from_text(
        cls,
        text: AuthKeyText,
        *,
        reusable: bool,
        ephemeral: bool,
        created: float,
        lifetime: float,
        limit: int | None = None,
        owner: str = "",
        tags: tuple[str, ...] = (),
        hub: bool = False,
    ) -> "AuthKey":
        """Return the record of a key in clear."""
        return cls(
            text.number,
            _digest(text.secret),
            reusable,
            ephemeral,
            created,
            expires=created + lifetime,
            limit=limit,
            owner=owner,
            tags=tags,
            hub=hub,
        )

    @property
    def max_uses(self) -> int | None:
        """How many nodes it lets in; ``None``: any number."""
        return self.limit if self.reusable else 1

    @property
    def is_used_up(self) -> bool:
        """Whether it has let in as many nodes as it may."""
        return self.max_uses is not None and self.uses >= self.max_uses

    def refusal(self, secret: bytes, unix_time: float) -> ErrorCode | None:
        """Return why the key lets nobody in, ``None`` if it does."""
        if not hmac.compare_digest(self.digest, _digest(secret)):
            return ErrorCode.TOKEN_UNKNOWN
        if self.revoked:
            return ErrorCode.TOKEN_REVOKED
        if unix_time >= self.expires:
            return ErrorCode.TOKEN_EXPIRED
        if self.is_used_up:
            return ErrorCode.TOKEN_USED
        return None

    def spend(self, unix_time: float) -> "AuthKey":
        """Return the key after one more use."""
        return replace(self, uses=self.uses + 1, used=unix_time)

    def state(self, unix_time: float) -> str:
        """Return the word that ``token list`` shows."""
        if self.revoked:
            return "revoked"
        if unix_time >= self.expires:
            return "expired"
        return "used" if self.is_used_up else "valid"


def new_auth_key(
    random: Random,
    *,
    reusable: bool,
    ephemeral: bool,
    created: float,
    lifetime: float,
    limit: int | None = None,
    owner: str = "",
    tags: tuple[str, ...] = (),
    hub: bool = False,
) -> tuple[AuthKeyText, AuthKey]:
    """Return a new auth key in clear, and the record of it to store."""
    text = AuthKeyText.generate(random)
    key = AuthKey.from_text(
        text,
        reusable=reusable,
        ephemeral=ephemeral,
        created=created,
        lifetime=lifetime,
        limit=limit,
        owner=owner,
        tags=tags,
        hub=hub,
    )
    return text, key


def parse_lifetime(text: str) -> float:
    """Return the seconds of ``90m``, ``24h``, ``7d`` or ``1h30m``.

    :raises ConfigError: if it is something else, nothing, or longer than ten years.
    """
    parts = _DURATION.findall(text)
    seconds = float(sum(int(number) * _UNITS[unit] for number, unit in parts))
    whole = "".join(number + unit for number, unit in parts) == text
    if not whole or not 0 < seconds <= MAX_LIFETIME:
        raise ConfigError(
            f"{text!r} is not a lifetime; write 90m, 24h, 7d or 52w, up to ten years"
        )
    return seconds


def _digest(secret: bytes) -> str:
    return hashlib.blake2s(secret).hexdigest()
